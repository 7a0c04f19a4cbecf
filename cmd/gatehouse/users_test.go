package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// usersFile makes a file to import.
func usersFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const twoGood = `{"email":"ada@example.com","fullName":"Ada","passwordHash":"$2b$05$y86VZWR3G/x1TKY2k7IqYeJxesjm/RxqHZu/3rcM6AuZmsvqbQ0Qm"}
{"email":"bob@example.com","fullName":"Bob"}`

func TestUsersImport(t *testing.T) {
	database := newDatabase(t)
	conn := runStore(t, database)
	file := usersFile(t, twoGood)
	for _, want := range []string{
		"Imported 2 users of 2 lines; 0 lines were refused.\n",
		"This file was imported before, and nothing was done now. It had 2 users of 2 lines; 0 lines were refused.\n",
	} {
		code, stdout, stderr := run(t, []string{"users", "import", database, file})
		if code != exitOK || stdout != want {
			t.Errorf("it ends with %d: %s%s", code, stdout, stderr)
		}
		if !strings.Contains(stderr, `"importing users"`) && strings.HasPrefix(want, "Imported") {
			t.Errorf("it does not tell how far it is: %s", stderr)
		}
	}
	if _, err := logIn(t, conn, "ada@example.com", "correct horse"); err != nil {
		t.Error(err)
	}
}

func TestUsersImportRejectedLines(t *testing.T) {
	database, file := newDatabase(t), usersFile(t, twoGood, "nonsense")
	report := filepath.Join(t.TempDir(), "refused")
	for _, where := range []string{report + " tells why", "the report tells why"} {
		code, stdout, stderr := run(t, []string{"users", "import", "--report", report, database, file})
		if code != exitFailed || !strings.Contains(stdout, "1 lines were refused") || !strings.Contains(stderr, where) {
			t.Errorf("it ends with %d: %s%s", code, stdout, stderr)
		}
	}
	content, err := os.ReadFile(report)
	if want := `{"line":3,"reason":"BROKEN_JSON","description":"is not a single JSON object in UTF-8"}` + "\n"; err != nil || string(content) != want {
		t.Errorf("the report is %s, %v", content, err)
	}
}

func TestUsersCheckHash(t *testing.T) {
	file := usersFile(t, twoGood)
	for name, test := range map[string]struct {
		email, password string
		code            int
		wrote           string
	}{
		"match":       {"ADA@example.com", "correct horse", exitOK, "The password matches.\n"},
		"no match":    {"ada@example.com", "wrong horse", exitFailed, "the password does not match"},
		"no hash":     {"bob@example.com", "correct horse", exitFailed, "line 2 has no passwordHash"},
		"no line":     {"eve@example.com", "correct horse", exitFailed, "has no line for eve@example.com"},
		"no password": {"ada@example.com", "", exitFailed, "the password does not match"},
		"no address":  {"", "correct horse", exitUsage, "--email is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			pipe(t, test.password+"\n")
			code, stdout, stderr := run(t, []string{"users", "check-hash", "--email", test.email, file})
			if code != test.code || !strings.Contains(stdout+stderr, test.wrote) || strings.Contains(stdout+stderr, "$2b$") {
				t.Errorf("it ends with %d: %s%s", code, stdout, stderr)
			}
		})
	}
}

func TestUsersCheckEmails(t *testing.T) {
	database := newDatabase(t)
	file := usersFile(t, `{"email":"ada@bücher.example","fullName":"Ada"}`, `{"email":"bob@example.com","fullName":"Ada"}`)
	if code, _, stderr := run(t, []string{"users", "import", database, file}); code != exitOK {
		t.Fatal(stderr)
	}
	if code, stdout, stderr := run(t, []string{"users", "check-emails", database}); code != exitOK || stdout != "" {
		t.Errorf("without conflicts it ends with %d: %s%s", code, stdout, stderr)
	}
	db, err := sql.Open("sqlite", strings.TrimPrefix(database, "--database-url=sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	const puny = "ada@xn--bcher-kva.example" // As a store of the previous version has it.
	_, err = db.ExecContext(t.Context(), "UPDATE users SET email = ?, canonical_email = ? WHERE email LIKE 'bob@%'", puny, puny)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := run(t, []string{"users", "check-emails", database})
	if code != exitFailed || !strings.Contains(stderr, "1 users have the e-mail address of another one") {
		t.Errorf("it ends with %d: %s", code, stderr)
	}
	wanted := regexp.MustCompile(
		`^{"user":{"id":"[^"]+","email":"ada@bücher.example"},"otherUser":{"id":"[^"]+","email":"` + puny + `"}}\n$`)
	if !wanted.MatchString(stdout) {
		t.Errorf("it writes %s", stdout)
	}
}

func TestUsersExport(t *testing.T) {
	database := newDatabase(t)
	if code, _, stderr := run(t, []string{"users", "import", database, usersFile(t, twoGood)}); code != exitOK {
		t.Fatal(stderr)
	}
	for flag, hashes := range map[string]int{"--log-level=info": 0, "--with-hashes": 1} {
		code, stdout, stderr := run(t, []string{"users", "export", flag, database})
		if code != exitOK || strings.Count(stdout, "\n") != 2 || strings.Count(stdout, "$2b$05$") != hashes || strings.Contains(stderr, "$2b$05$") {
			t.Errorf("%s: it ends with %d: %s%s", flag, code, stdout, stderr)
		}
	}
}

// TestAdminCreateRole checks that the created account can call admin methods.
func TestAdminCreateRole(t *testing.T) {
	database := newDatabase(t)
	if code, _, stderr := createAdmin(t, adminPassword, database, "--email=root@example.com",
		"--full-name= \u2028Ada Lovelace\ufeff\n"); code != exitOK {
		t.Fatal(stderr)
	}
	_, stdout, stderr := run(t, []string{"users", "export", database})
	var user struct {
		FullName string   `json:"fullName"`
		Roles    []string `json:"roles"`
	}
	if err := json.Unmarshal([]byte(stdout), &user); err != nil || user.FullName != "Ada Lovelace" || fmt.Sprint(user.Roles) != "[admin user]" {
		t.Errorf("the administrator is %s%s, %v", stdout, stderr, err)
	}
}

func TestAuditExport(t *testing.T) {
	database := newDatabase(t)
	for _, name := range []string{"a", "b"} {
		if code, _, stderr := createAdmin(t, adminPassword, database, "--email="+name+"@example.com"); code != exitOK {
			t.Fatal(stderr)
		}
	}
	events := func(flags ...string) []map[string]any {
		code, stdout, stderr := run(t, append([]string{"audit", "export", database}, flags...))
		if code != exitOK {
			t.Fatal(stderr)
		}
		var all []map[string]any
		for line := range strings.Lines(stdout) {
			event := map[string]any{}
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatal(err)
			}
			all = append(all, event)
		}
		return all
	}
	all := events()
	if len(all) != 2 || all[0]["kind"] != "USER_CREATED" || all[0]["actor"] != "operator" || all[0]["outcome"] != "SUCCESS" ||
		all[0]["eventTime"].(string) <= all[1]["eventTime"].(string) {
		t.Fatalf("the events are %v", all)
	}
	newest := all[0]["eventTime"].(string)
	if got := events("--from", newest); len(got) != 1 || got[0]["id"] != all[0]["id"] {
		t.Errorf("from the newest there are %v", got)
	}
	if got := events("--until", newest); len(got) != 1 || got[0]["id"] != all[1]["id"] {
		t.Errorf("until the newest there are %v", got)
	}
	code, _, stderr := run(t, []string{"audit", "export", database, "--from=today", "--until=1970-01-01T00:00:00Z"})
	if code != exitUsage || !strings.Contains(stderr, `--from is "today"`) || !strings.Contains(stderr, "--until is") {
		t.Errorf("it ends with %d: %s", code, stderr)
	}
}
