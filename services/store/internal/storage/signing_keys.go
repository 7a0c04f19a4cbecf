package storage

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// SigningKey is a key that tokens are signed with. The private half is sealed: this package never sees it open.
type SigningKey struct {
	Generation       int64 // grows by one with each key
	KeyID            string
	Algorithm        string
	PublicKey        []byte // PKIX, DER
	SealedPrivateKey []byte
	CreateTime       time.Time // UTC, to the microsecond
}

type signingKeyRow struct {
	Generation       int64 `gorm:"primaryKey;autoIncrement:false"`
	KeyID            string
	Algorithm        string
	PublicKey        []byte
	SealedPrivateKey []byte
	CreateTime       time.Time
}

func (signingKeyRow) TableName() string { return "signing_keys" }

// CreateSigningKey adds a key. It fails with ErrGenerationTaken if there is one of its generation: of several stores
// that make the next key at once, exactly one succeeds.
func (s *Storage) CreateSigningKey(ctx context.Context, key SigningKey) error {
	err := s.write(ctx, func(db *gorm.DB) error {
		row := signingKeyRow(key)
		row.CreateTime = kept(key.CreateTime)
		return gorm.G[signingKeyRow](db).Create(ctx, &row)
	})
	doing := fmt.Sprintf("create signing key %d", key.Generation)
	return s.explain(ctx, doing, err, outcomes{duplicateKey: ErrGenerationTaken})
}

// ListSigningKeys gives all keys, the newest generation first.
func (s *Storage) ListSigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := gorm.G[signingKeyRow](s.db).Order("generation DESC").Find(ctx)
	if err != nil {
		return nil, s.explain(ctx, "list the signing keys", err, nil)
	}
	keys := make([]SigningKey, 0, len(rows))
	for _, row := range rows {
		keys = append(keys, SigningKey(row))
	}
	return keys, nil
}
