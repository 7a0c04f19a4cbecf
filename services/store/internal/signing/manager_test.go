package signing_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

func manager(t *testing.T, db *storage.Storage, config signing.Config) *signing.KeyManager {
	t.Helper()
	keys, err := signing.NewKeyManager(db, config)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestRotateConcurrently(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		clock := newClock()
		config := config(signing.NewMasterKey(), jwk.ES256, clock.Now)
		db := openDatabase(t, database)
		keyring := openKeyring(t, db, config)
		var all []*signing.KeyManager
		for range 10 {
			all = append(all, manager(t, openDatabase(t, database), config))
		}
		for rotation := range 2 {
			var made atomic.Int64
			ids := make([]string, len(all))
			atOnce(t, len(all), func(i int) error {
				key, isNew, err := all[i].Rotate(t.Context())
				if isNew {
					made.Add(1)
				}
				ids[i] = key.KeyID
				return err
			})
			rows := listKeys(t, db)
			if made.Load() != 1 || rows[0].Generation != int64(rotation+2) ||
				!rows[0].ActivateTime.Equal(clock.Now().Add(10*time.Minute)) || rows[0].TokenLifetime != lifetime {
				t.Fatalf("%d keys were made; the newest is %+v", made.Load(), rows[0])
			}
			if len(slices.Compact(ids)) != 1 || ids[0] != rows[0].KeyID {
				t.Errorf("they are warned of %v", ids)
			}
			clock.pass(10 * time.Minute)
			maintain(t, keyring)
			if got := keyIDOf(t, mint(t, keyring, clock.Now())); got != rows[0].KeyID {
				t.Errorf("%s signs, not %s", got, rows[0].KeyID)
			}
		}
	})
}

// TestRevokeBound checks that a revoked key leaves the set at once, another one signs at once, and a service rejects
// the key's tokens, cached or not, as soon as it has refreshed its keys.
func TestRevokeBound(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		clock := newClock()
		config := config(signing.NewMasterKey(), jwk.EdDSA, clock.Now)
		db := openDatabase(t, database)
		keyring := openKeyring(t, db, config)
		keys := authn.NewKeySet(keySet(keyring), clock.Now)
		verifier := authn.NewVerifier(keys, issuer, audience, clock.Now)
		remembered, other := mint(t, keyring, clock.Now()), mint(t, keyring, clock.Now())
		if _, err := verifier.Verify(t.Context(), remembered); err != nil {
			t.Fatal(err)
		}
		revoked := keyIDOf(t, remembered)
		successor, err := manager(t, db, config).Revoke(t.Context(), revoked)
		if err != nil || successor == nil {
			t.Fatalf("Revoke = %v, %v", successor, err)
		}
		if got := published(t, keyring); !slices.Equal(got, []string{successor.KeyID}) {
			t.Errorf("published are %v, want %s alone", got, successor.KeyID)
		}
		maintain(t, keyring)
		token := mint(t, keyring, clock.Now())
		if got := keyIDOf(t, token); got != successor.KeyID {
			t.Errorf("%s signs, not %s", got, successor.KeyID)
		}
		if err := keys.Refresh(t.Context()); err != nil { // As a service does every 5 s.
			t.Fatal(err)
		}
		for name, token := range map[string]string{"remembered": remembered, "other": other} {
			wantInvalid(t, name, verifier, token)
		}
		if _, err := verifier.Verify(t.Context(), token); err != nil {
			t.Errorf("the new key: %v", err)
		}
	})
}

func wantInvalid(t *testing.T, name string, verifier *authn.Verifier, token string) {
	t.Helper()
	var refusal *apierr.Error
	_, err := verifier.Verify(t.Context(), token)
	if !errors.As(err, &refusal) || refusal.Reason() != gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID {
		t.Errorf("the %s token: %v", name, err)
	}
}

// TestRevokeGenerations checks that no generation is used twice, whichever key is revoked.
func TestRevokeGenerations(t *testing.T) {
	for _, test := range []struct {
		name      string
		revoked   int    // of three: pending, active, retiring
		successor string // its state
	}{
		{"the pending key, which is the newest", 0, "pending"},
		{"the active key", 1, "active"},
		{"a retiring key", 2, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			clock := newClock()
			config := config(signing.NewMasterKey(), jwk.EdDSA, clock.Now)
			db := openDatabase(t, newDatabase(t))
			keyring := openKeyring(t, db, config)
			hand := manager(t, db, config)
			for range 2 {
				if _, made, err := hand.Rotate(t.Context()); err != nil || !made {
					t.Fatalf("Rotate = %v, %v", made, err)
				}
				clock.pass(10 * time.Minute)
			}
			clock.pass(-1) // The third is pending, for another moment.
			rows := listKeys(t, db)
			successor, err := hand.Revoke(t.Context(), rows[test.revoked].KeyID)
			if err != nil || (successor != nil) != (test.successor != "") {
				t.Fatalf("Revoke = %v, %v", successor, err)
			}
			left := listKeys(t, db)
			statuses := signing.Statuses(left, clock.Now())
			want := rows[0].Generation
			if successor != nil {
				want++
				if left[0].KeyID != successor.KeyID || string(statuses[0].State) != test.successor {
					t.Errorf("the newest is %+v, %v", left[0], statuses[0])
				}
			}
			if left[0].Generation != want || slices.Contains(keyIDs(t, db), rows[test.revoked].KeyID) {
				t.Errorf("left are %+v", left)
			}
			signer := rows[1].KeyID
			if test.successor == "active" {
				signer = successor.KeyID
			}
			maintain(t, keyring)
			if got := keyIDOf(t, mint(t, keyring, clock.Now())); got != signer {
				t.Errorf("%s signs, not %s", got, signer)
			}
		})
	}
}

func TestRevokeUnknownKey(t *testing.T) {
	clock := newClock()
	config := config(signing.NewMasterKey(), jwk.EdDSA, clock.Now)
	db := openDatabase(t, newDatabase(t))
	hand := manager(t, db, config)
	if _, err := hand.Revoke(t.Context(), "kid"); err == nil || !strings.Contains(err.Error(), "no signing key yet") {
		t.Errorf("without keys: %v", err)
	}
	openKeyring(t, db, config)
	ids := keyIDs(t, db)
	if _, err := hand.Revoke(t.Context(), "kid"); err == nil || !strings.Contains(err.Error(), ids[0]) {
		t.Errorf("the error does not name the existing keys: %v", err)
	}
	if got := keyIDs(t, db); !slices.Equal(got, ids) {
		t.Errorf("the keys are %v", got)
	}
}

// TestManagerAnotherMasterKey checks that a wrong master key changes no key: no store could open what it sealed.
func TestManagerAnotherMasterKey(t *testing.T) {
	clock := newClock()
	db := openDatabase(t, newDatabase(t))
	openKeyring(t, db, config(signing.NewMasterKey(), jwk.EdDSA, clock.Now))
	before := listKeys(t, db)
	wrong := config(signing.NewMasterKey(), jwk.EdDSA, clock.Now)
	wrong.SecondMasterKey = signing.NewMasterKey()
	hand := manager(t, db, wrong)
	_, _, rotateErr := hand.Rotate(t.Context())
	_, revokeErr := hand.Revoke(t.Context(), before[0].KeyID)
	_, rewrapErr := hand.Rewrap(t.Context())
	for name, err := range map[string]error{"rotate": rotateErr, "revoke": revokeErr, "rewrap": rewrapErr} {
		if err == nil || !strings.Contains(err.Error(), "neither the master key nor the second one") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := listKeys(t, db); len(after) != 1 || !bytes.Equal(after[0].SealedPrivateKey, before[0].SealedPrivateKey) {
		t.Errorf("the keys are %v", after)
	}
}

// TestRewrapAtomic checks that nothing changes if the second master key opens only one key of two.
func TestRewrapAtomic(t *testing.T) {
	clock := newClock()
	db := openDatabase(t, newDatabase(t))
	old, lost := signing.NewMasterKey(), signing.NewMasterKey()
	openKeyring(t, db, config(lost, jwk.EdDSA, clock.Now))
	changing := config(old, jwk.EdDSA, clock.Now)
	changing.SecondMasterKey = lost
	if _, _, err := manager(t, db, changing).Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := listKeys(t, db)
	wrong := config(signing.NewMasterKey(), jwk.EdDSA, clock.Now)
	wrong.SecondMasterKey = old
	if changed, err := manager(t, db, wrong).Rewrap(t.Context()); err == nil || changed != 0 {
		t.Errorf("Rewrap = %d, %v", changed, err)
	}
	for i, row := range listKeys(t, db) {
		if !bytes.Equal(row.SealedPrivateKey, before[i].SealedPrivateKey) {
			t.Errorf("key %d was sealed again", row.Generation)
		}
	}
}

// TestRewrapWithoutDowntime performs the steps of docs/guides/keys.md, with two stores that are
// restarted one after the other, a rotation between any two steps, and no token that fails.
func TestRewrapWithoutDowntime(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		old, current, clock := signing.NewMasterKey(), signing.NewMasterKey(), newClock()
		with := func(first, second []byte) signing.Config {
			config := config(first, jwk.EdDSA, clock.Now)
			config.SecondMasterKey = second
			return config
		}
		start := func(config signing.Config) *signing.Keyring {
			return openKeyring(t, openDatabase(t, database), config)
		}
		stores := []*signing.Keyring{start(with(old, nil)), start(with(old, nil))}
		db := openDatabase(t, database)
		goOn := func() {
			t.Helper()
			for range 2 {
				clock.pass(50 * time.Minute)
				maintain(t, stores...)
				clock.pass(10 * time.Minute)
				for _, store := range stores {
					token := mint(t, store, clock.Now())
					if got, want := keyIDOf(t, token), keyIDs(t, db)[0]; got != want {
						t.Errorf("%s signs, not %s", got, want)
					}
					if _, err := newVerifier(stores[0], clock.Now).Verify(t.Context(), token); err != nil {
						t.Error(err)
					}
				}
				slices.Reverse(stores) // So that each makes a key.
			}
		}
		restart := func(config signing.Config) {
			t.Helper()
			for i := range stores {
				stores[i] = start(config)
				goOn()
			}
		}
		goOn()
		restart(with(old, current)) // (a)
		restart(with(current, old)) // (b)
		hand := manager(t, db, with(current, old))
		// By now the previous keys have expired. One that was made in step (a) remains.
		if _, made, err := manager(t, db, with(old, current)).Rotate(t.Context()); err != nil || !made {
			t.Fatalf("Rotate = %v, %v", made, err)
		}
		for _, want := range []int{1, 0} { // (c)
			if changed, err := hand.Rewrap(t.Context()); err != nil || changed != want {
				t.Errorf("Rewrap = %d, %v, want %d", changed, err, want)
			}
			goOn()
		}
		restart(with(current, nil)) // (d)
		if _, err := signing.OpenKeyring(t.Context(), db, with(old, nil), quiet); err == nil {
			t.Error("the old master key still opens the keys")
		}
	})
}
