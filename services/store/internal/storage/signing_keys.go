package storage

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

type signingKeyRow struct {
	Generation       int64 `gorm:"primaryKey;autoIncrement:false"`
	KeyID            string
	Algorithm        string
	PublicKey        []byte
	SealedPrivateKey []byte
	CreateTime       time.Time
	ActivateTime     *time.Time // nil: it signs since its creation
	TokenLifetime    int64      // in seconds
}

func (signingKeyRow) TableName() string { return "signing_keys" }

func (r signingKeyRow) key() account.SigningKey {
	key := account.SigningKey{
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

func signingKeyRowOf(key account.SigningKey) signingKeyRow {
	return signingKeyRow{
		Generation: key.Generation, KeyID: key.KeyID, Algorithm: key.Algorithm,
		PublicKey: key.PublicKey, SealedPrivateKey: key.SealedPrivateKey,
		CreateTime: toMicros(key.CreateTime), ActivateTime: new(toMicros(key.ActivateTime)),
		TokenLifetime: wholeSeconds(key.TokenLifetime),
	}
}

// wholeSeconds rounds up: a key must not be deleted before its last token has expired.
func wholeSeconds(lifetime time.Duration) int64 {
	return int64((lifetime + time.Second - 1) / time.Second)
}

// CreateSigningKey adds a key. It fails with ErrGenerationTaken if there is one of its generation: of several stores
// that make the next key at once, exactly one succeeds.
func (s *Storage) CreateSigningKey(ctx context.Context, key account.SigningKey) error {
	err := s.transact(ctx, func(tx *gorm.DB) error { return createSigningKey(ctx, tx, key) })
	return s.wrap(ctx, fmt.Sprintf("create signing key %d", key.Generation), err,
		meanings{dialect.DuplicateKey: ErrGenerationTaken})
}

func createSigningKey(ctx context.Context, tx *gorm.DB, key account.SigningKey) error {
	row := signingKeyRowOf(key)
	if err := gorm.G[signingKeyRow](tx).Create(ctx, &row); err != nil {
		return err
	}
	return appendEvent(ctx, tx, keyEvent(SigningKeyRotated, key.KeyID, key.CreateTime))
}

func keyEvent(kind EventKind, keyID string, now time.Time) Event {
	return Event{Kind: kind, Time: now, Details: map[string]string{"kid": keyID}}
}

// ListSigningKeys returns all keys, the newest generation first.
func (s *Storage) ListSigningKeys(ctx context.Context) ([]account.SigningKey, error) {
	rows, err := gorm.G[signingKeyRow](s.db).Order("generation DESC").Find(ctx)
	if err != nil {
		return nil, s.wrap(ctx, "list the signing keys", err, nil)
	}
	keys := make([]account.SigningKey, 0, len(rows))
	for _, row := range rows {
		keys = append(keys, row.key())
	}
	return keys, nil
}

// RaiseTokenLifetime raises the token lifetime of every key to this one, unless it is longer already.
func (s *Storage) RaiseTokenLifetime(ctx context.Context, lifetime time.Duration) error {
	seconds := wholeSeconds(lifetime)
	err := s.write(ctx, func(db *gorm.DB) error {
		_, err := gorm.G[signingKeyRow](db).Where("token_lifetime < ?", seconds).Update(ctx, "token_lifetime", seconds)
		return err
	})
	return s.wrap(ctx, "raise the token lifetime of the signing keys", err, nil)
}

// DeleteSigningKey deletes a key with its private half, and reports whether there was one. It is for keys that have a
// successor: the highest generation must stay, or it could be reused.
func (s *Storage) DeleteSigningKey(ctx context.Context, keyID string) (deleted bool, err error) {
	err = s.write(ctx, func(db *gorm.DB) error {
		rows, err := gorm.G[signingKeyRow](db).Where("key_id = ?", keyID).Delete(ctx)
		deleted = rows > 0
		return err
	})
	return deleted, s.wrap(ctx, "delete signing key "+keyID, err, nil)
}

// RevokeSigningKey deletes a key and adds its successor, if successor is not nil: both or neither. The key of the
// highest generation needs a successor, or its generation could be reused. It fails with ErrNotFound if there is no
// such key, and with ErrGenerationTaken if there is a key of the successor's generation; then it changes nothing.
func (s *Storage) RevokeSigningKey(ctx context.Context, keyID string, successor *account.SigningKey) error {
	err := s.transact(ctx, func(tx *gorm.DB) error {
		if err := requireRow(gorm.G[signingKeyRow](tx).Where("key_id = ?", keyID).Delete(ctx)); err != nil {
			return err
		}
		err := appendEvent(ctx, tx, keyEvent(SigningKeyRevoked, keyID, s.Now()))
		if err != nil || successor == nil {
			return err
		}
		return createSigningKey(ctx, tx, *successor)
	})
	return s.wrap(ctx, "revoke signing key "+keyID, err, meanings{dialect.DuplicateKey: ErrGenerationTaken})
}

// ResealSigningKeys writes the new seals, all or none, and returns how many it wrote. It skips a key that is deleted,
// or whose seal is not the one that was read.
func (s *Storage) ResealSigningKeys(ctx context.Context, resealed []account.ResealedKey) (changed int, err error) {
	err = s.transact(ctx, func(tx *gorm.DB) error {
		changed = 0
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
	return changed, s.wrap(ctx, "reseal the signing keys", err, nil)
}
