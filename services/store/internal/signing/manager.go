package signing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// maxRaces bounds how often a change by hand is tried that lost against another: each time another key was made.
const maxRaces = 10

// KeyManager changes the signing keys of a database at an operator's word, beside the stores that run on it: they see
// the change when they load the keys the next time, within 5 s.
type KeyManager struct {
	store     *storage.Storage
	sealers   *sealers
	algorithm string
	now       func() time.Time
}

// NewKeyManager uses the master keys, the algorithm and the clock of the configuration.
func NewKeyManager(store *storage.Storage, config Config) (*KeyManager, error) {
	sealers, err := newSealers(config.MasterKey, config.SecondMasterKey)
	if err != nil {
		return nil, err
	}
	return &KeyManager{store: store, sealers: sealers, algorithm: config.Algorithm, now: config.Now}, nil
}

// Rotate makes the next key, which signs once verifiers know it. If there is a key already that is yet to sign it makes
// none, and gives that one.
func (m *KeyManager) Rotate(ctx context.Context) (key account.SigningKey, made bool, err error) {
	for range maxRaces {
		rows, err := m.list(ctx)
		if err != nil {
			return account.SigningKey{}, false, err
		}
		if active := activeIndex(rows, m.now()); active > 0 {
			return rows[active-1], false, nil // The first of those that are pending.
		}
		next, err := m.successor(rows, publishLead)
		if err != nil {
			return account.SigningKey{}, false, err
		}
		err = m.store.CreateSigningKey(ctx, *next)
		if !errors.Is(err, storage.ErrGenerationTaken) {
			return *next, err == nil, err
		}
	}
	return account.SigningKey{}, false, errors.New("others made keys all the time: try again")
}

// Revoke deletes a key, so that it is no longer published, and returns the key that was made in the same step to sign
// instead: nil if the key had stopped signing, or was to sign before another that is pending.
//
// The key of the highest generation never goes without a successor, which is active at once or pending as it was: so no
// generation is given twice, and the primary key still lets exactly one store make the next.
func (m *KeyManager) Revoke(ctx context.Context, keyID string) (successor *account.SigningKey, err error) {
	for range maxRaces {
		rows, err := m.list(ctx)
		if err != nil {
			return nil, err
		}
		revoked := slices.IndexFunc(rows, func(row account.SigningKey) bool { return row.KeyID == keyID })
		if revoked < 0 {
			return nil, unknownKey(keyID, rows)
		}
		successor = nil
		switch active := activeIndex(rows, m.now()); revoked {
		case active:
			successor, err = m.successor(rows, 0)
		case 0:
			successor, err = m.successor(rows, publishLead)
		}
		if err != nil {
			return nil, err
		}
		err = m.store.RevokeSigningKey(ctx, keyID, successor)
		if !errors.Is(err, storage.ErrGenerationTaken) && !errors.Is(err, storage.ErrNotFound) {
			return successor, err
		}
	}
	return nil, errors.New("others changed the keys all the time: try again")
}

// list returns the keys, of which there must be one.
func (m *KeyManager) list(ctx context.Context) ([]account.SigningKey, error) {
	rows, err := m.store.ListSigningKeys(ctx)
	if err == nil && len(rows) == 0 {
		return nil, errors.New("there is no signing key yet: the first store that starts makes one")
	}
	return rows, err
}

// successor makes the key after the newest. It is kept for the tokens that the newest is kept for; a store that makes
// longer ones raises that. It fails if the active key cannot be opened: then the stores have another master key, and
// could not open what this one seals.
func (m *KeyManager) successor(rows []account.SigningKey, lead time.Duration) (*account.SigningKey, error) {
	now := m.now()
	if _, err := m.sealers.privateKey(rows[activeIndex(rows, now)]); err != nil {
		return nil, err
	}
	key, err := m.sealers.first.generate(nextAlgorithm(m.algorithm, rows), rows[0].Generation+1)
	if err != nil {
		return nil, err
	}
	key.CreateTime, key.ActivateTime, key.TokenLifetime = now, now.Add(lead), rows[0].TokenLifetime
	return &key, nil
}

func unknownKey(keyID string, rows []account.SigningKey) error {
	known := make([]string, len(rows))
	for i, row := range rows {
		known[i] = row.KeyID
	}
	return fmt.Errorf("there is no signing key %s: there are %s", keyID, strings.Join(known, ", "))
}

// Rewrap seals with the first master key every private key that only the second one opens, and returns how many. If
// neither opens a key, it changes nothing.
func (m *KeyManager) Rewrap(ctx context.Context) (int, error) {
	rows, err := m.store.ListSigningKeys(ctx)
	if err != nil {
		return 0, err
	}
	var resealed []account.ResealedKey
	for _, row := range rows {
		sealed, err := m.sealers.reseal(row)
		if err != nil {
			return 0, err
		}
		if sealed != nil {
			resealed = append(resealed, account.ResealedKey{KeyID: row.KeyID, Before: row.SealedPrivateKey, After: sealed})
		}
	}
	return m.store.ResealSigningKeys(ctx, resealed)
}
