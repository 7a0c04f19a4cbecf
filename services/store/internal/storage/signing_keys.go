package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"gorm.io/gorm"
)

// SigningKey is a key that tokens are signed with: this package never sees its private half open.
type SigningKey = account.SigningKey

type signingKeyRow struct {
	Generation       int64 `gorm:"primaryKey;autoIncrement:false"`
	KeyID            string
	Algorithm        string
	PublicKey        []byte
	SealedPrivateKey []byte
	CreateTime       time.Time
	ActivateTime     *time.Time // nil: it signs since it was made
	TokenLifetime    int64      // in seconds
}

func (signingKeyRow) TableName() string { return "signing_keys" }

func (r signingKeyRow) key() SigningKey {
	key := SigningKey{
		Generation: r.Generation, KeyID: r.KeyID, Algorithm: r.Algorithm,
		PublicKey: r.PublicKey, SealedPrivateKey: r.SealedPrivateKey,
		CreateTime: r.CreateTime, ActivateTime: r.CreateTime,
		TokenLifetime: time.Duration(r.TokenLifetime) * time.Second,
	}
	if r.ActivateTime != nil {
		key.ActivateTime = *r.ActivateTime
	}
	return key
}

func rowOf(key SigningKey) signingKeyRow {
	return signingKeyRow{
		Generation: key.Generation, KeyID: key.KeyID, Algorithm: key.Algorithm,
		PublicKey: key.PublicKey, SealedPrivateKey: key.SealedPrivateKey,
		CreateTime: toMicros(key.CreateTime), ActivateTime: new(toMicros(key.ActivateTime)),
		TokenLifetime: wholeSeconds(key.TokenLifetime),
	}
}

// wholeSeconds rounds up: a key must not leave before its last token has expired.
func wholeSeconds(lifetime time.Duration) int64 {
	return int64((lifetime + time.Second - 1) / time.Second)
}

// CreateSigningKey adds a key. It fails with ErrGenerationTaken if there is one of its generation: of several stores
// that make the next key at once, exactly one succeeds.
func (s *Storage) CreateSigningKey(ctx context.Context, key SigningKey) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error { return createSigningKey(ctx, tx, key) })
	})
	doing := fmt.Sprintf("create signing key %d", key.Generation)
	return s.explain(ctx, doing, err, outcomes{duplicateKey: ErrGenerationTaken})
}

func createSigningKey(ctx context.Context, tx *gorm.DB, key SigningKey) error {
	row := rowOf(key)
	if err := gorm.G[signingKeyRow](tx).Create(ctx, &row); err != nil {
		return err
	}
	return appendEvent(ctx, tx, keyEvent(SigningKeyRotated, key.KeyID, key.CreateTime))
}

func keyEvent(kind EventKind, keyID string, now time.Time) Event {
	return Event{Kind: kind, Time: now, Details: map[string]string{"kid": keyID}}
}

// ListSigningKeys gives all keys, the newest generation first.
func (s *Storage) ListSigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := gorm.G[signingKeyRow](s.db).Order("generation DESC").Find(ctx)
	if err != nil {
		return nil, s.explain(ctx, "list the signing keys", err, nil)
	}
	keys := make([]SigningKey, 0, len(rows))
	for _, row := range rows {
		keys = append(keys, row.key())
	}
	return keys, nil
}

// RaiseTokenLifetime makes sure that every key is kept for tokens of this lifetime. Where it is kept for longer ones,
// that stays.
func (s *Storage) RaiseTokenLifetime(ctx context.Context, lifetime time.Duration) error {
	seconds := wholeSeconds(lifetime)
	err := s.write(ctx, func(db *gorm.DB) error {
		_, err := gorm.G[signingKeyRow](db).Where("token_lifetime < ?", seconds).Update(ctx, "token_lifetime", seconds)
		return err
	})
	return s.explain(ctx, "raise the token lifetime of the signing keys", err, nil)
}

// DeleteSigningKey deletes a key, its private half included, and tells whether there was one. It is for keys that have
// a successor: the highest generation must stay, or it could be given again.
func (s *Storage) DeleteSigningKey(ctx context.Context, keyID string) (deleted bool, err error) {
	err = s.write(ctx, func(db *gorm.DB) error {
		rows, err := gorm.G[signingKeyRow](db).Where("key_id = ?", keyID).Delete(ctx)
		deleted = rows > 0
		return err
	})
	return deleted, s.explain(ctx, "delete signing key "+keyID, err, nil)
}

// RevokeSigningKey deletes a key and adds its successor, if there is to be one: both or neither. The successor of the
// highest generation must be there, or its generation could be given again. It fails with account.ErrNotFound if there is no
// such key, and with ErrGenerationTaken if there is one of the successor's generation; then nothing has changed.
func (s *Storage) RevokeSigningKey(ctx context.Context, keyID string, successor *SigningKey) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			rows, err := gorm.G[signingKeyRow](tx).Where("key_id = ?", keyID).Delete(ctx)
			if err != nil {
				return err
			}
			if rows == 0 {
				return gorm.ErrRecordNotFound
			}
			err = appendEvent(ctx, tx, keyEvent(SigningKeyRevoked, keyID, s.Now()))
			if err != nil || successor == nil {
				return err
			}
			return createSigningKey(ctx, tx, *successor)
		})
	})
	return s.explain(ctx, "revoke signing key "+keyID, err, outcomes{duplicateKey: ErrGenerationTaken})
}

// Resealed is a signing key whose private half was sealed again.
type Resealed = account.ResealedKey

// ResealSigningKeys puts the new seals into place, all or none, and tells how many it put: a key that is gone, or whose
// seal is not the one that was read, stays as it is.
func (s *Storage) ResealSigningKeys(ctx context.Context, resealed []Resealed) (changed int, err error) {
	err = s.write(ctx, func(db *gorm.DB) error {
		changed = 0
		return db.Transaction(func(tx *gorm.DB) error {
			for _, key := range resealed {
				rows, err := gorm.G[signingKeyRow](tx).
					Where("key_id = ? AND sealed_private_key = ?", key.KeyID, key.Before).
					Update(ctx, "sealed_private_key", key.After)
				if err != nil {
					return err
				}
				changed += rows
			}
			return nil
		})
	})
	return changed, s.explain(ctx, "seal the signing keys anew", err, nil)
}
