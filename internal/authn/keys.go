package authn

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/internal/wait"
)

const (
	// refreshInterval is the time from the start of one fetch to that of the next. It also bounds how often tokens with
	// invented key ids can make a service fetch the keys. With fetchTimeout it bounds how long a key that was revoked
	// still verifies where the store can be reached: 7 s.
	refreshInterval = 5 * time.Second
	// maxOutage is how long keys verify after they were fetched while the store does not answer. A key may have been
	// revoked meanwhile. It is the max-age that the keys are published with for verifiers outside.
	maxOutage = 5 * time.Minute
	// fetchTimeout bounds one fetch, and how long a token with an unknown key waits for it.
	fetchTimeout = 2 * time.Second
)

// errUnknownKey is a key id that is not in the current key set.
var errUnknownKey = errors.New("unknown key id")

// FetchKeys fetches the current public keys.
type FetchKeys func(context.Context) (*gatehousev1.ListKeysResponse, error)

// KeySet holds the public keys that tokens are verified with. Run fetches them every 5 s, beside the calls: a token
// whose key is known never waits for a fetch. A token whose key is not known starts one, or joins the one under way,
// and waits for it for at most 2 s. While the keys cannot be fetched, the last ones verify for 5 min. A KeySet is safe
// for concurrent use.
type KeySet struct {
	fetch  FetchKeys
	now    func() time.Time
	flight singleflight.Group

	mu      sync.RWMutex
	keys    map[string]publicKey
	began   time.Time // when the last attempt began
	tried   time.Time // when it ended, or began if it succeeded
	failure error     // its error
}

type publicKey struct {
	id        string
	algorithm string
	public    crypto.PublicKey
	fetched   time.Time
}

// NewKeySet returns an empty set. The first token, or Run, fills it.
func NewKeySet(fetch FetchKeys, now func() time.Time) *KeySet {
	return &KeySet{fetch: fetch, now: now}
}

// Run fetches the keys at once and then every 5 s, until ctx is done. While it does not run, a key that was revoked
// verifies until it is 5 min old.
func (s *KeySet) Run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = s.Refresh(ctx) // A store that does not answer is reported by all that call it.
		wait.For(ctx, s.untilNext())
	}
}

// untilNext returns how long it is until the next fetch. It counts from when the last one began: the keys are of that
// time, however long their answer took.
func (s *KeySet) untilNext() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return refreshInterval - s.now().Sub(s.began)
}

// find returns the key with this id. The error is errUnknownKey if there is none, and any other if the keys could not
// be fetched: then nothing is known of the token.
func (s *KeySet) find(ctx context.Context, id string) (publicKey, error) {
	if key, known := s.lookUp(id); known {
		return key, nil
	}
	err := s.refreshUnlessRecent(ctx)
	key, known := s.lookUp(id)
	switch {
	case known:
		return key, nil
	case err != nil:
		return publicKey{}, fmt.Errorf("fetch the public keys: %w", err)
	default:
		return publicKey{}, errUnknownKey
	}
}

// lookUp returns the key with this id if it was fetched within maxOutage.
func (s *KeySet) lookUp(id string) (key publicKey, known bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key, known = s.keys[id]
	return key, known && s.now().Sub(key.fetched) < maxOutage
}

// attemptedRecently reports whether it is too soon for another fetch, and how the last one ended.
func (s *KeySet) attemptedRecently() (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	// A set that was never filled is fetched without a limit: nothing can be verified before.
	return s.keys != nil && s.now().Sub(s.tried) < refreshInterval, s.failure
}

// refreshUnlessRecent fetches the keys, unless that was tried within the last 5 s: then it returns how it ended.
func (s *KeySet) refreshUnlessRecent(ctx context.Context) error {
	for range 2 { // The fetch that the call joins may have begun before the clock was set forward.
		if tooSoon, err := s.attemptedRecently(); tooSoon {
			return err
		}
		err := s.join(ctx, func(ctx context.Context) error {
			// Another fetch may have ended since the look above.
			if tooSoon, err := s.attemptedRecently(); tooSoon {
				return err
			}
			return s.load(ctx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Refresh fetches the keys, or waits for the fetch that is under way.
func (s *KeySet) Refresh(ctx context.Context) error { return s.join(ctx, s.load) }

// join starts a fetch, or joins the one under way. It returns as soon as ctx is done, or after 2 s. The fetch outlives
// the call that started it, because others wait for it too.
func (s *KeySet) join(ctx context.Context, load func(context.Context) error) error {
	detached := context.WithoutCancel(ctx)
	done := s.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, fetchTimeout)
		defer cancel()
		return nil, load(ctx)
	})
	// A source may be slow to notice its own timeout. The fetch reads ctx, which must not be assigned to.
	waiting, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	select {
	case result := <-done:
		return result.Err
	case <-waiting.Done():
		return waiting.Err()
	}
}

func (s *KeySet) load(ctx context.Context) error {
	began := s.now()
	keys, err := s.fetchAll(ctx, began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began, s.failure = began, err
	if err != nil {
		s.tried = s.now() // The end: a store that hangs must not make the next call wait as long as this one.
		return err
	}
	// The start, as for the age of the keys: if the clock was set forward since, another fetch is due.
	s.keys, s.tried = keys, began
	return nil
}

func (s *KeySet) fetchAll(ctx context.Context, began time.Time) (map[string]publicKey, error) {
	response, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]publicKey, len(response.GetKeys()))
	for _, key := range response.GetKeys() {
		public, err := jwk.Public(key)
		if err != nil {
			continue // A kind of key that this version does not know (RFC 7517, section 5): the others still verify.
		}
		keys[key.GetKid()] = publicKey{id: key.GetKid(), algorithm: key.GetAlg(), public: public, fetched: began}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no readable key")
	}
	return keys, nil
}
