package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect/mysql"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/migrate"
)

// versions are those of the migrations, in order.
func versions(t *testing.T) []int64 {
	t.Helper()
	folder, _ := (&mysql.Dialect{}).Migrations()
	files, err := fs.Glob(folder, "*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no migrations: %v", err)
	}
	found := []int64{migrate.EmailsVersion}
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, version)
	}
	slices.Sort(found)
	return found
}

func testMigrateLogsEachMigrationAndAppliesItOnce(t *testing.T) {
	all := len(versions(t))
	onEach(t, func(t *testing.T, config Config) {
		var written bytes.Buffer
		log := slog.New(slog.NewTextHandler(&written, nil))
		if err := Migrate(t.Context(), config, log); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(written.String(), `msg="applied a migration"`); lines != all {
			t.Errorf("%d migrations are logged, not %d:\n%s", lines, all, &written)
		}
		user := addUser(t, open(t, config), "ada@example.com")

		written.Reset()
		if err := Migrate(t.Context(), config, log); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(written.String(), "applied") {
			t.Errorf("the second time something was done:\n%s", &written)
		}
		if _, err := open(t, config).ReadUser(t.Context(), user.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestOpen(t *testing.T) {
	t.Run("data_survives_reopening", testOpenDataSurvivesReopening)
	t.Run("rejects_a_schema_that_is_behind", testOpenRejectsASchemaThatIsBehind)
	t.Run("serves_a_schema_that_is_ahead", testOpenServesASchemaThatIsAhead)
}

func testOpenDataSurvivesReopening(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		migrateSchema(t, config)
		s, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		user := addUser(t, s, "ada@example.com")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := open(t, config).ReadUser(t.Context(), user.ID); err != nil || got != user {
			t.Errorf("wrote %+v, read %+v, %v", user, got, err)
		}
	})
}

func testOpenRejectsASchemaThatIsBehind(t *testing.T) {
	all := versions(t)
	latest, previous := all[len(all)-1], all[len(all)-2]
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		exec(t, s, "DELETE FROM goose_db_version WHERE version_id = ?", latest)
		_, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
		var behind *SchemaBehindError
		if !errors.As(err, &behind) || behind.Version != previous || behind.Needed != latest {
			t.Fatalf("error is %v", err)
		}
		wanted := fmt.Sprintf(`the database schema is at version %d, this binary needs %d: run "gatehouse migrate"`,
			previous, latest)
		if !strings.Contains(err.Error(), wanted) {
			t.Errorf("error is %q, want %q", err, wanted)
		}
	})
}

func testOpenServesASchemaThatIsAhead(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		exec(t, s, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
		exec(t, s, "ALTER TABLE users ADD COLUMN shoe_size INTEGER")
		s = open(t, config)
		user := addUser(t, s, "ada@example.com")
		if got, err := s.ReadUser(t.Context(), user.ID); err != nil || got != user {
			t.Errorf("wrote %+v, read %+v, %v", user, got, err)
		}
		migrateSchema(t, config) // An old binary has nothing to do.
	})
}

func TestPreviousVersion(t *testing.T) {
	t.Run("creates_keys_without_times", testPreviousVersionCreatesKeysWithoutTimes)
	t.Run("creates_users_without_roles", testPreviousVersionCreatesUsersWithoutRoles)
	t.Run("creates_sessions_without_siblings", testPreviousVersionCreatesSessionsWithoutSiblings)
}

// testPreviousVersionCreatesKeysWithoutTimes: while a new version is rolled out, the old one serves on the new schema.
func testPreviousVersionCreatesKeysWithoutTimes(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		key := newSigningKey(1)
		exec(t, s, `INSERT INTO signing_keys (generation, key_id, algorithm, public_key, sealed_private_key, create_time)
			VALUES (?, ?, ?, ?, ?, ?)`,
			key.Generation, key.KeyID, key.Algorithm, key.PublicKey, key.SealedPrivateKey, key.CreateTime)
		key.ActivateTime, key.TokenLifetime = key.CreateTime, 24*time.Hour
		wantKeys(t, s, key)
	})
}

// testPreviousVersionCreatesUsersWithoutRoles: as above.
func testPreviousVersionCreatesUsersWithoutRoles(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		user := newUser("ada@example.com")
		exec(t, s, `INSERT INTO users (id, email, canonical_email, full_name, create_time, update_time, version)
			VALUES (?, ?, ?, ?, ?, ?, ?)`,
			user.ID, user.Email, user.Email, user.FullName, user.CreateTime, user.UpdateTime, user.Version)
		if got := readUser(t, s, user.ID); got != user {
			t.Errorf("read %+v\nof %+v", got, user)
		}
	})
}

// TestSignUpHashes checks that the version before stores the hash of the password with a request id, and serves while a
// new one is rolled out.
func TestSignUpHashes(t *testing.T) {
	const version = 9
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		user := newUser("ada@example.com")
		signUp := newSignUp(user, 1)
		insert := func() {
			exec(t, s, `INSERT INTO sign_up_requests (request_id, fingerprint, user_id, password_hash, create_time)
				VALUES (?, ?, ?, ?, ?)`, signUp.RequestID, signUp.Fingerprint, user.ID, hash, toMicros(signUp.CreateTime))
		}
		insert()
		t.Run("the_version_before_can_store_one", func(t *testing.T) {
			got, err := s.ReadSignUp(t.Context(), signUp.RequestID, signUp.CreateTime)
			if err != nil || got.UserID != user.ID || got.Void() {
				t.Errorf("read %+v, %v", got, err)
			}
		})
		t.Run("the_migration_clears_them", func(t *testing.T) {
			exec(t, s, "DELETE FROM goose_db_version WHERE version_id = ?", version)
			provider, err := migrate.NewProvider(s.dialect, s.pool, slog.New(slog.DiscardHandler))
			if err == nil {
				_, err = provider.ApplyVersion(t.Context(), version, true)
			}
			if err != nil {
				t.Fatal(err)
			}
			if hashes := count(t, s, "sign_up_requests WHERE password_hash <> ''"); hashes != 0 {
				t.Errorf("%d hashes are left", hashes)
			}
			if signUps := count(t, s, "sign_up_requests"); signUps != 1 {
				t.Errorf("%d sign-ups are left", signUps)
			}
		})
	})
}

// testPreviousVersionCreatesSessionsWithoutSiblings: as above.
func testPreviousVersionCreatesSessionsWithoutSiblings(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		session := newSession(addUser(t, s, "ada@example.com"))
		exec(t, s, `INSERT INTO sessions (id, user_id, create_time, last_use_time, expire_time, user_agent, client_address,
			current_token, parent_token, rotate_time, generation, version) VALUES (?, ?, ?, ?, ?, ?, ?, 1, 0, ?, 0, 1)`,
			session.ID, session.UserID, session.CreateTime, session.LastUseTime, session.ExpireTime, session.UserAgent,
			session.ClientAddress, session.Lineage.RotateTime)
		session.Lineage.First = 0
		if got := readAccountOf(t, s, session.ID).Session; got != session {
			t.Errorf("read %+v\nof %+v", got, session)
		}
	})
}
