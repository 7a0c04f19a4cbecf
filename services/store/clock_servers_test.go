//go:build servers

package store

import (
	"strings"
	"testing"
	"time"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

// TestRefreshDatabaseClock checks that stores whose clocks differ judge refreshes by the clock of the database.
func TestRefreshDatabaseClock(t *testing.T) {
	server := mariaDB.Server(t)
	database := mariaDB.NewDatabase(t)
	db, err := server.Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		"CREATE USER shifted@'127.0.0.1'", "GRANT ALL ON `" + database[strings.LastIndex(database, "/")+1:] + "`.* TO shifted@'127.0.0.1'",
		"SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP() + 3600'", // It is not for root.
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	at := strings.Index(database, "@")
	config := testConfig(storeconfig.Database{URL: "mysql://shifted" + database[at:]}, newClock())
	config.Now = nil
	store := startStore(t, config)
	store.signUp(t)
	if _, err := db.ExecContext(t.Context(), "SET GLOBAL init_connect = ''"); err != nil {
		t.Fatal(err)
	}
	if ahead := time.Until(store.logIn(t).GetCreateTime().AsTime()); ahead < 50*time.Minute {
		t.Errorf("the database is an hour ahead, the session was opened %v ahead", ahead)
	}
}
