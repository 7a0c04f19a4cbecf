package operator

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// KeysConfig is what commands need that change signing keys.
type KeysConfig struct {
	Database         config.Database
	MasterKey        []byte           // as in config.Config
	SecondMasterKey  []byte           // as in config.Config
	SigningAlgorithm string           // as in config.Config
	Now              func() time.Time // as in config.Config
}

// Validate reports all problems at once.
func (c KeysConfig) Validate() error {
	return errors.Join(config.ValidateMasterKeys(c.MasterKey, c.SecondMasterKey),
		config.ValidateAlgorithm(c.SigningAlgorithm), c.Database.Validate())
}

// SigningKey is the public part of a signing key.
type SigningKey struct {
	ID           string
	Algorithm    string
	State        string    // pending, active, retiring or expired
	CreateTime   time.Time // as all times here, in UTC
	ActivateTime time.Time // when it begins to sign
	LeaveTime    time.Time // when it leaves the published set; zero as long as no later key is to take over
}

// ListSigningKeys returns all signing keys of a database, the newest first.
func ListSigningKeys(
	ctx context.Context, database config.Database, log *slog.Logger,
) (keys []SigningKey, err error) {
	if err := database.Validate(); err != nil {
		return nil, err
	}
	err = withDatabase(ctx, database, log, func(ctx context.Context, db *storage.Storage) error {
		rows, err := db.ListSigningKeys(ctx)
		if err != nil {
			return err
		}
		for i, status := range signing.Statuses(rows, db.Now()) {
			key := signingKey(rows[i])
			key.State, key.LeaveTime = string(status.State), status.UnpublishTime
			keys = append(keys, key)
		}
		return nil
	})
	return keys, err
}

func signingKey(row account.SigningKey) SigningKey {
	return SigningKey{
		ID: row.KeyID, Algorithm: row.Algorithm, CreateTime: row.CreateTime, ActivateTime: row.ActivateTime,
	}
}

// RotateSigningKey creates the next signing key and returns it. If there is a key already that is yet to sign, it
// returns that one.
func RotateSigningKey(ctx context.Context, in KeysConfig, log *slog.Logger) (key SigningKey, made bool, err error) {
	err = in.withKeys(ctx, log, func(ctx context.Context, keys *signing.KeyManager) error {
		row, isNew, err := keys.Rotate(ctx)
		key, made = signingKey(row), isNew
		return err
	})
	return key, made, err
}

// RevokeSigningKey deletes a signing key, so that it leaves the published set at once. If it was the active one, or the
// newest, RevokeSigningKey returns the key that was created in the same step to replace it; else nil.
func RevokeSigningKey(
	ctx context.Context, in KeysConfig, id string, log *slog.Logger,
) (successor *SigningKey, err error) {
	err = in.withKeys(ctx, log, func(ctx context.Context, keys *signing.KeyManager) error {
		row, err := keys.Revoke(ctx, id)
		if row != nil {
			successor = new(signingKey(*row))
		}
		return err
	})
	return successor, err
}

// RewrapSigningKeys seals every private key with the master key that only the second one opens, and returns how many.
// If neither opens one, nothing is changed.
func RewrapSigningKeys(ctx context.Context, in KeysConfig, log *slog.Logger) (changed int, err error) {
	err = in.withKeys(ctx, log, func(ctx context.Context, keys *signing.KeyManager) error {
		changed, err = keys.Rewrap(ctx)
		return err
	})
	return changed, err
}

func (c KeysConfig) withKeys(
	ctx context.Context, log *slog.Logger, change func(context.Context, *signing.KeyManager) error,
) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return withDatabase(ctx, c.Database, log, func(ctx context.Context, db *storage.Storage) error {
		now := c.Now
		if now == nil {
			now = db.Now
		}
		keys, err := signing.NewKeyManager(db, signing.Config{
			MasterKey: c.MasterKey, SecondMasterKey: c.SecondMasterKey, Algorithm: c.SigningAlgorithm, Now: now,
		})
		if err != nil {
			return err
		}
		return change(ctx, keys)
	})
}
