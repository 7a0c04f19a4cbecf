package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// bcryptHash is of "correct horse", by mkpasswd.
const bcryptHash = "$2b$05$y86VZWR3G/x1TKY2k7IqYeJxesjm/RxqHZu/3rcM6AuZmsvqbQ0Qm"

func sqliteDatabase(t *testing.T) storeconfig.Database {
	t.Helper()
	return storeconfig.Database{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db")}
}

// importLines imports users into a database, in a process that may use so much memory, and returns the report as well.
func importLines(
	t *testing.T, database storeconfig.Database, memory int64, lines string,
) (operator.ImportSummary, string) {
	t.Helper()
	in := operator.ImportConfig{Database: database, File: filepath.Join(t.TempDir(), "users.jsonl"), MemoryLimit: memory}
	in.Report = in.File + ".report"
	if err := os.WriteFile(in.File, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	summary, err := operator.ImportUsers(t.Context(), in, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(in.Report)
	if err != nil {
		t.Fatal(err)
	}
	return summary, string(report)
}

// TestLogInImportedUsers checks that imported users can log in.
func TestLogInImportedUsers(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		store := startStore(t, testConfig(database, newClock()))
		store.signUp(t)
		root := as(t, store.logInRoot(t).GetAccessToken())
		got, _ := importLines(t, database, 0, `{"email":"carol@example.com","fullName":"Carol","passwordHash":"`+bcryptHash+`"}
{"id":"0190aaaa-0000-7000-8000-000000000001","email":"bob@example.com","fullName":"Bob"}
{"email":"eve@example.com","fullName":"Eve","state":"DISABLED","passwordHash":"`+bcryptHash+`"}
`)
		if got.Imported != 3 {
			t.Fatalf("summary is %+v", got)
		}
		logIn := func(email, password string) error {
			_, err := store.sessions.CreateSession(t.Context(), &gatehousev1.CreateSessionRequest{Email: email, Password: password})
			return err
		}
		if err := logIn("carol@example.com", "correct horse"); err != nil {
			t.Error(err)
		}
		wantReason(t, logIn("carol@example.com", "correct pony"), gatehousev1.ErrorReason_ERROR_REASON_INVALID_CREDENTIALS)
		wantReason(t, logIn("bob@example.com", ""+"correct horse"), gatehousev1.ErrorReason_ERROR_REASON_INVALID_CREDENTIALS)
		wantReason(t, logIn("eve@example.com", "correct horse"), gatehousev1.ErrorReason_ERROR_REASON_USER_DISABLED)
		_, err := store.admin.ResetUserPassword(root, &gatehousev1.ResetUserPasswordRequest{
			Id: "0190aaaa-0000-7000-8000-000000000001", NewPassword: "a new password",
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := logIn("bob@example.com", "a new password"); err != nil {
			t.Error(err)
		}
	})
}
