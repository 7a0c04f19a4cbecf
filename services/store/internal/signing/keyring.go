package signing

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// Keyring signs access tokens with the active key. It knows the keys as they were when they were last loaded, which is
// enough to change from one to the next on time: Run loads them, and rotates them. It is safe for concurrent use.
type Keyring struct {
	store   *storage.Storage
	config  Config
	sealers *sealers
	log     *slog.Logger
	loaded  atomic.Pointer[keys]

	upkeep sync.Mutex // lets one pass at a time maintain the keys
	warned map[string]bool
}

// keys are all keys at the time they were loaded.
type keys struct {
	rows    []account.SigningKey // the newest first
	private map[string]crypto.Signer
}

// Config defines how tokens are made.
type Config struct {
	MasterKey        []byte           // 32 bytes; seals and opens the private keys
	SecondMasterKey  []byte           // opens, and does not seal; nil if there is none
	Algorithm        string           // of a key that is yet to be made: one of jwk.Algorithms; empty for nextAlgorithm
	RotationInterval time.Duration    // from the activation of a key to that of the next
	Issuer           string           // `iss`
	Audience         string           // `aud`
	Lifetime         time.Duration    // from `iat` to `exp`
	Now              func() time.Time // the clock that keys begin and end by
}

// OpenKeyring loads the keys. If no key exists, it creates the first, which signs at once. If the newest key is for
// another algorithm than the configured one, it creates the next, which signs once verifiers know it. Of several stores
// that start at once, exactly one creates the key, and all use it. It fails if the active key cannot be opened.
func OpenKeyring(ctx context.Context, store *storage.Storage, config Config, log *slog.Logger) (*Keyring, error) {
	sealers, err := newSealers(config.MasterKey, config.SecondMasterKey)
	if err != nil {
		return nil, err
	}
	k := &Keyring{store: store, config: config, sealers: sealers, log: log, warned: map[string]bool{}}
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	if err := k.load(ctx); err != nil {
		return nil, err
	}
	rows := k.loaded.Load().rows
	if len(rows) == 0 {
		return k, k.add(ctx, 1, 0)
	}
	// Before anything is made: what a store with the wrong master key seals, no other store can open.
	if _, err := sealers.privateKey(rows[activeIndex(rows, config.Now())]); err != nil {
		return nil, err
	}
	if rows[0].Algorithm != nextAlgorithm(config.Algorithm, rows) {
		return k, k.add(ctx, rows[0].Generation+1, publishLead)
	}
	return k, nil
}

// load reads the keys and opens those that are new. One that cannot be opened does not sign; that is warned once.
func (k *Keyring) load(ctx context.Context) error {
	rows, err := k.store.ListSigningKeys(ctx)
	if err != nil {
		return err
	}
	if err := k.raiseLifetimes(ctx, rows); err != nil {
		return err
	}
	fresh := &keys{rows: rows, private: make(map[string]crypto.Signer, len(rows))}
	known := k.loaded.Load()
	for _, row := range rows {
		if known != nil && known.private[row.KeyID] != nil {
			fresh.private[row.KeyID] = known.private[row.KeyID]
			continue
		}
		private, err := k.sealers.privateKey(row)
		if err != nil {
			k.warnOnce(ctx, row.KeyID, err)
			continue
		}
		fresh.private[row.KeyID] = private
	}
	k.loaded.Store(fresh)
	return nil
}

// raiseLifetimes makes sure that keys are kept for the tokens which this store makes, before it makes one.
func (k *Keyring) raiseLifetimes(ctx context.Context, rows []account.SigningKey) error {
	for i := range rows {
		if rows[i].TokenLifetime < k.config.Lifetime {
			if err := k.store.RaiseTokenLifetime(ctx, k.config.Lifetime); err != nil {
				return err
			}
			break
		}
	}
	for i := range rows {
		rows[i].TokenLifetime = max(rows[i].TokenLifetime, k.config.Lifetime)
	}
	return nil
}

func (k *Keyring) warnOnce(ctx context.Context, keyID string, err error) {
	if !k.warned[keyID] {
		k.warned[keyID] = true
		k.log.ErrorContext(ctx, "a signing key cannot be used: this store signs with an older one",
			"kid", keyID, "error", err)
	}
}

// add makes the key of a generation, unless another store is faster, and loads the outcome.
func (k *Keyring) add(ctx context.Context, generation int64, lead time.Duration) error {
	made, err := k.sealers.first.generate(nextAlgorithm(k.config.Algorithm, k.loaded.Load().rows), generation)
	if err != nil {
		return err
	}
	made.CreateTime = k.config.Now()
	made.ActivateTime, made.TokenLifetime = made.CreateTime.Add(lead), k.config.Lifetime
	err = k.store.CreateSigningKey(ctx, made)
	if err != nil && !errors.Is(err, storage.ErrGenerationTaken) {
		return err
	}
	if err == nil {
		k.log.InfoContext(ctx, "made a signing key", "kid", made.KeyID, "alg", made.Algorithm,
			"signs_from", made.ActivateTime)
	}
	return k.load(ctx)
}

// nextAlgorithm returns the algorithm of the key after these, the newest first: the configured one, else that of the
// newest key, so that nothing changes for the verifiers of an installation that was not asked to change.
func nextAlgorithm(configured string, rows []account.SigningKey) string {
	switch {
	case configured != "":
		return configured
	case len(rows) > 0:
		return rows[0].Algorithm
	default:
		return jwk.DefaultAlgorithm
	}
}

// errNoKey is a keyring that can open no key at all.
var errNoKey = errors.New("there is no signing key that can be opened")

// signer finds the key to sign with: the active one. Where that cannot be opened it is the newest before it that can,
// so that a running store goes on; failing that, the first after it.
func (k *keys) signer(at time.Time) (account.SigningKey, crypto.Signer, error) {
	active := activeIndex(k.rows, at)
	for i := max(active, 0); i < len(k.rows); i++ {
		if private := k.private[k.rows[i].KeyID]; private != nil {
			return k.rows[i], private, nil
		}
	}
	for i := active - 1; i >= 0; i-- {
		if private := k.private[k.rows[i].KeyID]; private != nil {
			return k.rows[i], private, nil
		}
	}
	return account.SigningKey{}, nil, errNoKey
}

// Token is an access token and how long it is good.
type Token struct {
	Signed   string
	Lifetime time.Duration
}

// Grant is the content of an access token.
type Grant struct {
	UserID, SessionID string
	Roles             []string
	AuthTime          time.Time                  // when the user logged in
	SessionEnd        time.Time                  // which the token does not outlive
	AppMetadata       map[string]json.RawMessage // nil for none
}

// Mint returns a signed access token.
func (k *Keyring) Mint(grant Grant, now time.Time) (Token, error) {
	key, private, err := k.loaded.Load().signer(now)
	if err != nil {
		return Token{}, err
	}
	lifetime := min(k.config.Lifetime, grant.SessionEnd.Sub(now))
	token := jwt.NewWithClaims(signingMethod(key.Algorithm), authn.Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    k.config.Issuer,
			Audience:  jwt.ClaimStrings{k.config.Audience},
			Subject:   grant.UserID,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
			ID:        uuid.NewString(),
		},
		ClientID: authn.ClientID, SessionID: grant.SessionID, Roles: grant.Roles,
		AuthTime:    jwt.NewNumericDate(grant.AuthTime),
		AppMetadata: grant.AppMetadata,
	})
	token.Header["kid"] = key.KeyID
	token.Header["typ"] = authn.TokenType
	signed, err := token.SignedString(private)
	if err != nil {
		return Token{}, fmt.Errorf("sign a token with key %s: %w", key.KeyID, err)
	}
	return Token{Signed: signed, Lifetime: lifetime}, nil
}

// ClaimNames are the claims of every token that Mint makes, in alphabetical order.
func ClaimNames() []string {
	return []string{"aud", "auth_time", "client_id", "exp", "iat", "iss", "jti", "roles", "sid", "sub"}
}

// PublicKeys lists the public halves of the keys that are pending, active or retiring, newest first. It asks the
// database each time, so that a revoked key is no longer published. One that cannot be read is left out.
func (k *Keyring) PublicKeys(ctx context.Context) ([]crypto.PublicKey, error) {
	rows, err := k.store.ListSigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	var public []crypto.PublicKey
	for i, status := range Statuses(rows, k.config.Now()) {
		if status.State == Expired {
			continue
		}
		if key, err := publicKey(rows[i]); err == nil { // load has logged one that cannot be read.
			public = append(public, key)
		}
	}
	if len(public) == 0 {
		return nil, errors.New("no public key can be read")
	}
	return public, nil
}
