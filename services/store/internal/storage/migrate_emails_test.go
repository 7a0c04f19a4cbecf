package storage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/migrate"
)

// addFormerUser adds a user as a store before 00012 does.
func addFormerUser(t *testing.T, s *Storage, email string) account.User {
	t.Helper()
	user := newUser(email)
	exec(t, s, `INSERT INTO users (id, email, canonical_email, full_name, create_time, update_time, version)
		VALUES (?, ?, ?, ?, ?, ?, ?)`,
		user.ID, user.Email, emailaddr.Legacy(email), user.FullName, user.CreateTime, user.UpdateTime, user.Version)
	exec(t, s, "INSERT INTO credentials (user_id, password_hash) VALUES (?, ?)", user.ID, hash)
	return user
}

func wantOwner(t *testing.T, s *Storage, email string, owner account.User) {
	t.Helper()
	found, err := s.ReadCredential(t.Context(), email)
	if owner.ID == "" && errors.Is(err, ErrNotFound) {
		return
	}
	if err != nil || found.UserID != owner.ID {
		t.Errorf("%+q is the address of %q, %v; want %q", email, found.UserID, err, owner.ID)
	}
}

// migrateEmails runs migration 00012 again, and returns its log.
func migrateEmails(t *testing.T, s *Storage) (log string, err error) {
	t.Helper()
	exec(t, s, "DELETE FROM goose_db_version WHERE version_id = ?", migrate.EmailsVersion)
	var written bytes.Buffer
	provider, err := migrate.NewProvider(s.dialect, s.pool, slog.New(slog.NewTextHandler(&written, nil)))
	if err == nil {
		_, err = provider.ApplyVersion(t.Context(), migrate.EmailsVersion, true)
	}
	return written.String(), err
}

func TestEmailsMigration(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		plain := addFormerUser(t, s, "ada@example.com")
		sharp := addFormerUser(t, s, "ada@straße.example")
		puny := addFormerUser(t, s, "Ada@XN--Bcher-kva.example")
		local := addFormerUser(t, s, "grüße@example.com")
		wide := addFormerUser(t, s, "ada@\uff57ide.example")
		check := func(t *testing.T) {
			t.Helper()
			wantOwner(t, s, "ADA@example.com", plain)
			wantOwner(t, s, "ada@STRAẞE.example", sharp)
			wantOwner(t, s, "ada@strasse.example", account.User{})
			wantOwner(t, s, "ada@xn--strae-oqa.example", sharp)
			wantOwner(t, s, "ada@xn--bcher-kva.example", puny)
			wantOwner(t, s, "ada@bücher.example", puny)
			wantOwner(t, s, "GRÜẞE@example.com", local)
			wantOwner(t, s, "grüsse@example.com", account.User{})
			wantOwner(t, s, "ada@\uff57ide.example", wide)
			for _, taken := range []string{"ada@bücher.example", "ada@xn--bcher-kva.example", "ada@xn--strae-oqa.example"} {
				want(t, s.CreateUser(t.Context(), newUser(taken), hash), ErrEmailTaken)
			}
		}
		t.Run("users_are_found_before_it", check)
		log, err := migrateEmails(t, s)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log, "changed=4 conflicts=0") || strings.Contains(log, "@") {
			t.Errorf("log is %q", log)
		}
		t.Run("users_are_found_after_it", check)
		t.Run("what_was_one_address_is_two", func(t *testing.T) {
			wantOwner(t, s, "ada@strasse.example", account.User{})
			other, sibling := addUser(t, s, "ada@strasse.example"), addUser(t, s, "grüsse@example.com")
			wantOwner(t, s, "ada@strasse.example", other)
			wantOwner(t, s, "ada@straße.example", sharp)
			wantOwner(t, s, "grüsse@example.com", sibling)
			wantOwner(t, s, "grüße@example.com", local)
		})
		t.Run("nothing_is_left_to_do", func(t *testing.T) {
			if log, err := migrateEmails(t, s); err != nil || log != "" {
				t.Errorf("log is %q, %v", log, err)
			}
		})
		t.Run("a_store_of_the_version_before_writes_meanwhile", func(t *testing.T) {
			late := addFormerUser(t, s, "late@xn--bcher-kva.example")
			wantOwner(t, s, "late@bücher.example", late)
			want(t, s.CreateUser(t.Context(), newUser("late@bücher.example"), hash), ErrEmailTaken)
			changed, err := s.CheckEmails(t.Context(), nil)
			if err != nil || changed != 1 {
				t.Errorf("%d were changed, %v", changed, err)
			}
			wantListed(t, s, UserFilter{EmailPrefix: "late@bü"}, 10, late.Email)
		})
	})
}

func TestEmailConflicts(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		unicode, puny := addFormerUser(t, s, "ada@bücher.example"), addFormerUser(t, s, "ada@xn--bcher-kva.example")
		older, newer := addFormerUser(t, s, "eve@xn--strae-oqa.example"), addFormerUser(t, s, "eve@straße.example")
		bystander := addFormerUser(t, s, "bob@xn--bcher-kva.example")
		log, err := migrateEmails(t, s)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(log, "two users have one e-mail address") != 2 || !strings.Contains(log, puny.ID) {
			t.Errorf("log is %q", log)
		}
		t.Run("both_log_in_by_the_spelling_they_were_made_with", func(t *testing.T) {
			wantOwner(t, s, "Ada@bücher.example", unicode)
			wantOwner(t, s, "Ada@xn--bcher-kva.example", puny)
			wantOwner(t, s, "eve@xn--strae-oqa.example", older)
			wantOwner(t, s, "eve@STRAẞE.example", newer)
			wantOwner(t, s, "bob@bücher.example", bystander)
		})
		t.Run("no_third_account_is_made", func(t *testing.T) {
			for _, email := range []string{"ada@bücher.example", "ada@xn--bcher-kva.example", "eve@straße.example"} {
				want(t, s.CreateUser(t.Context(), newUser(email), hash), ErrEmailTaken)
			}
		})
		t.Run("all_are_listed_each_once", func(t *testing.T) {
			var listed []string
			for after := ""; ; {
				page, err := s.ListUsers(t.Context(), UserFilter{After: after}, 1)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 || len(listed) > 5 {
					break
				}
				listed, after = append(listed, page[0].ID), page[0].Position
			}
			all := []string{unicode.ID, puny.ID, older.ID, newer.ID, bystander.ID}
			slices.Sort(all)
			if slices.Sort(listed); !slices.Equal(listed, all) {
				t.Errorf("%q are listed, want %q", listed, all)
			}
		})
		t.Run("they_are_reported_until_one_is_deleted", func(t *testing.T) {
			wantConflicts(t, s, conflictOf(unicode, puny),
				conflictOf(older, newer))
			for _, user := range []account.User{unicode, newer} {
				if _, err := changeUser(t, s, user.ID, deleted); err != nil {
					t.Fatal(err)
				}
			}
			wantConflicts(t, s)
			wantOwner(t, s, "ada@bücher.example", puny)
			wantListed(t, s, UserFilter{EmailPrefix: "ada@bücher"}, 10, puny.Email)
		})
	})
}

// TestEmailsMigrationOrder: a user gets an address which another one, who comes later, has from before.
func TestEmailsMigrationOrder(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		first := addFormerUser(t, s, "strasse@xn--bcher-kva.example")
		later := addFormerUser(t, s, "straße@bücher.example")
		log, err := migrateEmails(t, s)
		if err != nil || !strings.Contains(log, "changed=2 conflicts=0") {
			t.Errorf("log is %q, %v", log, err)
		}
		wantOwner(t, s, "strasse@bücher.example", first)
		wantOwner(t, s, "straße@xn--bcher-kva.example", later)
		wantListed(t, s, UserFilter{EmailPrefix: "strasse@bücher.example"}, 10, first.Email)
	})
}

// TestCheckEmailsBesideAStore checks that the command waits for the file's lock as every other change does.
func TestCheckEmailsBesideAStore(t *testing.T) {
	config := newSQLite(t)
	s := openNew(t, config)
	user := addFormerUser(t, s, "ada@xn--bcher-kva.example")
	store := holdWriteLock(t, config)
	statements := s.pool.Stats().InUse
	done := make(chan error, 1)
	go func() {
		changed, err := s.CheckEmails(t.Context(), nil)
		if err == nil && changed != 1 {
			err = fmt.Errorf("%d were changed", changed)
		}
		done <- err
	}()
	for len(s.writer) == 0 || s.pool.Stats().InUse == statements { // It tries to begin.
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
	}
	wantOwner(t, s, "ada@bücher.example", user) // A bystander.
	if err := store.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func wantConflicts(t *testing.T, s *Storage, wanted ...EmailConflict) {
	t.Helper()
	var got []EmailConflict
	_, err := s.CheckEmails(t.Context(), func(conflict EmailConflict) error {
		got = append(got, conflict)
		return nil
	})
	byUser := func(a, b EmailConflict) int { return cmp.Compare(a.UserID, b.UserID) }
	slices.SortFunc(got, byUser)
	slices.SortFunc(wanted, byUser)
	if err != nil || !slices.Equal(got, wanted) {
		t.Errorf("conflicts are %+v, %v; want %+v", got, err, wanted)
	}
}

// TestEmailsMigrationInterrupted interrupts the migration in its second batch.
func TestEmailsMigrationInterrupted(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		const users = 2*migrate.EmailsBatch + 100
		var values []string
		for i := range users {
			values = append(values, fmt.Sprintf("('%08d', 'u%d@xn--bcher-kva.example', 'u%d@xn--bcher-kva.example', 'A', %s, 1)",
				i, i, i, map[bool]string{true: "0, 0", false: "'2020-01-01', '2020-01-01'"}[s.writer != nil]))
		}
		exec(t, s, "INSERT INTO users (id, email, canonical_email, full_name, create_time, update_time, version) VALUES "+
			strings.Join(values, ", "))
		// A conflict in the second batch, where it is interrupted.
		exec(t, s, "UPDATE users SET email = 'u1@bücher.example', canonical_email = 'u1@bücher2.example' WHERE id = '00001500'")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first, err := s.CheckEmails(ctx, func(EmailConflict) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) || first != 1500 {
			t.Fatalf("%d were changed, %v", first, err)
		}
		second, err := s.CheckEmails(t.Context(), func(EmailConflict) error { return nil })
		if err != nil || first+second != users-1 {
			t.Errorf("%d and %d were changed, %v", first, second, err)
		}
		if left := count(t, s, "users WHERE canonical_email LIKE '%xn--%'"); left != 0 {
			t.Errorf("%d are left", left)
		}
	})
}

func conflictOf(user, other account.User) EmailConflict {
	return EmailConflict{UserID: user.ID, Email: user.Email, OtherUserID: other.ID, OtherEmail: other.Email}
}
