package storage

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// userConformance is what every database must do with accounts after they are made.
var userConformance = []conformanceCase{
	{"a user is changed as a whole", userChanged},
	{"a change of nothing leaves the version", userNotChanged},
	{"a change of a user is decided on what is there", userChangeDecidesOnWhatIsThere},
	{"a change that is refused writes nothing", userChangeRefused},
	{"of a deleted user a tombstone is left", userDeleted},
	{"the last admin who can log in stays", lastAdminStays},
	{"users are listed in the order of their addresses, page by page", usersByPage},
	{"users are picked by prefix, state and role", usersPicked},
	{"a password that was replaced meanwhile is not hashed again", rehashOfTheOldHashOnly},
	{"password hashes are sampled over all addresses", passwordHashesSampled},
	{"a request id makes one account", requestIDUsedOnce},
	{"a sign-up is voided alone", signUpVoided},
	{"old request ids are forgotten", requestIDsForgotten},
}

func readUser(t *testing.T, s *Storage, id string) account.User {
	t.Helper()
	user, err := s.ReadUser(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return user
}

func userChanged(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	other := addUser(t, s, "grace@example.com")
	now := user.CreateTime.Add(time.Hour + time.Nanosecond)
	wanted := account.User{
		ID: user.ID, Email: user.Email, FullName: "Zoë 🧑🏽‍🚀", Locale: "en-GB", TimeZone: "Europe/London",
		PictureURI: "https://example.com/p", Metadata: `{"a":1}`, AppMetadata: `{"plan":"pro"}`, State: account.Disabled, Admin: true,
		SessionGeneration: 7, CreateTime: user.CreateTime, UpdateTime: toMicros(now), Version: 2,
	}
	got, err := s.ChangeUser(t.Context(), user.ID, now, func(before account.User) (UserChange, error) {
		if before != user {
			t.Errorf("is to decide on %+v, of %+v", before, user)
		}
		change := UserChange{User: wanted, PasswordHash: hash + "2"}
		change.User.ID, change.User.Email, change.User.Version = other.ID, "eve@example.com", 99 // Not looked at.
		change.User.CreateTime, change.User.UpdateTime = time.Time{}, time.Time{}
		return change, nil
	})
	if err != nil || got != wanted {
		t.Errorf("gave %+v, %v\nof %+v", got, err, wanted)
	}
	if got := readUser(t, s, user.ID); got != wanted {
		t.Errorf("read %+v\nof %+v", got, wanted)
	}
	credential, err := s.ReadCredentialOf(t.Context(), user.ID)
	if err != nil || credential != (account.Credential{
		UserID: user.ID, PasswordHash: hash + "2", State: account.Disabled, Admin: true, SessionGeneration: 7,
	}) {
		t.Errorf("the credential is %+v, %v", credential, err)
	}
	if got := readUser(t, s, other.ID); got != other {
		t.Errorf("another user has become %+v", got)
	}
	_, err = changeUser(t, s, newID(), demoted)
	want(t, err, ErrNotFound)
}

func userNotChanged(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	got, err := changeUser(t, s, user.ID, func(before account.User) UserChange { return UserChange{User: before} })
	if err != nil || got != user || readUser(t, s, user.ID) != user {
		t.Errorf("it has become %+v, %v", got, err)
	}
}

func userChangeDecidesOnWhatIsThere(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	calls := 0
	got, err := changeUser(t, s, user.ID, func(before account.User) UserChange {
		if calls++; calls == 1 { // Somebody is faster.
			if _, err := changeUser(t, s, user.ID, func(before account.User) UserChange {
				before.Locale = "en-GB"
				return UserChange{User: before}
			}); err != nil {
				t.Error(err)
			}
		}
		before.TimeZone = "Europe/London"
		return UserChange{User: before}
	})
	if err != nil || calls != 2 || got.Version != 3 || got.Locale != "en-GB" || got.TimeZone != "Europe/London" {
		t.Errorf("decided %d times, and made it %+v, %v", calls, got, err)
	}
}

func userChangeRefused(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	refusal := errors.New("no")
	_, err := s.ChangeUser(t.Context(), user.ID, time.Now(), func(before account.User) (UserChange, error) {
		before.FullName = "Eve"
		return UserChange{User: before}, refusal
	})
	if !errors.Is(err, refusal) || readUser(t, s, user.ID) != user {
		t.Errorf("error is %v, and the user %+v", err, readUser(t, s, user.ID))
	}
}

func userDeleted(t *testing.T, s *Storage) {
	user := newUser("ada@example.com")
	if err := s.CreateUserOnce(t.Context(), user, hash, newSignUp(user, 1), time.Time{}); err != nil {
		t.Fatal(err)
	}
	addSession(t, s, user)
	other := addUser(t, s, "grace@example.com")
	addSession(t, s, other)
	got, err := changeUser(t, s, user.ID, deleted)
	if err != nil || got.Version != 2 {
		t.Fatalf("gave %+v, %v", got, err)
	}
	_, err = s.ReadUser(t.Context(), user.ID)
	want(t, err, ErrNotFound)
	_, err = s.ReadCredential(t.Context(), user.Email)
	want(t, err, ErrNotFound)
	_, err = changeUser(t, s, user.ID, deleted)
	want(t, err, ErrNotFound)
	for _, table := range []string{"users", "credentials", "sessions"} {
		if rows := count(t, s, table); rows != 1 { // The other's.
			t.Errorf("%s has %d rows", table, rows)
		}
	}
	if count(t, s, "sign_up_requests") != 0 || count(t, s, "user_tombstones WHERE id = ? AND version = 2", user.ID) != 1 {
		t.Error("the sign-up is there, or no tombstone")
	}
	addUser(t, s, "ADA@example.com") // The address is free.
}

func lastAdminStays(t *testing.T, s *Storage) {
	root, second := addAdmin(t, s, "root@example.com"), addAdmin(t, s, "second@example.com")
	addUser(t, s, "ada@example.com")
	ghost := addAdmin(t, s, "ghost@example.com") // Imported without a password.
	exec(t, s, "DELETE FROM credentials WHERE user_id = ?", ghost.ID)
	if _, err := changeUser(t, s, second.ID, disabled); err != nil { // An admin, but not one who can log in.
		t.Fatal(err)
	}
	for _, dismiss := range dismissals {
		_, err := changeUser(t, s, root.ID, dismiss)
		want(t, err, ErrLastAdmin)
		if got := readUser(t, s, root.ID); got != root {
			t.Errorf("the admin has become %+v", got)
		}
	}
	if _, err := changeUser(t, s, root.ID, func(before account.User) UserChange {
		before.FullName = "Root"
		return UserChange{User: before}
	}); err != nil {
		t.Errorf("another change of the last admin: %v", err)
	}
	for _, id := range []string{second.ID, ghost.ID} {
		if _, err := changeUser(t, s, id, deleted); err != nil {
			t.Errorf("deleting an admin who cannot log in: %v", err)
		}
	}
}

func wantListed(t *testing.T, s *Storage, filter UserFilter, limit int, wanted ...string) {
	t.Helper()
	users, err := s.ListUsers(t.Context(), filter, limit)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, user := range users {
		got = append(got, user.Email)
		if user.User != readUser(t, s, user.ID) {
			t.Errorf("%s is listed as %+v", user.Email, user)
		}
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("%+v lists %q, want %q", filter, got, wanted)
	}
}

func usersByPage(t *testing.T, s *Storage) {
	for _, email := range []string{"b@example.com", "Ä@example.com", "a@example.com", "C@example.com", "é@example.com"} {
		addUser(t, s, email)
	}
	wantListed(t, s, UserFilter{}, 10,
		"a@example.com", "b@example.com", "C@example.com", "Ä@example.com", "é@example.com")
	wantListed(t, s, UserFilter{}, 2, "a@example.com", "b@example.com")
	wantListed(t, s, UserFilter{After: "b@example.com"}, 2, "C@example.com", "Ä@example.com")
	wantListed(t, s, UserFilter{After: "b@example.coM"}, 1, "b@example.com") // Compared by the byte.
	wantListed(t, s, UserFilter{After: "é@example.com"}, 2)
}

func usersPicked(t *testing.T, s *Storage) {
	add := func(email string, state account.UserState, admin bool) {
		user := newUser(email)
		user.State, user.Admin = state, admin
		if err := s.CreateUser(t.Context(), user, hash); err != nil {
			t.Fatal(err)
		}
	}
	add("%a@example.com", account.Active, false)
	add("_a@example.com", account.Disabled, false)
	add("ada@example.com", account.Active, true)
	add("adam@example.com", account.Disabled, true)
	add("adb@example.com", account.Active, false)
	add("éa@example.com", account.Active, false)
	add("ea@example.com", account.Active, false)

	wantListed(t, s, UserFilter{EmailPrefix: "ADA"}, 10, "ada@example.com", "adam@example.com")
	wantListed(t, s, UserFilter{EmailPrefix: "%"}, 10, "%a@example.com")
	wantListed(t, s, UserFilter{EmailPrefix: "_"}, 10, "_a@example.com")
	wantListed(t, s, UserFilter{EmailPrefix: "E\u0301"}, 10, "éa@example.com")
	wantListed(t, s, UserFilter{EmailPrefix: "e"}, 10, "ea@example.com")
	wantListed(t, s, UserFilter{EmailPrefix: "adam@example.com"}, 10, "adam@example.com")
	wantListed(t, s, UserFilter{EmailPrefix: "adam@example.com."}, 10)
	wantListed(t, s, UserFilter{State: account.Disabled}, 10, "_a@example.com", "adam@example.com")
	wantListed(t, s, UserFilter{Admins: true}, 10, "ada@example.com", "adam@example.com")
	wantListed(t, s, UserFilter{Admins: true, State: account.Active, EmailPrefix: "ad"}, 10, "ada@example.com")
	wantListed(t, s, UserFilter{EmailPrefix: "ad", After: "ada@example.com"}, 1, "adam@example.com")
	wantListed(t, s, UserFilter{EmailPrefix: "ad", After: "b"}, 10)
}

func rehashOfTheOldHashOnly(t *testing.T, s *Storage) {
	user, other := addUser(t, s, "ada@example.com"), addUser(t, s, "grace@example.com")
	for _, step := range []struct{ old, new, wanted string }{
		{hash + "previous", hash + "2", hash}, {hash, hash + "3", hash + "3"}, {hash, hash + "4", hash + "3"},
	} {
		if err := s.Rehash(t.Context(), user.ID, step.old, step.new); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ReadCredentialOf(t.Context(), user.ID); err != nil || got.PasswordHash != step.wanted {
			t.Errorf("after %+v the hash is %q, %v", step, got.PasswordHash, err)
		}
	}
	if got := readUser(t, s, user.ID); got != user {
		t.Errorf("the user has become %+v", got)
	}
	if got, err := s.ReadCredentialOf(t.Context(), other.ID); err != nil || got.PasswordHash != hash {
		t.Errorf("another user has the hash %q, %v", got.PasswordHash, err)
	}
}

func requestIDUsedOnce(t *testing.T, s *Storage) {
	user, now := newUser("ada@example.com"), time.Now()
	first := newSignUp(user, 1)
	if err := s.CreateUserOnce(t.Context(), user, hash, first, now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	grace := newUser("grace@example.com")
	want(t, s.CreateUserOnce(t.Context(), grace, hash, newSignUp(grace, 1), now.Add(-time.Hour)), ErrRequestTaken)
	again := newUser("ada@example.com")
	want(t, s.CreateUserOnce(t.Context(), again, hash, newSignUp(again, 1), now.Add(-time.Hour)), ErrRequestTaken)
	want(t, s.CreateUserOnce(t.Context(), again, hash, newSignUp(again, 2), now.Add(-time.Hour)), ErrEmailTaken)
	got, err := s.ReadSignUp(t.Context(), first.RequestID, now.Add(-time.Hour))
	if err != nil || got.UserID != user.ID || string(got.Fingerprint) != string(first.Fingerprint) ||
		got.Void() || !got.CreateTime.Equal(first.CreateTime) {
		t.Errorf("read %+v, %v\nof %+v", got, err, first)
	}
	_, err = s.ReadSignUp(t.Context(), newSignUp(user, 2).RequestID, now.Add(-time.Hour))
	want(t, err, ErrNotFound)
	if users, events := count(t, s, "users"), count(t, s, "audit_events"); users != 1 || events != 1 {
		t.Errorf("there are %d users and %d events", users, events)
	}
	if hashes := count(t, s, "sign_up_requests WHERE password_hash <> ''"); hashes != 0 {
		t.Errorf("%d sign-ups have the hash of a password", hashes)
	}
}

func signUpVoided(t *testing.T, s *Storage) {
	user, other := newUser("ada@example.com"), newUser("grace@example.com")
	first, second := newSignUp(user, 1), newSignUp(other, 2)
	first.UserID, second.UserID = user.ID, other.ID
	for signUp, user := range map[*SignUp]account.User{&first: user, &second: other} {
		if err := s.CreateUserOnce(t.Context(), user, hash, *signUp, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.VoidSignUp(t.Context(), first, "REQUEST_ID_REUSED", actTime); err != nil {
			t.Fatal(err)
		}
	}
	want(t, s.ConfirmSignUp(t.Context(), first), ErrNotFound)
	for range 2 { // The same value again: a row that is found counts.
		if err := s.ConfirmSignUp(t.Context(), second); err != nil {
			t.Error(err)
		}
	}
	for signUp, void := range map[*SignUp]bool{&first: true, &second: false} {
		if got, err := s.ReadSignUp(t.Context(), signUp.RequestID, time.Time{}); err != nil || got.Void() != void {
			t.Errorf("read %+v, %v; want void = %t", got, err, void)
		}
	}
	if users := count(t, s, "users"); users != 2 {
		t.Errorf("there are %d users", users)
	}
}

func requestIDsForgotten(t *testing.T, s *Storage) {
	user := newUser("ada@example.com")
	old := newSignUp(user, 1)
	if err := s.CreateUserOnce(t.Context(), user, hash, old, time.Time{}); err != nil {
		t.Fatal(err)
	}
	later := old.CreateTime.Add(time.Microsecond)
	if _, err := s.ReadSignUp(t.Context(), old.RequestID, old.CreateTime); err != nil {
		t.Error(err)
	}
	_, err := s.ReadSignUp(t.Context(), old.RequestID, later)
	want(t, err, ErrNotFound)

	grace := newUser("grace@example.com")
	grace.CreateTime = later
	if err := s.CreateUserOnce(t.Context(), grace, hash, newSignUp(grace, 1), later); err != nil {
		t.Errorf("a request id that is old enough to be used again: %v", err)
	}
	if got, err := s.ReadSignUp(t.Context(), old.RequestID, later); err != nil || got.UserID != grace.ID {
		t.Errorf("read %+v, %v", got, err)
	}
	for i, step := range []struct {
		before time.Time
		rows   int64
	}{{later, 0}, {later.Add(time.Microsecond), 1}, {later.Add(time.Hour), 0}} {
		if rows, err := s.DeleteSignUps(t.Context(), step.before, 10); err != nil || rows != step.rows {
			t.Errorf("step %d deleted %d, %v", i, rows, err)
		}
	}
}
