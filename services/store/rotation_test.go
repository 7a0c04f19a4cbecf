package store

import (
	"sync"
	"testing"
	"time"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	"github.com/golang-jwt/jwt/v5"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// pollingVerifier is one of the outside world: it keeps the published keys for as long as they may be kept, and asks
// for them then and only then.
type pollingVerifier struct {
	kids   map[string]bool
	loaded time.Time
}

func (v *pollingVerifier) loadKeys(t *testing.T, store *testStore, now time.Time) {
	t.Helper()
	if now.Sub(v.loaded) < 300*time.Second {
		return
	}
	keys, err := store.keys.ListKeys(t.Context(), &gatehousev1.ListKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	v.kids, v.loaded = map[string]bool{}, now
	for _, key := range keys.GetKeys() {
		v.kids[key.GetKid()] = true
	}
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Header["kid"].(string)
}

// TestKeyRotationFailsNoRequest refreshes at one store and calls at another for three rotations,
// with each access token until shortly before it expires.
func TestKeyRotationFailsNoRequest(t *testing.T) {
	const replicas, step, steps = 3, 40 * time.Second, 280
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		clock := newClock()
		config := testConfig(database, clock)
		config.KeyRotationInterval = time.Hour
		var stores []*testStore
		for range replicas {
			stores = append(stores, startStore(t, config))
		}
		stores[0].signUp(t)
		users := make([]*keyUser, replicas)
		for i := range users {
			users[i] = &keyUser{refreshToken: stores[i].logIn(t).GetRefreshToken()}
			users[i].verifier.loadKeys(t, stores[i], clock.now())
			// Each asks at other times, so that one has just asked when a key is published.
			users[i].verifier.loaded = users[i].verifier.loaded.Add(-time.Duration(i) * step)
		}
		seen := map[string]bool{}
		for at := range steps {
			clock.advance(step)
			var calls sync.WaitGroup
			for i, store := range stores {
				if err := store.service.keyring.Maintain(t.Context()); err != nil { // As it does every 5 s.
					t.Fatal(err)
				}
				calls.Go(func() { users[i].call(t, stores, at+i, clock.now()) })
			}
			calls.Wait()
			seen[kidOf(t, users[0].access[len(users[0].access)-1])] = true
		}
		if len(seen) < 4 {
			t.Errorf("only %d keys have signed", len(seen))
		}
	})
}

// keyUser is a user with the access tokens that have not expired yet, the oldest first.
type keyUser struct {
	refreshToken string
	access       []string
	verifier     pollingVerifier
}

func (u *keyUser) call(t *testing.T, stores []*testStore, turn int, now time.Time) {
	const unexpired = 22 // of 40 s each, in 15 minutes
	u.verifier.loadKeys(t, stores[turn%len(stores)], now)
	refreshed, err := stores[turn%len(stores)].refresh(t.Context(), u.refreshToken)
	if err != nil {
		t.Errorf("refresh at turn %d: %v", turn, err)
		return
	}
	u.refreshToken = refreshed.GetRefreshToken()
	u.access = append(u.access, refreshed.GetAccessToken())
	u.access = u.access[max(0, len(u.access)-unexpired):]
	for i, token := range []string{u.access[0], refreshed.GetAccessToken()} {
		if _, err := stores[(turn+1+i)%len(stores)].read(t, token); err != nil {
			t.Errorf("call at turn %d: %v", turn, err)
		}
		if !u.verifier.kids[kidOf(t, token)] {
			t.Errorf("at turn %d a verifier that keeps the keys for 300 s does not know the key of a token", turn)
		}
	}
}
