package storage

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// racers is how many do something at once.
const racers = 50

// addAdmin adds an active administrator.
func addAdmin(t *testing.T, s *Storage, email string) account.User {
	t.Helper()
	user := newUser(email)
	user.Admin = true
	if err := s.CreateUser(t.Context(), user, hash); err != nil {
		t.Fatal(err)
	}
	return user
}

// The ways in which an admin ceases to be one.
var dismissals = []func(account.User) UserChange{demoted, disabled, deleted}

func demoted(user account.User) UserChange {
	user.Admin = false
	return UserChange{User: user}
}

func disabled(user account.User) UserChange {
	user.State = account.Disabled
	return UserChange{User: user}
}

func deleted(user account.User) UserChange { return UserChange{User: user, Delete: true} }

// changeUser changes a user as change says.
func changeUser(t *testing.T, s *Storage, id string, change func(account.User) UserChange) (account.User, error) {
	t.Helper()
	return s.ChangeUser(t.Context(), id, time.Now(), func(before account.User) (UserChange, error) {
		return change(before), nil
	})
}

// activeAdmins are those who can log in.
func activeAdmins(t *testing.T, s *Storage) (admins []account.User) {
	t.Helper()
	listed, err := s.ListUsers(t.Context(), UserFilter{State: account.Active, Admins: true}, 2*racers)
	if err != nil {
		t.Fatal(err)
	}
	for _, admin := range listed {
		admins = append(admins, admin.User)
	}
	return admins
}

// count counts the rows that a condition picks, such as "sessions WHERE user_id = ?".
func count(t *testing.T, s *Storage, rows string, values ...any) int {
	t.Helper()
	var found int
	if err := s.pool.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+rows, values...).Scan(&found); err != nil {
		t.Fatalf("count %s: %v", rows, err)
	}
	return found
}

func testChangeUserManyAdminsThatDemoteEachOtherLeaveOne(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		admins := make([]account.User, racers)
		for i := range admins {
			admins[i] = addAdmin(t, stores[0], fmt.Sprintf("admin%d@example.com", i))
		}
		errs := race(racers, func(i int) error {
			_, err := changeUser(t, stores[i%2], admins[(i+1)%racers].ID, dismissals[i%len(dismissals)])
			return err
		})
		wantOneRefused(t, errs)
		left := activeAdmins(t, stores[0])
		if len(left) != 1 {
			t.Fatalf("%d active admins are left", len(left))
		}
		// Neither can the one who is left be dismissed.
		last := left[0]
		for _, err := range race(racers, func(i int) error {
			_, err := changeUser(t, stores[i%2], last.ID, dismissals[i%len(dismissals)])
			return err
		}) {
			want(t, err, ErrLastAdmin)
		}
		if got, err := stores[0].ReadUser(t.Context(), last.ID); err != nil || got != last {
			t.Errorf("the last admin is %+v, %v\nwant %+v", got, err, last)
		}
	})
}

// wantOneRefused requires one ErrLastAdmin, and no other error.
func wantOneRefused(t *testing.T, errs []error) {
	t.Helper()
	refused := 0
	for _, err := range errs {
		if err != nil {
			want(t, err, ErrLastAdmin)
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d of %d were refused", refused, len(errs))
	}
}

func testChangeUserTwoAdminsThatDemoteEachOtherLeaveOne(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		for round := range racers {
			admins := []account.User{
				addAdmin(t, stores[0], fmt.Sprintf("ada%d@example.com", round)),
				addAdmin(t, stores[0], fmt.Sprintf("bob%d@example.com", round)),
			}
			wantOneRefused(t, race(2, func(i int) error {
				_, err := changeUser(t, stores[i], admins[1-i].ID, dismissals[(round+i)%len(dismissals)])
				return err
			}))
			left := activeAdmins(t, stores[0])
			if len(left) != 1 {
				t.Fatalf("in round %d %d active admins are left", round, len(left))
			}
			exec(t, stores[0], "UPDATE users SET is_admin = ? WHERE id = ?", false, left[0].ID)
		}
	})
}

func testCreateUserAnAddressFreedByADeletionHasOneNewUser(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		for round := range 5 {
			email := fmt.Sprintf("ada%d@example.com", round)
			owner := addUser(t, stores[0], email)
			addSession(t, stores[0], owner)
			var gone atomic.Bool
			heirs := make([]account.User, racers+1)
			errs := race(len(heirs), func(i int) error {
				if i == racers {
					defer gone.Store(true)
					_, err := changeUser(t, stores[round%2], owner.ID, deleted)
					return err
				}
				for {
					last := gone.Load() // Before the attempt: the last one begins when the address is free.
					heirs[i] = newUser(email)
					err := stores[i%2].CreateUser(t.Context(), heirs[i], hash)
					if last || !errors.Is(err, ErrEmailTaken) {
						return err
					}
				}
			})
			if errs[racers] != nil {
				t.Errorf("the deletion gave %v", errs[racers])
			}
			wantOne(t, errs[:racers], ErrEmailTaken)
			credential, err := stores[0].ReadCredential(t.Context(), email)
			if err != nil || count(t, stores[0], "users WHERE canonical_email = ?", email) != 1 {
				t.Fatalf("the address belongs to %+v, %v", credential, err)
			}
			for i, err := range errs[:racers] {
				if (err == nil) != (heirs[i].ID == credential.UserID) {
					t.Errorf("sign-up %d gave %v, and the address belongs to another", i, err)
				}
			}
		}
	})
}

func TestCreateUserOnce(t *testing.T) {
	t.Run("of_many_repetitions_one_creates_a_user", testCreateUserOnceOfManyRepetitionsOneCreatesAUser)
	t.Run("of_many_repetitions_with_an_old_id_one_creates_a_user", testOfManyRepetitionsWithAnOldIDOneCreatesAUser)
	t.Run("many_at_once_all_succeed", testCreateUserOnceManyAtOnceAllSucceed)
	t.Run("repetitions_with_a_taken_address_all_fail", testCreateUserOnceRepetitionsWithATakenAddressAllFail)
	t.Run("of_many_with_one_address_one_succeeds", testCreateUserOnceOfManyWithOneAddressOneSucceeds)
}

func testCreateUserOnceOfManyRepetitionsOneCreatesAUser(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		for round := range byte(5) {
			email := fmt.Sprintf("ada%d@example.com", round)
			wantOne(t, race(racers, func(i int) error {
				user := newUser(email)
				return stores[i%2].CreateUserOnce(t.Context(), user, hash, newSignUp(user, round), user.CreateTime.Add(-time.Hour))
			}), ErrRequestTaken)
			if users := count(t, stores[0], "users WHERE canonical_email = ?", email); users != 1 {
				t.Errorf("%d users were made", users)
			}
			if signUps := count(t, stores[0], "sign_up_requests"); signUps != int(round)+1 {
				t.Errorf("%d sign-ups are remembered after %d rounds", signUps, round+1)
			}
		}
	})
}

func testOfManyRepetitionsWithAnOldIDOneCreatesAUser(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		old := newUser("old@example.com")
		old.CreateTime = old.CreateTime.Add(-2 * time.Hour)
		if err := stores[0].CreateUserOnce(t.Context(), old, hash, newSignUp(old, 1), old.CreateTime); err != nil {
			t.Fatal(err)
		}
		wantOne(t, race(racers, func(i int) error {
			user := newUser("ada@example.com")
			return stores[i%2].CreateUserOnce(t.Context(), user, hash, newSignUp(user, 1), user.CreateTime.Add(-time.Hour))
		}), ErrRequestTaken)
	})
}

// withoutDeadlock fails if concurrent calls end in deadlocks, which are tried again until the attempts
// run out: with many more it would fail.
func withoutDeadlock(t *testing.T, s *Storage, do func()) {
	t.Helper()
	if s.writer != nil {
		do()
		return
	}
	before := status(t, s, "Innodb_deadlocks")
	do()
	if deadlocks := status(t, s, "Innodb_deadlocks") - before; deadlocks > 0 {
		t.Errorf("there were %d deadlocks", deadlocks)
	}
}

func testCreateUserOnceManyAtOnceAllSucceed(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		withoutDeadlock(t, stores[0], func() {
			for i, err := range race(racers, func(i int) error {
				user := newUser(fmt.Sprintf("user%d@example.com", i))
				return stores[i%2].CreateUserOnce(t.Context(), user, hash, newSignUp(user, byte(i)), user.CreateTime.Add(-time.Hour))
			}) {
				if err != nil {
					t.Errorf("sign-up %d gave %v", i, err)
				}
			}
		})
	})
}

func testCreateUserOnceRepetitionsWithATakenAddressAllFail(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		addUser(t, stores[0], "ada@example.com")
		withoutDeadlock(t, stores[0], func() {
			for _, err := range race(racers, func(i int) error {
				user := newUser("ada@example.com")
				return stores[i%2].CreateUserOnce(t.Context(), user, hash, newSignUp(user, byte(i%2)), user.CreateTime.Add(-time.Hour))
			}) {
				want(t, err, ErrEmailTaken)
			}
		})
		if signUps := count(t, stores[0], "sign_up_requests"); signUps != 0 {
			t.Errorf("%d sign-ups are remembered that made nobody", signUps)
		}
	})
}

func testCreateUserOnceOfManyWithOneAddressOneSucceeds(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		for round := range 5 {
			exec(t, stores[0], "DELETE FROM sign_up_requests")
			wantOne(t, race(racers, func(i int) error {
				user := newUser(fmt.Sprintf("ada%d@example.com", round))
				return stores[i%2].CreateUserOnce(t.Context(), user, hash, newSignUp(user, byte(i)), user.CreateTime.Add(-time.Hour))
			}), ErrEmailTaken)
			if signUps := count(t, stores[0], "sign_up_requests"); signUps != 1 {
				t.Errorf("%d sign-ups are remembered", signUps)
			}
		}
	})
}

func testChangeUserNoneOfManyChangesIsLost(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		user := addUser(t, stores[0], "ada@example.com")
		var versions [racers]int64
		for i, err := range race(racers, func(i int) error {
			after, err := changeUser(t, stores[i%2], user.ID, func(before account.User) UserChange {
				before.Metadata += fmt.Sprintf("<%d>", i)
				return UserChange{User: before}
			})
			versions[i] = after.Version
			return err
		}) {
			if err != nil {
				t.Errorf("change %d gave %v", i, err)
			}
		}
		got, err := stores[0].ReadUser(t.Context(), user.ID)
		if err != nil || got.Version != 1+racers {
			t.Fatalf("after %d changes the version is %d, %v", racers, got.Version, err)
		}
		seen := map[int64]bool{}
		for i, version := range versions {
			if !strings.Contains(got.Metadata, fmt.Sprintf("<%d>", i)) {
				t.Errorf("change %d, which made version %d, is lost", i, version)
			}
			if version < 2 || version > 1+racers || seen[version] {
				t.Errorf("version %d was given twice, or never made", version)
			}
			seen[version] = true
		}
		if events := count(t, stores[0], "audit_events WHERE kind = ?", string(UserUpdated)); events != racers {
			t.Errorf("%d changes have %d events", racers, events)
		}
	})
}

// testChangeUserNothingOutlivesADeletedUser deletes users while everything is done to them.
func testChangeUserNothingOutlivesADeletedUser(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		for round := range 20 {
			// Neighbours, so that what locks the gaps between rows locks those of others too.
			users := make([]account.User, 3)
			sessions := make([]account.Session, len(users))
			for i := range users {
				users[i] = addUser(t, stores[0], fmt.Sprintf("ada%d.%d@example.com", round, i))
				sessions[i] = addSession(t, stores[0], users[i])
			}
			for i, err := range race(8*len(users), func(i int) error {
				return interfere(t, stores[i%2], i%8, users[i/8], sessions[i/8])
			}) {
				if err != nil {
					t.Errorf("round %d, act %d: %v", round, i%8, err)
				}
			}
			for _, table := range []string{"users", "sessions", "credentials", "sign_up_requests"} {
				if left := count(t, stores[0], table); left != 0 {
					t.Errorf("round %d: %d rows of %s are left", round, left, table)
				}
			}
		}
	})
}

// interfere does one of the things that are done to a user. It gives the error unless that is one of those which the
// operation has for a user who is gone.
func interfere(t *testing.T, s *Storage, number int, user account.User, session account.Session) error {
	t.Helper()
	var err error
	expected := []error{ErrNotFound}
	switch number {
	case 0:
		expected = nil
		_, err = changeUser(t, s, user.ID, deleted)
	case 1:
		err = s.CreateSession(t.Context(), newSession(user))
		expected = []error{ErrStaleGeneration}
	case 2:
		_, err = s.ChangeSession(t.Context(), session.ID, func(current account.UserSession) (account.Session, error) {
			current.Session.Lineage.Current++
			return current.Session, nil
		})
	case 3:
		_, err = s.EndAllSessions(t.Context(), user.ID, Replacement{}, time.Now())
	case 4:
		_, err = s.ChangePassword(t.Context(), user.ID, hash, hash+"2", Replacement{session.ID, newSession(user)}, time.Now())
		expected = append(expected, ErrSessionEnded)
	case 5:
		err = s.Rehash(t.Context(), user.ID, hash, hash)
		expected = nil
	case 6:
		err = s.EndSession(t.Context(), user.ID, session.ID, time.Now())
	case 7:
		_, err = changeUser(t, s, user.ID, disabled)
	}
	for _, one := range expected {
		if errors.Is(err, one) {
			return nil
		}
	}
	return err
}
