package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// race starts n functions at once and gives their errors.
func race(n int, run func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			<-start
			errs[i] = run(i)
		})
	}
	close(start)
	wait.Wait()
	return errs
}

// wantOne requires one success, and the one error of all others.
func wantOne(t *testing.T, errs []error, wanted error) {
	t.Helper()
	wantOneOf(t, errs, wanted)
}

// wantOneOf requires one success, and one of the errors of all others.
func wantOneOf(t *testing.T, errs []error, wanted ...error) {
	t.Helper()
	successes := 0
	for _, err := range errs {
		if err == nil {
			successes++
		} else if !slices.ContainsFunc(wanted, func(one error) bool { return isError(err, one) }) {
			t.Errorf("error is %v, want one of %v", err, wanted)
		}
	}
	if successes != 1 {
		t.Errorf("%d of %d succeeded", successes, len(errs))
	}
}

func isError(err, wanted error) bool { return errors.Is(err, wanted) }

func TestCreateUser(t *testing.T) {
	t.Run("of_many_with_one_address_one_succeeds", testCreateUserOfManyWithOneAddressOneSucceeds)
	t.Run("many_users_sign_up_and_log_in_at_once", testCreateUserManyUsersSignUpAndLogInAtOnce)
	t.Run("an_address_freed_by_a_deletion_has_one_new_user", testCreateUserAnAddressFreedByADeletionHasOneNewUser)
}

func testCreateUserOfManyWithOneAddressOneSucceeds(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		spellings := []string{"ada@example.com", "ADA@example.com", " Ada@Example.Com\u00a0"}
		for round := range 5 {
			users := make([]account.User, 50)
			errs := race(len(users), func(i int) error {
				users[i] = newUser(strings.Replace(spellings[i%3], "@", fmt.Sprintf("%d@", round), 1))
				return stores[i%2].CreateUser(t.Context(), users[i], hash)
			})
			wantOne(t, errs, ErrEmailTaken)
			for i, err := range errs {
				_, readErr := stores[0].ReadUser(t.Context(), users[i].ID)
				if (err == nil) != (readErr == nil) {
					t.Errorf("the sign-up gave %v, reading the user %v", err, readErr)
				}
			}
		}
	})
}

func TestCreateSigningKey(t *testing.T) {
	t.Run("of_many_stores_one_creates_the_first", testCreateSigningKeyOfManyStoresOneCreatesTheFirst)
	t.Run("of_many_stores_one_creates_the_next", testCreateSigningKeyOfManyStoresOneCreatesTheNext)
}

func testCreateSigningKeyOfManyStoresOneCreatesTheFirst(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config)}
		for len(stores) < 20 {
			stores = append(stores, open(t, config))
		}
		errs := race(len(stores), func(i int) error {
			return stores[i].CreateSigningKey(t.Context(), newSigningKey(1))
		})
		wantOne(t, errs, ErrGenerationTaken)
		for _, s := range stores {
			if keys, err := s.ListSigningKeys(t.Context()); err != nil || len(keys) != 1 {
				t.Errorf("the keys are %v, %v", keys, err)
			}
		}
	})
}

func testCreateSigningKeyOfManyStoresOneCreatesTheNext(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config)}
		for len(stores) < 20 {
			stores = append(stores, open(t, config))
		}
		if err := stores[0].CreateSigningKey(t.Context(), newSigningKey(1)); err != nil {
			t.Fatal(err)
		}
		for generation := int64(2); generation < 6; generation++ {
			wantOne(t, race(len(stores), func(i int) error {
				return stores[i].CreateSigningKey(t.Context(), newSigningKey(generation))
			}), ErrGenerationTaken)
		}
		if keys, err := stores[0].ListSigningKeys(t.Context()); err != nil || len(keys) != 5 {
			t.Errorf("there are %d keys, %v", len(keys), err)
		}
	})
}

func TestRevokeSigningKey(t *testing.T) {
	t.Run("shares_no_generation_with_a_rotation", testRevokeSigningKeySharesNoGenerationWithARotation)
}

// testRevokeSigningKeySharesNoGenerationWithARotation: both want to add the next key.
func testRevokeSigningKeySharesNoGenerationWithARotation(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config)}
		for len(stores) < 10 {
			stores = append(stores, open(t, config))
		}
		for round := range int64(5) {
			newest := newSigningKey(1 + 2*round)
			if err := stores[0].CreateSigningKey(t.Context(), newest); err != nil {
				t.Fatal(err)
			}
			next := newest.Generation + 1
			wantOneOf(t, race(len(stores), func(i int) error {
				if i%2 == 0 {
					return stores[i].RevokeSigningKey(t.Context(), newest.KeyID, new(newSigningKey(next)))
				}
				return stores[i].CreateSigningKey(t.Context(), newSigningKey(next))
			}), ErrGenerationTaken, ErrNotFound)
			keys, err := stores[0].ListSigningKeys(t.Context())
			if err != nil || keys[0].Generation != next {
				t.Errorf("the newest key is %v, not of generation %d, %v", keys[0], next, err)
			}
			exec(t, stores[0], "DELETE FROM signing_keys WHERE generation < ?", next)
		}
	})
}

func testCreateUserManyUsersSignUpAndLogInAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		for _, err := range race(50, func(i int) error {
			user := newUser(fmt.Sprintf("user%d@example.com", i))
			if err := s.CreateUser(t.Context(), user, hash); err != nil {
				return err
			}
			if _, err := s.ReadCredential(t.Context(), user.Email); err != nil {
				return err
			}
			return s.CreateSession(t.Context(), newSession(user))
		}) {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func TestMigrate(t *testing.T) {
	t.Run("many_processes_at_once", testMigrateManyProcessesAtOnce)
	t.Run("logs_each_migration_and_applies_it_once", testMigrateLogsEachMigrationAndAppliesItOnce)
}

func testMigrateManyProcessesAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		for _, err := range race(4, func(int) error {
			return Migrate(t.Context(), config, slog.New(slog.DiscardHandler))
		}) {
			if err != nil {
				t.Error(err)
			}
		}
		s := open(t, config)
		addUser(t, s, "ada@example.com")
		var applied int
		// 00012 is no transaction, and may be applied twice, which is harmless.
		err := s.pool.QueryRowContext(t.Context(), "SELECT COUNT(DISTINCT version_id) FROM goose_db_version").Scan(&applied)
		if err != nil || applied != 1+len(versions(t)) { // goose begins with 0.
			t.Errorf("%d migrations were applied, %v", applied-1, err)
		}
	})
}

func TestChangeSession(t *testing.T) {
	t.Run("each_concurrent_refresh_sees_the_one_before", testChangeSessionEachConcurrentRefreshSeesTheOneBefore)
}

func testChangeSessionEachConcurrentRefreshSeesTheOneBefore(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		session := addSession(t, stores[0], addUser(t, stores[0], "ada@example.com"))
		const changes = maxChanges // Each loses at most to every other.
		for _, err := range race(changes, func(i int) error {
			_, err := stores[i%2].ChangeSession(t.Context(), session.ID, func(current account.UserSession) (account.Session, error) {
				current.Session.Lineage.Current++
				return current.Session, nil
			})
			return err
		}) {
			if err != nil {
				t.Error(err)
			}
		}
		current, err := stores[0].ReadSession(t.Context(), session.ID)
		if err != nil || current.Session.Lineage.Current != 1+changes || current.Session.Version != 1+changes {
			t.Errorf("after %d changes: %+v, %v", changes, current.Session, err)
		}
	})
}

func TestChangePassword(t *testing.T) {
	t.Run("ends_a_concurrent_log_in", testChangePasswordEndsAConcurrentLogIn)
	t.Run("of_many_at_once_one_succeeds", testChangePasswordOfManyAtOnceOneSucceeds)
}

func testChangePasswordEndsAConcurrentLogIn(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		for round := range 20 {
			user := addUser(t, s, fmt.Sprintf("ada%d@example.com", round))
			own, raced := addSession(t, s, user), newSession(user)
			errs := race(2, func(i int) error {
				if i == 0 {
					return s.CreateSession(t.Context(), raced)
				}
				_, err := s.ChangePassword(t.Context(), user.ID, hash, hash+"2", Replacement{own.ID, newSession(user)}, user.CreateTime)
				return err
			})
			if errs[1] != nil {
				t.Fatal(errs[1])
			}
			current, err := s.ReadSession(t.Context(), raced.ID)
			switch {
			case errs[0] == nil && err == nil && current.Ended(): // It was first, and was ended.
			case isError(errs[0], ErrStaleGeneration) && isError(err, ErrNotFound): // It was second, and was refused.
			default:
				t.Errorf("the log-in gave %v; its session is %+v, %v", errs[0], current, err)
			}
		}
	})
}

func testChangePasswordOfManyAtOnceOneSucceeds(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		user := addUser(t, s, "ada@example.com")
		own := addSession(t, s, user)
		errs := race(10, func(i int) error {
			replacement := Replacement{own.ID, newSession(user)}
			_, err := s.ChangePassword(t.Context(), user.ID, hash, fmt.Sprint(hash, i), replacement, user.CreateTime)
			return err
		})
		wantOneOf(t, errs, ErrNotFound, ErrSessionEnded)
		active, err := s.ListSessions(t.Context(), user.ID, user.CreateTime, "", 10)
		if err != nil || len(active) != 1 || active[0].Generation != 1 {
			t.Errorf("the sessions are %+v, %v", active, err)
		}
		current, err := s.ReadSession(t.Context(), own.ID)
		if err != nil || current.User.SessionGeneration != 1 || current.User.Version != 2 || !current.Ended() {
			t.Errorf("the account is %+v, %v", current, err)
		}
	})
}

func TestCreateSession(t *testing.T) {
	t.Run("concurrent_log_ins_respect_the_limit", testCreateSessionConcurrentLogInsRespectTheLimit)
}

func testCreateSessionConcurrentLogInsRespectTheLimit(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		user := addUser(t, stores[0], "ada@example.com")
		for range maxSessions - 5 {
			addSession(t, stores[0], user)
		}
		for _, err := range race(20, func(i int) error { return stores[i%2].CreateSession(t.Context(), newSession(user)) }) {
			if err != nil {
				t.Error(err)
			}
		}
		sessions, err := stores[0].ListSessions(t.Context(), user.ID, user.CreateTime, "", 2*maxSessions)
		if err != nil || len(sessions) != maxSessions {
			t.Errorf("%d sessions are active, %v", len(sessions), err)
		}
	})
}
