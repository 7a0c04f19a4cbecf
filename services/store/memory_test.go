package store

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/operator"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
)

// smallMemory is what a process may use in these tests: hashes get 16 MiB of it, and a hash of the default parameters
// takes 19.
const smallMemory = 64 << 20

func TestMemoryLimit(t *testing.T) {
	hasher, err := password.New(t.Context(), password.Config{Params: password.DefaultParams()})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := hasher.Hash(t.Context(), adasPassword)
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf(`{"email":"carol@example.com","fullName":"Carol","passwordHash":%q}`+"\n", hash)

	t.Run("a_log-in_with_a_hash_that_takes_too_much_is_refused_as_with_a_wrong_password", func(t *testing.T) {
		config := testConfig(sqliteDatabase(t), newClock())
		config.MemoryLimit, config.HashingCores = smallMemory, 2
		store := startStore(t, config)
		store.signUp(t)
		if got, _ := importLines(t, config.Database, 1<<30, line); got.Imported != 1 {
			t.Fatalf("the import is %+v", got)
		}
		for _, secret := range []string{adasPassword, "wrong horse", adasPassword} {
			_, err := store.sessions.CreateSession(t.Context(),
				&gatehousev1.CreateSessionRequest{Email: "carol@example.com", Password: secret})
			wantReason(t, err, badCredentials)
		}
		if logged := strings.Count(store.log.String(), "its owner cannot log in"); logged != 1 {
			t.Errorf("it is logged %d times", logged)
		}
		store.logIn(t) // A bystander.
	})
	t.Run("an_import_refuses_such_a_hash_with_the_reason", func(t *testing.T) {
		database := sqliteDatabase(t)
		if err := operator.Migrate(t.Context(), database, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		got, report := importLines(t, database, smallMemory, line)
		if got.Refused != 1 || !strings.Contains(report, "HASH_TOO_COSTLY") || !strings.Contains(report, "16 MiB") {
			t.Errorf("the import is %+v, the report %s", got, report)
		}
	})
	t.Run("a_store_whose_own_hashes_take_too_much_does_not_start", func(t *testing.T) {
		config := testConfig(sqliteDatabase(t), newClock())
		config.MemoryLimit, config.HashingCores, config.Password = smallMemory, 2, password.DefaultParams()
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), "lower the argon2 memory") {
			t.Errorf("Validate: %v", err)
		}
	})
}
