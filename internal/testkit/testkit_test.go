package testkit_test

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func TestMariaDBKeepsItsDataWhenKilled(t *testing.T) {
	server := testkit.StartMariaDB(t)
	if err := server.CreateDatabase("kept"); err != nil {
		t.Fatal(err)
	}
	db, err := server.Open("kept")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (id INT PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO t VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := db.Ping(); err == nil {
		t.Fatal("a killed server answers")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	var id int
	if err := db.QueryRow("SELECT id FROM t").Scan(&id); err != nil || id != 7 {
		t.Fatalf("id = %d, %v", id, err)
	}
	if code, err := server.Stop(); err != nil || code != 0 {
		t.Fatalf("Stop = %d, %v", code, err)
	}
}

func TestRedisFreezesAndThaws(t *testing.T) {
	server := testkit.StartRedis(t)
	client := server.Client()
	defer client.Close()
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := client.Get(ctx, "k").Err(); err == nil {
		t.Fatal("a frozen server answers")
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() error { return client.Get(t.Context(), "k").Err() })
}

func TestAServerThatDiesAtOnceIsReported(t *testing.T) {
	server, err := testkit.NewRedis(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server.Args = append(server.Args, "--no-such-option", "1")
	if err := server.Start(); err == nil {
		t.Fatal("no error")
	}
}

func TestBrowser(t *testing.T) {
	browser := testkit.NewBrowser(t)
	if err := chromedp.Do(browser, chromedp.Navigate("data:text/html,<title>Gatehouse</title>")); err != nil {
		t.Fatal(err)
	}
	title, err := chromedp.Run(browser, chromedp.Title())
	if err != nil || title != "Gatehouse" {
		t.Fatalf("title = %q, %v", title, err)
	}
}
