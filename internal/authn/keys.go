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
)

const (
	// minRefreshInterval bounds how often tokens with invented key ids, or a store that is away, can make a service ask
	// for the keys.
	minRefreshInterval = 5 * time.Second
	// maxKeyAge is how long keys are believed without asking again. With fetchTimeout it bounds how long a key that was
	// revoked still lets anybody in: 12 s.
	maxKeyAge = 10 * time.Second
	// maxOutage is how long keys are believed since they were fetched where the store does not answer. Then nothing is
	// known any more: a key may have been revoked meanwhile. It is what verifiers outside are granted by the max-age
	// that the keys are published with.
	maxOutage = 5 * time.Minute
	// fetchTimeout bounds one fetch, which outlives the call that started it because others wait for it too. All calls
	// with a token wait for it, once in maxKeyAge, so it is short: the store reads one small table.
	fetchTimeout = 2 * time.Second
)

// errUnknownKey is a key id that is not in the current key set.
var errUnknownKey = errors.New("no key has this id")

// FetchKeys asks for the current public keys.
type FetchKeys func(context.Context) (*gatehousev1.ListKeysResponse, error)

// KeySet holds the public keys that tokens are verified with. It fetches them when a token comes and they are 10 s old,
// or the token names a key that it does not know; at most once in 5 s. While they cannot be fetched it believes the
// last ones for 5 min. It is safe for concurrent use.
type KeySet struct {
	fetch  FetchKeys
	now    func() time.Time
	flight singleflight.Group

	mu      sync.RWMutex
	keys    map[string]publicKey
	tried   time.Time // when the last attempt ended
	failure error     // of the last attempt
}

type publicKey struct {
	id        string
	algorithm string
	public    crypto.PublicKey
	fetched   time.Time
}

// NewKeySet makes an empty set. It fetches at the first token.
func NewKeySet(fetch FetchKeys, now func() time.Time) *KeySet {
	return &KeySet{fetch: fetch, now: now}
}

// find gives the key with this id. The error is errUnknownKey if there is none, and any other if the keys could not be
// fetched: then nothing is known of the token.
func (s *KeySet) find(ctx context.Context, id string) (publicKey, error) {
	if key, known := s.lookUp(id); known && s.age(key) < maxKeyAge {
		return key, nil
	}
	err := s.refresh(ctx)
	key, known := s.lookUp(id)
	switch {
	case known && s.age(key) < maxOutage:
		return key, nil // Old keys verify better than none while the store cannot be reached.
	case err != nil:
		return publicKey{}, fmt.Errorf("fetch the public keys: %w", err)
	default:
		return publicKey{}, errUnknownKey
	}
}

func (s *KeySet) age(key publicKey) time.Duration { return s.now().Sub(key.fetched) }

func (s *KeySet) lookUp(id string) (key publicKey, known bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key, known = s.keys[id]
	return key, known
}

// triedJustNow tells whether it is too soon for another fetch, and how the last one ended.
func (s *KeySet) triedJustNow() (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	// A set that was never filled is asked for without a limit: nothing can be verified before.
	return s.keys != nil && s.now().Sub(s.tried) < minRefreshInterval, s.failure
}

func (s *KeySet) refresh(ctx context.Context) error {
	if tooSoon, err := s.triedJustNow(); tooSoon {
		return err
	}
	done := s.flight.DoChan("", func() (any, error) {
		// Another flight may have ended since the look above.
		if tooSoon, err := s.triedJustNow(); tooSoon {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return nil, s.load(ctx)
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *KeySet) load(ctx context.Context) error {
	began := s.now()
	keys, err := s.fetchAll(ctx, began)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Counted from the end: a store that hangs must not make the next call wait as long as this one did.
	s.tried, s.failure = s.now(), err
	if err != nil {
		return err
	}
	s.keys = keys
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
		return nil, errors.New("no key of the set can be read")
	}
	return keys, nil
}
