package authn_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

var errStoreAway = errors.New("the store is away")

func TestKeySetBoundsFetches(t *testing.T) {
	h := newTestEnv(t)
	stranger := newKeyPair(t, jwk.EdDSA)
	const tokens = 50
	forged := make([]string, tokens)
	for i := range forged {
		head := header(stranger)
		head["kid"] = fmt.Sprintf("invented-%d", i)
		forged[i] = sign(t, stranger.method, stranger.private, head, h.claims())
	}
	for round := range 5 {
		var started, done sync.WaitGroup
		start := make(chan struct{})
		for _, token := range forged {
			started.Add(1)
			done.Go(func() {
				started.Done()
				<-start
				_, err := h.Verify(context.Background(), token)
				wantRefusal(t, err)
			})
		}
		started.Wait()
		close(start)
		done.Wait()
		if got := h.publisher.count(); got != round+1 {
			t.Fatalf("after %d rounds there were %d fetches", round+1, got)
		}
		h.clock.pass(5*time.Second - time.Nanosecond)
		_, err := h.Verify(t.Context(), forged[0])
		wantReason(t, err, invalid)
		if got := h.publisher.count(); got != round+1 {
			t.Fatalf("just before 5 s there was another fetch")
		}
		h.clock.pass(time.Nanosecond)
	}
}

// wantRefusal is wantReason for a goroutine, which must not end the test.
func wantRefusal(t *testing.T, err error) {
	t.Helper()
	var refusal *apierr.Error
	if !errors.As(err, &refusal) || refusal.Reason() != invalid {
		t.Errorf("error is %v, want %v", err, invalid)
	}
}

func TestKeySetNewKey(t *testing.T) {
	h := newTestEnv(t)
	if _, err := h.Verify(t.Context(), h.edDSA.token(t, h.claims())); err != nil {
		t.Fatal(err)
	}
	rotated := newKeyPair(t, jwk.EdDSA)
	h.publisher.publish(rotated, h.edDSA)
	h.clock.pass(5 * time.Second)
	if _, err := h.Verify(t.Context(), rotated.token(t, h.claims())); err != nil {
		t.Error(err)
	}
	if _, err := h.Verify(t.Context(), h.edDSA.token(t, with(h.claims(), "jti", "another"))); err != nil {
		t.Errorf("old key: %v", err)
	}
}

// TestKeySetClockSetForward: keys that are outdated when they arrive are fetched again; their tokens are not invalid.
func TestKeySetClockSetForward(t *testing.T) {
	for name, callWaits := range map[string]bool{"during_a_fetch": false, "while_a_call_waits_for_the_fetch": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, fetching := newTestEnv(t), make(chan struct{})
				h.publisher.hang = func() {
					h.publisher.hang = nil
					<-fetching
				}
				go func() { _ = h.keys.Refresh(t.Context()) }()
				synctest.Wait()
				h.clock.pass(10 * time.Minute)
				if !callWaits {
					close(fetching)
					synctest.Wait()
				}
				verified := make(chan error, 1)
				go func() {
					_, err := h.Verify(t.Context(), h.edDSA.token(t, h.claims()))
					verified <- err
				}()
				synctest.Wait()
				if callWaits {
					close(fetching)
				}
				if err := <-verified; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestVerifyWithoutKeys(t *testing.T) {
	h := newTestEnv(t)
	h.publisher.fail(errStoreAway)
	token := h.edDSA.token(t, h.claims())
	_, err := h.Verify(t.Context(), token)
	wantReason(t, err, unavailable)
	if !errors.Is(err, errStoreAway) {
		t.Errorf("the log is not told why: %v", err)
	}
	// An empty set is asked for without a limit: the first answer serves at once.
	h.publisher.publish(h.edDSA)
	if _, err := h.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestKeySetOutage(t *testing.T) {
	h := newTestEnv(t)
	remembered := h.edDSA.token(t, h.claims())
	if _, err := h.Verify(t.Context(), remembered); err != nil {
		t.Fatal(err)
	}
	h.publisher.fail(errStoreAway)
	h.clock.pass(5*time.Minute - time.Nanosecond)
	for i := range 3 {
		for name, token := range map[string]string{
			"remembered": remembered, "new": h.edDSA.token(t, with(h.claims(), "jti", fmt.Sprint(i))),
		} {
			if _, err := h.Verify(t.Context(), token); err != nil {
				t.Errorf("a %s token: %v", name, err)
			}
		}
	}
	if got := h.publisher.count(); got != 1 {
		t.Errorf("tokens with known keys caused %d fetches", got-1)
	}
	h.clock.pass(time.Nanosecond)
	for name, token := range map[string]string{
		"remembered": remembered, "new": h.edDSA.token(t, with(h.claims(), "jti", "late")),
	} {
		_, err := h.Verify(t.Context(), token)
		wantReason(t, err, unavailable)
		if !errors.Is(err, errStoreAway) {
			t.Errorf("the log does not say why a %s token is rejected: %v", name, err)
		}
	}
	h.publisher.publish(h.edDSA)
	h.clock.pass(5 * time.Second)
	if _, err := h.Verify(t.Context(), remembered); err != nil {
		t.Errorf("once the store is back: %v", err)
	}
}

// TestKeySetUnknownKeyID checks that a token of an unknown key is not rejected as invalid while the store is
// unreachable.
func TestKeySetUnknownKeyID(t *testing.T) {
	h := newTestEnv(t)
	if _, err := h.Verify(t.Context(), h.edDSA.token(t, h.claims())); err != nil {
		t.Fatal(err)
	}
	h.publisher.fail(errStoreAway)
	unknown := newKeyPair(t, jwk.EdDSA)
	h.clock.pass(5 * time.Second)
	for range 3 { // The second and third are not told otherwise because no fetch is tried for them.
		_, err := h.Verify(t.Context(), unknown.token(t, h.claims()))
		wantReason(t, err, unavailable)
	}
}

// TestKeySetUnknownAlgorithm checks that a key of an unknown algorithm is ignored, as RFC 7517, section 5, allows.
func TestKeySetUnknownAlgorithm(t *testing.T) {
	h := newTestEnv(t)
	newer := newKeyPair(t, jwk.EdDSA)
	newer.public.Alg = "ML-DSA-65"
	h.publisher.publish(newer, h.edDSA)
	if _, err := h.Verify(t.Context(), h.edDSA.token(t, h.claims())); err != nil {
		t.Error(err)
	}
	_, err := h.Verify(t.Context(), newer.token(t, h.claims()))
	wantReason(t, err, invalid)
}

func TestKeySetUnknownKind(t *testing.T) {
	h := newTestEnv(t)
	later := newKeyPair(t, jwk.EdDSA)
	later.public.Alg = "ML-DSA-65"
	h.publisher.publish(later, h.edDSA)
	if _, err := h.Verify(t.Context(), h.edDSA.token(t, h.claims())); err != nil {
		t.Error(err)
	}
}

// TestKeySetFetchOutlivesCaller cancels the call that started a fetch, while another waits for the same.
func TestKeySetFetchOutlivesCaller(t *testing.T) {
	clock := newClock()
	pair := newKeyPair(t, jwk.EdDSA)
	fetching, answer := make(chan struct{}), make(chan struct{})
	keys := authn.NewKeySet(func(ctx context.Context) (*gatehousev1.ListKeysResponse, error) {
		close(fetching)
		select {
		case <-answer:
			return &gatehousev1.ListKeysResponse{Keys: []*gatehousev1.Key{pair.public}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, clock.Now)
	verifier := authn.NewVerifier(keys, issuer, audience, clock.Now)
	h := &testEnv{clock: clock}
	token := pair.token(t, h.claims())

	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := verifier.Verify(ctx, token)
		first <- err
	}()
	<-fetching
	go func() {
		_, err := verifier.Verify(t.Context(), token)
		second <- err
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled call: %v", err)
	}
	close(answer)
	if err := <-second; err != nil {
		t.Errorf("the call that waited: %v", err)
	}
}
