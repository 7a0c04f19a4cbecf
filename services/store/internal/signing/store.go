package signing

import (
	"context"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// Store is where the keys are. Any number of stores may share one. *storage.Storage implements it.
type Store interface {
	// ListSigningKeys returns all keys, the newest generation first.
	ListSigningKeys(ctx context.Context) ([]account.SigningKey, error)
	// CreateSigningKey adds a key. It fails with account.ErrGenerationTaken if there is one of its generation: of several
	// stores that make the next key at once, exactly one succeeds.
	CreateSigningKey(ctx context.Context, key account.SigningKey) error
	// RevokeSigningKey deletes a key and adds its successor, unless that is nil: both or neither. It fails with
	// account.ErrNotFound and account.ErrGenerationTaken.
	RevokeSigningKey(ctx context.Context, keyID string, successor *account.SigningKey) error
	// DeleteSigningKey deletes a key that has a successor, and reports whether it was there.
	DeleteSigningKey(ctx context.Context, keyID string) (bool, error)
	// RaiseTokenLifetime makes sure that every key is stored for tokens of a lifetime.
	RaiseTokenLifetime(ctx context.Context, lifetime time.Duration) error
	// ResealSigningKeys replaces the seals of keys that are as they were read, all or none, and returns how many.
	ResealSigningKeys(ctx context.Context, resealed []account.ResealedKey) (int, error)
}
