package storage

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr/emailtest"
)

type conformanceCase struct {
	name string
	test func(t *testing.T, s *Storage)
}

// conformance is what every database must do. Each case has an empty one that is migrated.
var conformance = []conformanceCase{
	{"a user is read as written", userAsWritten},
	{"there is no such user", noSuchUser},
	{"text is kept whatever it holds", anyText},
	{"times are kept to the microsecond", times},
	{"one address is one account", oneAddress},
	{"addresses that differ are different accounts", differentAddresses},
	{"the longest addresses are not cut", longestAddresses},
	{"a user without a credential is not made", bothOrNeither},
	{"an id is used once", idUsedOnce},
	{"signing keys are listed newest first", signingKeysNewestFirst},
	{"a generation is used once", generationUsedOnce},
	{"a key is kept for the longest token", longestToken},
	{"a deleted key takes its private half along", keyDeleted},
	{"a revoked key has its successor, or stays", keyRevoked},
	{"keys are sealed again, all or none", keysResealed},
	{"the errors of a context stay", contextErrors},
	{"errors do not quote what is stored", errorsQuoteNothing},
}

func TestConformance(t *testing.T) {
	for name, newDatabase := range engines(t) {
		t.Run(name, func(t *testing.T) {
			for _, test := range slices.Concat(conformance, userConformance, sessionConformance, auditConformance, feedConformance) {
				t.Run(test.name, func(t *testing.T) { test.test(t, openNew(t, newDatabase(t))) })
			}
		})
	}
}

func userAsWritten(t *testing.T, s *Storage) {
	user := newUser("Ada.Lovelace@Example.com")
	user.Version = 7
	user.UpdateTime = user.CreateTime.Add(time.Hour)
	if err := s.CreateUser(t.Context(), user, hash); err != nil {
		t.Fatal(err)
	}
	got, err := s.ReadUser(t.Context(), user.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got != user {
		t.Errorf("read %+v\nwrote %+v", got, user)
	}
	wanted := account.Credential{UserID: user.ID, PasswordHash: hash, State: account.Active}
	if got, err := s.ReadCredential(t.Context(), "ada.lovelace@example.COM"); err != nil || got != wanted {
		t.Errorf("ReadCredential = %+v, %v", got, err)
	}
	if got, err := s.ReadCredentialOf(t.Context(), user.ID); err != nil || got != wanted {
		t.Errorf("ReadCredentialOf = %+v, %v", got, err)
	}
}

func noSuchUser(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	for _, id := range []string{
		newID(), "", "me", "é", strings.ToUpper(user.ID), user.ID[:35], user.ID + " ", "' OR '1'='1",
	} {
		_, err := s.ReadUser(t.Context(), id)
		want(t, err, ErrNotFound)
	}
	for _, email := range []string{"nobody@example.com", ""} {
		_, err := s.ReadCredential(t.Context(), email)
		want(t, err, ErrNotFound)
	}
	_, err := s.ReadCredentialOf(t.Context(), newID())
	want(t, err, ErrNotFound)
}

func anyText(t *testing.T, s *Storage) {
	for _, name := range []string{
		"", " padded ", "王小明", "Zoë 🧑🏽‍🚀", strings.Repeat("𝕬", 200),
		`"; DROP TABLE users; --`, `'; DROP TABLE users; --`, `back\slash\0 %s ? :id @id`, "nul\x00nul", "\u202eevil",
	} {
		user := newUser(newID() + "@example.com")
		user.FullName = name
		if err := s.CreateUser(t.Context(), user, hash); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got, err := s.ReadUser(t.Context(), user.ID); err != nil || got.FullName != name {
			t.Errorf("wrote %q, read %q, %v", name, got.FullName, err)
		}
	}
}

func times(t *testing.T, s *Storage) {
	zone := time.FixedZone("", -5*60*60)
	for _, at := range []time.Time{
		time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.UTC), // Rounded, it would be next year.
		time.Date(2026, 3, 29, 1, 30, 0, 1_000, time.UTC),          // There is no such local time in Berlin.
		time.Date(2026, 7, 1, 12, 0, 0, 123_456_000, zone),
		time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC),
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2100, 1, 1, 0, 0, 0, 100_000, time.UTC),
	} {
		user := newUser(newID() + "@example.com")
		user.CreateTime, user.UpdateTime = at, at.Add(time.Millisecond)
		if err := s.CreateUser(t.Context(), user, hash); err != nil {
			t.Fatal(err)
		}
		got, err := s.ReadUser(t.Context(), user.ID)
		if err != nil {
			t.Fatal(err)
		}
		wanted := at.UTC().Truncate(time.Microsecond)
		if got.CreateTime != wanted || got.UpdateTime != wanted.Add(time.Millisecond) {
			t.Errorf("wrote %v, read %v and %v", at, got.CreateTime, got.UpdateTime)
		}
	}
}

func oneAddress(t *testing.T, s *Storage) {
	for _, pair := range emailtest.Same {
		first := addUser(t, s, pair[0])
		err := s.CreateUser(t.Context(), newUser(pair[1]), hash)
		if want(t, err, ErrEmailTaken); err == nil {
			t.Errorf("%+q and %+q are two accounts", pair[0], pair[1])
		}
		if found, err := s.ReadCredential(t.Context(), pair[1]); found.UserID != first.ID {
			t.Errorf("%+q does not log in to the account of %+q: %v", pair[1], pair[0], err)
		}
	}
}

func differentAddresses(t *testing.T, s *Storage) {
	for _, pair := range emailtest.Different {
		first, second := addUser(t, s, pair[0]), addUser(t, s, pair[1])
		for _, user := range []account.User{first, second} {
			if found, err := s.ReadCredential(t.Context(), user.Email); found.UserID != user.ID {
				t.Errorf("of %+q, %+q logs in to the account of another: %v", pair, user.Email, err)
			}
		}
	}
}

// longestAddresses expand to three times as long in bytes: U+1D160 has four bytes and is three code points of four in
// normal form C.
func longestAddresses(t *testing.T, s *Storage) {
	address := strings.Repeat("\U0001D160", 59) + "@example.com"
	first, second := addUser(t, s, address+".com.au"), addUser(t, s, address+".com.at")
	for _, user := range []account.User{first, second} {
		found, err := s.ReadCredential(t.Context(), user.Email)
		if found.UserID != user.ID {
			t.Errorf("logs in to another account: %v", err)
		}
		got, err := s.ReadUser(t.Context(), user.ID)
		if got.Email != user.Email {
			t.Errorf("wrote %q, read %q, %v", user.Email, got.Email, err)
		}
	}
}

func bothOrNeither(t *testing.T, s *Storage) {
	exec(t, s, "DROP TABLE credentials")
	user := newUser("ada@example.com")
	if err := s.CreateUser(t.Context(), user, hash); err == nil {
		t.Fatal("a user was made without a credential")
	}
	_, err := s.ReadUser(t.Context(), user.ID)
	want(t, err, ErrNotFound)
}

func idUsedOnce(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	again := newUser("grace@example.com")
	again.ID = user.ID
	err := s.CreateUser(t.Context(), again, hash)
	if err == nil {
		t.Fatal("an id was given twice")
	}
	for _, other := range []error{ErrEmailTaken, ErrNotFound, ErrUnavailable} {
		if isError(err, other) {
			t.Errorf("error is %v", err)
		}
	}
	if _, err := s.ReadCredential(t.Context(), again.Email); !isError(err, ErrNotFound) {
		t.Errorf("the second user has a credential: %v", err)
	}
}

func newSigningKey(generation int64) account.SigningKey {
	return account.SigningKey{
		Generation: generation, KeyID: newID(), Algorithm: "EdDSA",
		PublicKey: []byte{0, 0xff, '\'', '\\', 0}, SealedPrivateKey: []byte(strings.Repeat("\x00sealed\xff", 100)),
		CreateTime:    time.Now().UTC().Truncate(time.Microsecond),
		ActivateTime:  time.Now().UTC().Truncate(time.Microsecond).Add(10*time.Minute + time.Microsecond),
		TokenLifetime: 15 * time.Minute,
	}
}

// wantKeys requires exactly these keys, the newest first.
func wantKeys(t *testing.T, s *Storage, wanted ...account.SigningKey) {
	t.Helper()
	keys, err := s.ListSigningKeys(t.Context())
	if err != nil || !reflect.DeepEqual(keys, wanted) {
		t.Errorf("the keys are %v\nwant %v, %v", keys, wanted, err)
	}
}

func signingKeysNewestFirst(t *testing.T, s *Storage) {
	if keys, err := s.ListSigningKeys(t.Context()); err != nil || len(keys) != 0 {
		t.Fatalf("an empty database has the keys %v, %v", keys, err)
	}
	wanted := []account.SigningKey{newSigningKey(10), newSigningKey(2), newSigningKey(1)}
	for _, i := range []int{1, 2, 0} {
		if err := s.CreateSigningKey(t.Context(), wanted[i]); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := s.ListSigningKeys(t.Context())
	if err != nil || !reflect.DeepEqual(keys, wanted) {
		t.Errorf("wrote %v\nread %v, %v", wanted, keys, err)
	}
}

func generationUsedOnce(t *testing.T, s *Storage) {
	first, second := newSigningKey(1), newSigningKey(1)
	if err := s.CreateSigningKey(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	want(t, s.CreateSigningKey(t.Context(), second), ErrGenerationTaken)
	keys, err := s.ListSigningKeys(t.Context())
	if err != nil || len(keys) != 1 || keys[0].KeyID != first.KeyID {
		t.Errorf("the keys are %v, %v", keys, err)
	}
	second.Generation, second.KeyID = 2, first.KeyID
	err = s.CreateSigningKey(t.Context(), second)
	if err == nil || isError(err, ErrGenerationTaken) {
		t.Errorf("a key id is used twice: %v", err)
	}
}

func longestToken(t *testing.T, s *Storage) {
	short, long := newSigningKey(1), newSigningKey(2)
	long.TokenLifetime = 2 * time.Hour
	for _, key := range []account.SigningKey{short, long} {
		if err := s.CreateSigningKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, lifetime := range []time.Duration{time.Hour - 900*time.Millisecond, time.Minute} {
		if err := s.RaiseTokenLifetime(t.Context(), lifetime); err != nil {
			t.Fatal(err)
		}
		short.TokenLifetime = time.Hour
		wantKeys(t, s, long, short)
	}
}

func keyDeleted(t *testing.T, s *Storage) {
	old, newest := newSigningKey(1), newSigningKey(2)
	for _, key := range []account.SigningKey{old, newest} {
		if err := s.CreateSigningKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, wanted := range []bool{true, false} {
		if deleted, err := s.DeleteSigningKey(t.Context(), old.KeyID); err != nil || deleted != wanted {
			t.Errorf("DeleteSigningKey = %v, %v, want %v", deleted, err, wanted)
		}
		wantKeys(t, s, newest)
	}
}

func keyRevoked(t *testing.T, s *Storage) {
	oldest, old, newest := newSigningKey(1), newSigningKey(2), newSigningKey(3)
	for _, key := range []account.SigningKey{oldest, old, newest} {
		if err := s.CreateSigningKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	want(t, s.RevokeSigningKey(t.Context(), newID(), new(newSigningKey(4))), ErrNotFound)
	want(t, s.RevokeSigningKey(t.Context(), old.KeyID, new(newSigningKey(3))), ErrGenerationTaken)
	wantKeys(t, s, newest, old, oldest)

	if err := s.RevokeSigningKey(t.Context(), old.KeyID, nil); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, s, newest, oldest)
	successor := newSigningKey(4)
	if err := s.RevokeSigningKey(t.Context(), newest.KeyID, &successor); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, s, successor, oldest)
}

func keysResealed(t *testing.T, s *Storage) {
	first, second := newSigningKey(1), newSigningKey(2)
	for _, key := range []account.SigningKey{first, second} {
		if err := s.CreateSigningKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	resealed := []account.ResealedKey{
		{KeyID: first.KeyID, Before: first.SealedPrivateKey, After: []byte("\xff\x00new")},
		{KeyID: second.KeyID, Before: []byte("\xff\x00another that was read"), After: []byte("lost")},
		{KeyID: newID(), Before: first.SealedPrivateKey, After: []byte("of a key that is gone")},
	}
	for _, wanted := range []int{1, 0} {
		if changed, err := s.ResealSigningKeys(t.Context(), resealed); err != nil || changed != wanted {
			t.Errorf("ResealSigningKeys = %d, %v, want %d", changed, err, wanted)
		}
		first.SealedPrivateKey = resealed[0].After
		wantKeys(t, s, second, first)
	}
	_, err := s.ResealSigningKeys(t.Context(), []account.ResealedKey{
		{KeyID: first.KeyID, Before: first.SealedPrivateKey, After: []byte("undone")},
		{KeyID: second.KeyID, Before: second.SealedPrivateKey},
	})
	if err == nil {
		t.Error("a key is left without its private half")
	}
	wantKeys(t, s, second, first)
}

func contextErrors(t *testing.T, s *Storage) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancelLate()
	for ctx, wanted := range map[context.Context]error{cancelled: context.Canceled, late: context.DeadlineExceeded} {
		for _, err := range everyOperation(ctx, s) {
			want(t, err, wanted)
			if isError(err, ErrUnavailable) {
				t.Errorf("a caller that went away makes the database unavailable: %v", err)
			}
		}
	}
}

func everyOperation(ctx context.Context, s *Storage) map[string]error {
	_, readUser := s.ReadUser(ctx, newID())
	_, readCredential := s.ReadCredential(ctx, "ada@example.com")
	_, readCredentialOf := s.ReadCredentialOf(ctx, newID())
	_, readAccount := s.ReadSession(ctx, newID())
	_, listSessions := s.ListSessions(ctx, newID(), time.Now(), "", 1)
	_, endAllSessions := s.EndAllSessions(ctx, newID(), Replacement{}, time.Now())
	_, repeatToken := s.RepeatToken(ctx, account.Session{ID: newID()}, time.Now())
	refuseToken := s.RefuseToken(ctx, account.Session{ID: newID()}, "REASON", time.Now())
	_, changePassword := s.ChangePassword(ctx, newID(), hash, hash, Replacement{}, time.Now())
	_, deleteExpired := s.DeleteExpiredSessions(ctx, time.Now(), 1)
	_, listSigningKeys := s.ListSigningKeys(ctx)
	_, deleteSigningKey := s.DeleteSigningKey(ctx, newID())
	_, reseal := s.ResealSigningKeys(ctx, []account.ResealedKey{{KeyID: newID(), Before: []byte("a"), After: []byte("b")}})
	return map[string]error{
		"Ready": s.Ready(ctx), "ReadUser": readUser, "ReadCredential": readCredential, "ReadCredentialOf": readCredentialOf,
		"ReadAccount": readAccount, "ListSessions": listSessions, "EndAllSessions": endAllSessions,
		"RepeatToken": repeatToken, "RefuseToken": refuseToken,
		"ChangePassword": changePassword, "DeleteExpiredSessions": deleteExpired,
		"EndSession":       s.EndSession(ctx, newID(), newID(), time.Now()),
		"ListSigningKeys":  listSigningKeys,
		"CreateUser":       s.CreateUser(ctx, newUser(newID()+"@example.com"), hash),
		"CreateSession":    s.CreateSession(ctx, newSession(newUser("ada@example.com"))),
		"DeleteSigningKey": deleteSigningKey, "ResealSigningKeys": reseal,
		"RaiseTokenLifetime": s.RaiseTokenLifetime(ctx, time.Hour),
		"RecordFailure":      s.RecordFailure(ctx, Login, "", "INVALID_CREDENTIALS", time.Now()),
		"RevokeSigningKey":   s.RevokeSigningKey(ctx, newID(), new(newSigningKey(time.Now().UnixNano()))),
		"CreateSigningKey":   s.CreateSigningKey(ctx, newSigningKey(time.Now().UnixNano())),
	}
}

func errorsQuoteNothing(t *testing.T, s *Storage) {
	user := addUser(t, s, "secret-ada@example.com")
	sameID := newUser("secret-grace@example.com")
	sameID.ID = user.ID
	key := newSigningKey(1)
	_, notFound := s.ReadCredential(t.Context(), "secret-nobody@example.com")
	errs := []error{
		s.CreateUser(t.Context(), newUser(user.Email), hash),
		s.CreateUser(t.Context(), sameID, hash),
		notFound,
		s.CreateSigningKey(t.Context(), key), // The only one that succeeds.
		s.CreateSigningKey(t.Context(), key),
	}
	exec(t, s, "DROP TABLE credentials")
	errs = append(errs, s.CreateUser(t.Context(), newUser("secret-alan@example.com"), hash))
	for i, err := range errs {
		if (err == nil) != (i == 3) {
			t.Errorf("error %d is %v", i, err)
		}
		for _, secret := range []string{"secret-", "argon2id", "sealed"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%q quotes %q", err, secret)
			}
		}
	}
}
