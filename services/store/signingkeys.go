package store

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// signing is the part of the configuration that the keyring needs.
func (c Config) signing() signing.Config {
	return signing.Config{
		MasterKey: c.MasterKey, SecondMasterKey: c.SecondMasterKey,
		Algorithm: c.SigningAlgorithm, RotationInterval: c.KeyRotationInterval,
		Issuer: c.Issuer, Audience: c.Audience, Lifetime: c.AccessTokenLifetime, Now: c.Now,
	}
}

// issuerSettings are what the store issues tokens with now.
func (c Config) issuerSettings() authn.IssuerSettings {
	return authn.IssuerSettings{
		Issuer: c.Issuer, Audience: c.Audience, Now: c.Now(), Lifetime: c.AccessTokenLifetime,
	}
}

// validateMasterKeys checks the master key and the second one, which is nil if there is none. Two that are the same are
// refused: whoever gives two believes that the master key is being changed.
func validateMasterKeys(first, second []byte) error {
	var faults []error
	if len(first) != MasterKeySize {
		faults = append(faults, fmt.Errorf("the master key has %d bytes, not %d", len(first), MasterKeySize))
	}
	if second != nil && len(second) != MasterKeySize {
		faults = append(faults, fmt.Errorf("the second master key has %d bytes, not %d", len(second), MasterKeySize))
	}
	if second != nil && subtle.ConstantTimeCompare(first, second) == 1 {
		faults = append(faults, errors.New("the second master key is the same as the master key: leave it out"))
	}
	return errors.Join(faults...)
}

// KeysConfig is what it takes to change signing keys by hand.
type KeysConfig struct {
	Database         Database
	MasterKey        []byte           // as in Config
	SecondMasterKey  []byte           // as in Config
	SigningAlgorithm string           // as in Config
	Now              func() time.Time // as in Config
}

// Validate reports every fault at once.
func (c KeysConfig) Validate() error {
	return errors.Join(validateMasterKeys(c.MasterKey, c.SecondMasterKey), validateAlgorithm(c.SigningAlgorithm),
		c.Database.Validate())
}

// validateAlgorithm returns an error if keys for the algorithm cannot be made. An empty one is left to the keyring.
func validateAlgorithm(algorithm string) error {
	if algorithm == "" {
		return nil
	}
	return jwk.CheckAlgorithm(algorithm)
}

// SigningKey tells of a signing key what everybody may know.
type SigningKey struct {
	ID           string
	Algorithm    string
	State        string    // pending, active, retiring or gone
	CreateTime   time.Time // as all times here, in UTC
	ActivateTime time.Time // when it begins to sign
	LeaveTime    time.Time // when it leaves the published set; zero as long as no later key is to take over
}

// ListSigningKeys tells of all signing keys of a database, the newest first.
func ListSigningKeys(ctx context.Context, database Database, log *slog.Logger) (keys []SigningKey, err error) {
	if err := database.Validate(); err != nil {
		return nil, err
	}
	db, err := storage.Open(ctx, database, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.ListSigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	for i, standing := range signing.Standings(rows, db.Now()) {
		key := signingKey(rows[i])
		key.State, key.LeaveTime = string(standing.State), standing.LeaveTime
		keys = append(keys, key)
	}
	return keys, nil
}

func signingKey(row storage.SigningKey) SigningKey {
	return SigningKey{
		ID: row.KeyID, Algorithm: row.Algorithm, CreateTime: row.CreateTime, ActivateTime: row.ActivateTime,
	}
}

// RotateSigningKey makes the next signing key, unless there is one already that is yet to sign, and gives that one.
func RotateSigningKey(ctx context.Context, config KeysConfig, log *slog.Logger) (key SigningKey, made bool, err error) {
	err = config.byHand(ctx, log, func(ctx context.Context, keys *signing.ByHand) error {
		row, isNew, err := keys.Rotate(ctx)
		key, made = signingKey(row), isNew
		return err
	})
	return key, made, err
}

// RevokeSigningKey deletes a signing key, so that it leaves the published set at once. If it was the active one, or the
// newest, it gives the key that was made in the same step to take its place; else nil.
func RevokeSigningKey(
	ctx context.Context, config KeysConfig, id string, log *slog.Logger,
) (successor *SigningKey, err error) {
	err = config.byHand(ctx, log, func(ctx context.Context, keys *signing.ByHand) error {
		row, err := keys.Revoke(ctx, id)
		if row != nil {
			successor = new(signingKey(*row))
		}
		return err
	})
	return successor, err
}

// RewrapSigningKeys seals every private key with the master key that only the second one opens, and tells how many. If
// neither opens one, nothing is changed.
func RewrapSigningKeys(ctx context.Context, config KeysConfig, log *slog.Logger) (changed int, err error) {
	err = config.byHand(ctx, log, func(ctx context.Context, keys *signing.ByHand) error {
		changed, err = keys.Rewrap(ctx)
		return err
	})
	return changed, err
}

func (c KeysConfig) byHand(
	ctx context.Context, log *slog.Logger, change func(context.Context, *signing.ByHand) error,
) error {
	if err := c.Validate(); err != nil {
		return err
	}
	db, err := storage.Open(ctx, c.Database, log)
	if err != nil {
		return err
	}
	now := c.Now
	if now == nil {
		now = db.Now
	}
	keys, err := signing.NewByHand(db, signing.Config{
		MasterKey: c.MasterKey, SecondMasterKey: c.SecondMasterKey, Algorithm: c.SigningAlgorithm, Now: now,
	})
	if err == nil {
		err = change(audit.WithActor(ctx, audit.Operator), keys)
	}
	return errors.Join(err, db.Close())
}
