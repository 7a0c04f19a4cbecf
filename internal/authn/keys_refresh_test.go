package authn_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// keySource is a store that a test can make hang.
type keySource struct {
	known   keyPair
	hangs   atomic.Bool
	deaf    bool // whether a fetch that hangs ignores its context
	fetches atomic.Int64
}

func (s *keySource) fetch(ctx context.Context) (*gatehousev1.ListKeysResponse, error) {
	s.fetches.Add(1)
	if s.hangs.Load() {
		if s.deaf {
			time.Sleep(time.Minute) // Of the bubble's time.
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &gatehousev1.ListKeysResponse{Keys: []*gatehousev1.Key{s.known.public}}, nil
}

// verifierOf returns a verifier whose keys are refreshed until the test ends. It must be called in a bubble.
func verifierOf(t *testing.T, source *keySource) *authn.Verifier {
	t.Helper()
	keys := authn.NewKeySet(source.fetch, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { keys.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return authn.NewVerifier(keys, issuer, audience, time.Now)
}

// goodClaims are those of a token that is issued now and expires in a day.
func goodClaims(jti string) map[string]any {
	return map[string]any{
		"iss": issuer, "aud": audience, "sub": userID, "sid": session, "roles": []string{"user"}, "jti": jti,
		"iat": time.Now().Unix(), "exp": time.Now().Add(24 * time.Hour).Unix(),
	}
}

func TestKeySet(t *testing.T) {
	known, unknown := newKeyPair(t, jwk.ES256), newKeyPair(t, jwk.ES256)
	for name, deaf := range map[string]bool{"source_that_hangs": false, "source_that_ignores_its_deadline": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testHangingSource(t, &keySource{known: known, deaf: deaf}, unknown) })
		})
	}
	t.Run("keys_are_refreshed_without_calls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source := &keySource{known: known}
			verifierOf(t, source)
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := source.fetches.Load(); got != 13 {
				t.Errorf("in a minute the keys were fetched %d times, want 13", got)
			}
		})
	})
}

// TestRevokedKeyBound checks that a key is refused 7 s after it was revoked, also where each answer takes all the time
// that it may.
func TestRevokedKeyBound(t *testing.T) {
	const slowest = 2*time.Second - time.Millisecond
	revoked, other := newKeyPair(t, jwk.ES256), newKeyPair(t, jwk.ES256)
	for phase := time.Duration(0); phase < 8*time.Second; phase += 100 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			var published atomic.Pointer[gatehousev1.ListKeysResponse]
			published.Store(&gatehousev1.ListKeysResponse{Keys: []*gatehousev1.Key{revoked.public, other.public}})
			keys := authn.NewKeySet(func(context.Context) (*gatehousev1.ListKeysResponse, error) {
				read := published.Load()
				time.Sleep(slowest)
				return read, nil
			}, time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { keys.Run(ctx) })
			verifier := authn.NewVerifier(keys, issuer, audience, time.Now)
			time.Sleep(10*time.Second + phase + 1)
			if _, err := verifier.Verify(ctx, revoked.token(t, goodClaims("a"))); err != nil {
				t.Error(err)
			}
			published.Store(&gatehousev1.ListKeysResponse{Keys: []*gatehousev1.Key{other.public}})
			time.Sleep(7 * time.Second)
			_, err := verifier.Verify(ctx, revoked.token(t, goodClaims("b")))
			wantReason(t, err, invalid)
			if _, err := verifier.Verify(ctx, other.token(t, goodClaims("c"))); err != nil {
				t.Errorf("the key that was not revoked: %v", err)
			}
			cancel()
			running.Wait()
			time.Sleep(slowest) // The fetch under way ends.
		})
	}
}

// testHangingSource verifies tokens for 5 min less a second while the source hangs: at any phase of a fetch, those
// whose key is known do not wait, beside one that waits for an unknown key.
func testHangingSource(t *testing.T, source *keySource, unknown keyPair) {
	verifier := verifierOf(t, source)
	token, foreign := source.known.token(t, goodClaims("a")), unknown.token(t, goodClaims("b"))
	if _, err := verifier.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	fetched := time.Now()
	source.hangs.Store(true)
	for time.Since(fetched) < 5*time.Minute-time.Second {
		waiting := make(chan time.Duration, 1)
		go func() {
			began := time.Now()
			_, err := verifier.Verify(t.Context(), foreign)
			if err == nil {
				t.Error("a token with an unknown key is good")
			}
			waiting <- time.Since(began)
		}()
		synctest.Wait()
		began := time.Now()
		for _, token := range []string{token, source.known.token(t, goodClaims(began.String()))} {
			if _, err := verifier.Verify(t.Context(), token); err != nil {
				t.Fatalf("after %v: %v", time.Since(fetched), err)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Fatalf("tokens with a known key waited for %v", waited)
		}
		if waited := <-waiting; waited > 2*time.Second {
			t.Fatalf("a token with an unknown key waited for %v", waited)
		}
		time.Sleep(700 * time.Millisecond)
	}
	source.hangs.Store(false)
	time.Sleep(2 * time.Minute)
	if _, err := verifier.Verify(t.Context(), token); err != nil {
		t.Errorf("once the source answers again: %v", err)
	}
	_, err := verifier.Verify(t.Context(), foreign)
	wantReason(t, err, invalid)
}
