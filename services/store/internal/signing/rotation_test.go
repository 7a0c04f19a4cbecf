package signing_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

func TestRotationSchedule(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		db, clock := openDatabase(t, database), newClock()
		keyring := openKeyring(t, db, config(signing.NewMasterKey(), jwk.EdDSA, clock.Now))
		first := keyIDs(t, db)[0]
		at := func(pass time.Duration, wantPublished int, wantSigner string) string {
			t.Helper()
			clock.pass(pass)
			maintain(t, keyring)
			ids := published(t, keyring)
			if len(ids) != wantPublished || !slices.Equal(ids, keyIDs(t, db)) {
				t.Fatalf("published are %v, in the database are %v, want %d", ids, keyIDs(t, db), wantPublished)
			}
			if wantSigner == "" {
				wantSigner = ids[0]
			}
			if got := keyIDOf(t, mint(t, keyring, clock.Now())); got != wantSigner {
				t.Fatalf("%s signs, not %s", got, wantSigner)
			}
			return ids[0]
		}
		at(50*time.Minute-1, 1, first)
		second := at(1, 2, first)
		at(10*time.Minute-1, 2, first)
		at(1, 2, second)
		at(lifetime+time.Minute-1, 2, second)
		at(1, 1, second) // The first is no longer in the database, nor is its private half.
		at(34*time.Minute, 2, second)
		third := at(10*time.Minute, 2, "")
		if third == second || third == first {
			t.Errorf("%s signs again", third)
		}
	})
}

// TestActivationWithoutLoad checks that a key becomes active by the clock, even if the database is down at that moment.
func TestActivationWithoutLoad(t *testing.T) {
	db, clock := openDatabase(t, newDatabase(t)), newClock()
	keyring := openKeyring(t, db, config(signing.NewMasterKey(), jwk.EdDSA, clock.Now))
	clock.pass(50 * time.Minute)
	maintain(t, keyring)
	clock.pass(10 * time.Minute)
	if got, want := keyIDOf(t, mint(t, keyring, clock.Now())), keyIDs(t, db)[0]; got != want {
		t.Errorf("%s signs, not %s", got, want)
	}
}

// TestPublishedKeysWithoutExpired checks that an expired key is not published, even before it is deleted.
func TestPublishedKeysWithoutExpired(t *testing.T) {
	db, clock := openDatabase(t, newDatabase(t)), newClock()
	keyring := openKeyring(t, db, config(signing.NewMasterKey(), jwk.EdDSA, clock.Now))
	clock.pass(50 * time.Minute)
	maintain(t, keyring)
	clock.pass(10*time.Minute + lifetime + time.Minute)
	if ids := published(t, keyring); len(ids) != 1 || ids[0] != keyIDs(t, db)[0] || len(keyIDs(t, db)) != 2 {
		t.Errorf("published are %v of %v", ids, keyIDs(t, db))
	}
}

func TestRotationOfManyStores(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		const stores = 10
		masterKey, clock := signing.NewMasterKey(), newClock()
		var keyrings []*signing.Keyring
		for range stores {
			keyrings = append(keyrings, openKeyring(t, openDatabase(t, database), config(masterKey, jwk.EdDSA, clock.Now)))
		}
		db := openDatabase(t, database)
		for rotation := range 3 {
			clock.pass(time.Hour)
			atOnce(t, stores, func(i int) error { return keyrings[i].Maintain(t.Context()) })
			rows := listKeys(t, db)
			if rows[0].Generation != int64(rotation+2) {
				t.Fatalf("after %d rotations the newest key is of generation %d", rotation+1, rows[0].Generation)
			}
			for i, keyring := range keyrings {
				if got := keyIDOf(t, mint(t, keyring, rows[0].ActivateTime)); got != rows[0].KeyID {
					t.Errorf("store %d will sign with %s, not %s", i, got, rows[0].KeyID)
				}
			}
			clock.pass(10 * time.Minute)
		}
	})
}

// atOnce runs n functions at once, which must not fail.
func atOnce(t *testing.T, n int, run func(i int) error) {
	t.Helper()
	var done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		done.Go(func() {
			<-start
			if err := run(i); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	done.Wait()
}

// poller is a verifier somewhere outside. It loads the keys every 300 s and at no other time, and knows nothing else.
type poller struct {
	source *signing.Keyring
	next   time.Time

	mu   sync.Mutex
	keys map[string]crypto.PublicKey
}

func (p *poller) poll(ctx context.Context, now time.Time) error {
	if now.Before(p.next) {
		return nil
	}
	p.next = now.Add(300 * time.Second)
	set, err := keySet(p.source)(ctx)
	if err != nil {
		return err
	}
	keys := map[string]crypto.PublicKey{}
	for _, key := range set.GetKeys() {
		public, err := jwk.Public(key)
		if err != nil {
			return err
		}
		keys[key.GetKid()] = public
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
	return nil
}

func (p *poller) verify(token string, now time.Time) error {
	p.mu.Lock()
	keys := p.keys
	p.mu.Unlock()
	_, err := jwt.NewParser(
		jwt.WithValidMethods(jwk.Algorithms()), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }),
	).ParseWithClaims(token, &authn.Claims{}, func(token *jwt.Token) (any, error) {
		key, known := keys[token.Header["kid"].(string)]
		if !known {
			return nil, fmt.Errorf("the key %v is not known", token.Header["kid"])
		}
		return key, nil
	})
	return err
}

// stored is a store of TestRotationFailsNoToken: its clock is not that of the others.
type stored struct {
	*signing.Keyring

	now func() time.Time
}

// TestRotationFailsNoToken runs three stores, whose clocks differ and which rotate each hour, while clients log
// in at each of them and three verifiers, which load the keys every 300 s only, see every token until it expires.
func TestRotationFailsNoToken(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		// The steps are in step with neither an hour nor 300 s, so that each rotation meets the verifiers otherwise.
		const step, steps, clients = 70 * time.Second, 200, 2
		clock, masterKey := newClock(), signing.NewMasterKey()
		var stores []stored
		for _, skew := range []time.Duration{0, -20 * time.Second, 20 * time.Second} {
			now := func() time.Time { return clock.Now().Add(skew) }
			stores = append(stores, stored{
				openKeyring(t, openDatabase(t, database), config(masterKey, jwk.EdDSA, now)), now,
			})
		}
		var verifiers []*poller
		for i, store := range stores {
			verifier := &poller{source: store.Keyring}
			if err := verifier.poll(t.Context(), clock.Now().Add(time.Duration(i)*100*time.Second)); err != nil {
				t.Fatal(err)
			}
			verifiers = append(verifiers, verifier)
		}
		live := make([][]shown, clients) // the tokens of each client
		for range steps {
			now := clock.Now()
			for _, verifier := range verifiers {
				if err := verifier.poll(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			}
			// All at once: the stores maintain the keys, the clients log in and are verified, and time passes.
			atOnce(t, len(stores)+clients+1, func(i int) error {
				switch {
				case i < len(stores):
					return stores[i].Maintain(t.Context())
				case i < len(stores)+clients:
					return use(&live[i-len(stores)], stores, verifiers, now, step)
				}
				clock.pass(step)
				return nil
			})
			if t.Failed() {
				t.Fatalf("at %v", now)
			}
		}
		rows := listKeys(t, openDatabase(t, database))
		if newest := rows[0].Generation; newest < 4 || newest > 5 || len(rows) > 3 {
			t.Errorf("%d keys were made, and %d are left", newest, len(rows))
		}
	})
}

// shown is a token that a client has.
type shown struct {
	token   string
	expires time.Time
}

// use is what a client does in one step: it logs in at each store, and shows its tokens when they are new, from time to
// time, and just before they expire.
func use(tokens *[]shown, stores []stored, verifiers []*poller, now time.Time, step time.Duration) error {
	for _, store := range stores {
		made := store.now()
		token, err := store.Mint(grantUntil(made.Add(24*time.Hour)), made)
		if err != nil {
			return err
		}
		*tokens = append(*tokens, shown{token.Signed, made.Add(token.Lifetime)})
	}
	*tokens = slices.DeleteFunc(*tokens, func(token shown) bool { return !now.Before(token.expires) })
	var errs []error
	for _, token := range *tokens {
		left := token.expires.Sub(now)
		if left > lifetime-step || left <= 2*step || left.Truncate(step) == 6*step {
			for _, verifier := range verifiers {
				errs = append(errs, verifier.verify(token.token, now))
			}
		}
	}
	return errors.Join(errs...)
}

// TestRotationLongestTokenOfAnyStore runs a second store that signs tokens of 2 h with the key that the first created.
func TestRotationLongestTokenOfAnyStore(t *testing.T) {
	database, masterKey, clock := newDatabase(t), signing.NewMasterKey(), newClock()
	db := openDatabase(t, database)
	short := openKeyring(t, db, config(masterKey, jwk.EdDSA, clock.Now))
	longer := config(masterKey, jwk.EdDSA, clock.Now)
	longer.Lifetime = 2 * time.Hour
	long := openKeyring(t, openDatabase(t, database), longer)
	for range 2 { // Also a key that the other store has made since.
		clock.pass(50 * time.Minute)
		maintain(t, short, long)
		clock.pass(10*time.Minute - 1)
		signer := listKeys(t, db)[1].KeyID
		if token, err := long.Mint(grantUntil(clock.Now().Add(24*time.Hour)), clock.Now()); err != nil || keyIDOf(t, token.Signed) != signer {
			t.Fatalf("%s does not sign: %v", signer, err)
		}
		clock.pass(1)
		for range 12 {
			clock.pass(10 * time.Minute)
			maintain(t, short, long)
			if !slices.Contains(published(t, short), signer) {
				t.Fatalf("key %s is gone before its last token", signer)
			}
		}
		clock.pass(time.Minute)
		maintain(t, short)
		if slices.Contains(keyIDs(t, db), signer) {
			t.Errorf("key %s is still there", signer)
		}
	}
}

// TestMaintainUnreadableKey runs a store that still has the old master key after a change.
func TestMaintainUnreadableKey(t *testing.T) {
	database, old, current, clock := newDatabase(t), signing.NewMasterKey(), signing.NewMasterKey(), newClock()
	db, log := openDatabase(t, database), &logged{}
	behind, err := signing.OpenKeyring(t.Context(), db, config(old, jwk.EdDSA, clock.Now), log.logger())
	if err != nil {
		t.Fatal(err)
	}
	changed := config(current, jwk.EdDSA, clock.Now)
	changed.SecondMasterKey = old
	ahead := openKeyring(t, openDatabase(t, database), changed)
	clock.pass(50 * time.Minute)
	maintain(t, ahead) // This key is sealed with the new master key.
	clock.pass(10 * time.Minute)
	maintain(t, behind, behind)
	rows := listKeys(t, db)
	if got := keyIDOf(t, mint(t, ahead, clock.Now())); got != rows[0].KeyID {
		t.Errorf("the store that can open it signs with %s, not %s", got, rows[0].KeyID)
	}
	if got := keyIDOf(t, mint(t, behind, clock.Now())); got != rows[1].KeyID {
		t.Errorf("the store that cannot open it signs with %s, not %s", got, rows[1].KeyID)
	}
	if got := log.count("cannot be used"); got != 1 {
		t.Errorf("it is warned %d times", got)
	}
	clock.pass(time.Hour) // The next is due. A store that cannot open the newest leaves it to the others.
	maintain(t, behind)
	if got := listKeys(t, db); got[0].Generation != 2 {
		t.Errorf("it made the key of generation %d", got[0].Generation)
	}
	if _, err := behind.Mint(grantUntil(clock.Now().Add(24*time.Hour)), clock.Now()); err == nil {
		t.Error("it signs with a key that is gone")
	}
}

func TestOpenUnreadablePendingKey(t *testing.T) {
	database, old, clock := newDatabase(t), signing.NewMasterKey(), newClock()
	changed := config(signing.NewMasterKey(), jwk.EdDSA, clock.Now)
	changed.SecondMasterKey = old
	openKeyring(t, openDatabase(t, database), config(old, jwk.EdDSA, clock.Now))
	ahead := openKeyring(t, openDatabase(t, database), changed)
	clock.pass(50 * time.Minute)
	maintain(t, ahead)
	db, log := openDatabase(t, database), &logged{}
	behind, err := signing.OpenKeyring(t.Context(), db, config(old, jwk.EdDSA, clock.Now), log.logger())
	if err != nil {
		t.Fatal(err)
	}
	if log.count("cannot be used") != 1 {
		t.Error("the log does not tell of it")
	}
	clock.pass(10 * time.Minute)
	if got, want := keyIDOf(t, mint(t, behind, clock.Now())), keyIDs(t, db)[1]; got != want {
		t.Errorf("%s signs, not %s", got, want)
	}
	if _, err := signing.OpenKeyring(t.Context(), db, config(old, jwk.EdDSA, clock.Now), quiet); err == nil {
		t.Error("it starts again now that this key is active")
	}
}

// TestRunContinuesAfterFailure checks that Run goes on after a failed pass, logs it once, and ends with its context.
func TestRunContinuesAfterFailure(t *testing.T) {
	clock, log := newClock(), &logged{}
	db, err := storage.Open(t.Context(), newDatabase(t), quiet)
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := signing.OpenKeyring(t.Context(), db, config(signing.NewMasterKey(), jwk.EdDSA, clock.Now), log.logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			keyring.Run(ctx)
		}()
		time.Sleep(time.Minute) // of the bubble's clock
		synctest.Wait()
		cancel()
		<-ended
	})
	if got := log.count("cannot be maintained"); got != 1 {
		t.Errorf("it is warned %d times: %s", got, &log.text)
	}
	mint(t, keyring, clock.Now())
}
