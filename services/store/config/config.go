// Package config holds what the store service and the operator's commands must know. The command line fills it in;
// packages store and operator read it. It checks settings and reports all problems at once, and opens no file, database
// or connection.
package config

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// maxOwnChanges bounds the setting: a change beyond it reads as many events as it allows.
const maxOwnChanges = 100_000

// Database locates the data.
type Database = storage.Config

// PasswordParams are the cost parameters of Argon2id.
type PasswordParams = password.Params

// SessionConfig bounds how long sessions last.
type SessionConfig = login.Lifetimes

// Config is what the store service must know.
type Config struct {
	Database            Database
	MasterKey           []byte // MasterKeySize bytes that seal the signing keys
	SecondMasterKey     []byte // opens and verifies, never seals or signs; nil if there is none
	ServiceToken        string // what the services that call must present
	SecondServiceToken  string // is accepted as well, unless it is empty
	Issuer              string // `iss` of the tokens
	Audience            string // `aud` of the tokens
	SigningAlgorithm    string // EdDSA, ES256 or RS256; empty for that of the newest key, or jwk.DefaultAlgorithm
	KeyRotationInterval time.Duration
	AccessTokenLifetime time.Duration
	Sessions            SessionConfig
	Password            PasswordParams
	HashingCores        int              // how many passwords are hashed at a time; 0 is GOMAXPROCS
	MemoryLimit         int64            // what the process may use, in bytes; 0 is what the system says
	AppMetadataClaims   []string         // names of app metadata that go into access tokens
	OwnChangesPerMinute int              // how often a user may change the own account
	AuditRetention      time.Duration    // how long audit events are kept: a day or more, or 0 forever
	Now                 func() time.Time // the clock of sessions and keys; nil is the database's
}

// Validate reports all problems at once.
func (c Config) Validate() error {
	return errors.Join(ValidateMasterKeys(c.MasterKey, c.SecondMasterKey),
		authn.ValidateServiceToken(c.ServiceToken), authn.ValidateSecondServiceToken(c.SecondServiceToken),
		c.Database.Validate(), c.ValidateSettings())
}

// ValidateSettings reports all problems except those of the database and the secrets.
func (c Config) ValidateSettings() error {
	problems := []error{ValidateAlgorithm(c.SigningAlgorithm)}
	// A key is published for 10 min before it signs, and stays for a token's life: an hour and a day of life make some
	// 26 keys, which is the most that verifiers should have to load.
	if c.KeyRotationInterval < time.Hour || c.KeyRotationInterval > 365*24*time.Hour {
		problems = append(problems, fmt.Errorf("key rotation interval is %v, not 1h to 8760h", c.KeyRotationInterval))
	}
	// expires_in is in whole seconds. A day is the most that a token which cannot be revoked should live.
	if c.AccessTokenLifetime < time.Second || c.AccessTokenLifetime > authn.MaxTokenLifetime {
		problems = append(problems, fmt.Errorf("access token lifetime is %v, not 1s to 24h", c.AccessTokenLifetime))
	}
	if c.OwnChangesPerMinute < 1 || c.OwnChangesPerMinute > maxOwnChanges {
		problems = append(problems,
			fmt.Errorf("own changes per minute are %d, not 1 to %d", c.OwnChangesPerMinute, maxOwnChanges))
	}
	if c.AuditRetention != 0 && c.AuditRetention < 24*time.Hour {
		problems = append(problems, fmt.Errorf("audit retention is %v, not 24h or more, nor 0 forever", c.AuditRetention))
	}
	if err := c.Password.Validate(); err != nil {
		problems = append(problems, err)
	} else {
		problems = append(problems, c.Password.ValidateMemory(c.HashingCores, c.ProcessMemory()))
	}
	return errors.Join(append(problems, login.AppClaims(c.AppMetadataClaims).Validate(),
		authn.ValidateNames(c.Issuer, c.Audience), c.Sessions.Validate())...)
}

// ProcessMemory returns how much memory the process may use, in bytes.
func (c Config) ProcessMemory() int64 { return cmp.Or(c.MemoryLimit, password.MemoryLimit()) }

// MasterKeys returns the master key, and the second one if there is one.
func (c Config) MasterKeys() [][]byte {
	if c.SecondMasterKey == nil {
		return [][]byte{c.MasterKey}
	}
	return [][]byte{c.MasterKey, c.SecondMasterKey}
}

// Signing returns the part of the configuration that a signing.Keyring needs.
func (c Config) Signing() signing.Config {
	return signing.Config{
		MasterKey: c.MasterKey, SecondMasterKey: c.SecondMasterKey,
		Algorithm: c.SigningAlgorithm, RotationInterval: c.KeyRotationInterval,
		Issuer: c.Issuer, Audience: c.Audience, Lifetime: c.AccessTokenLifetime, Now: c.Now,
	}
}

// MasterKeySize is the length of the master key in bytes.
const MasterKeySize = signing.MasterKeySize

// NewMasterKey returns a master key from the system's randomness.
func NewMasterKey() []byte { return signing.NewMasterKey() }

// ValidateMasterKeys checks the master key and the second one, which is nil if there is none. It rejects two equal
// keys: an operator who gives two expects that the master key is being changed.
func ValidateMasterKeys(first, second []byte) error {
	var problems []error
	if len(first) != MasterKeySize {
		problems = append(problems, fmt.Errorf("the master key has %d bytes, not %d", len(first), MasterKeySize))
	}
	if second != nil && len(second) != MasterKeySize {
		problems = append(problems, fmt.Errorf("the second master key has %d bytes, not %d", len(second), MasterKeySize))
	}
	if second != nil && subtle.ConstantTimeCompare(first, second) == 1 {
		problems = append(problems, errors.New("the second master key is the same as the master key: leave it out"))
	}
	return errors.Join(problems...)
}

// ValidateAlgorithm reports an error if keys for the algorithm cannot be made. The keyring chooses for an empty one.
func ValidateAlgorithm(algorithm string) error {
	if algorithm == "" {
		return nil
	}
	return jwk.CheckAlgorithm(algorithm)
}
