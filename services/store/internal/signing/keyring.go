package signing

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// Keyring signs access tokens with the newest key. It is safe for concurrent use.
type Keyring struct {
	storage  *storage.Storage
	id       string
	method   jwt.SigningMethod
	private  crypto.Signer
	issuer   string
	audience string
	lifetime time.Duration
}

// Config says how tokens are made.
type Config struct {
	MasterKey []byte        // 32 bytes; opens the sealed keys
	Algorithm string        // of a key that is yet to be made: EdDSA or ES256
	Issuer    string        // `iss`
	Audience  string        // `aud`
	Lifetime  time.Duration // from `iat` to `exp`
}

// OpenKeyring loads the newest signing key. Where there is none, or the newest is for another algorithm than the one
// configured, it makes one; of several stores that start at once exactly one does, and all use that one.
func OpenKeyring(ctx context.Context, db *storage.Storage, config Config, log *slog.Logger) (*Keyring, error) {
	sealer, err := newSealer(config.MasterKey)
	if err != nil {
		return nil, err
	}
	row, err := newestKey(ctx, db, sealer, config.Algorithm, log)
	if err != nil {
		return nil, err
	}
	private, err := sealer.privateKey(row)
	if err != nil {
		return nil, err
	}
	return &Keyring{
		storage: db, id: row.KeyID, method: signingMethod(row.Algorithm), private: private,
		issuer: config.Issuer, audience: config.Audience, lifetime: config.Lifetime,
	}, nil
}

func newestKey(
	ctx context.Context, db *storage.Storage, sealer *sealer, algorithm string, log *slog.Logger,
) (storage.SigningKey, error) {
	newest, err := readNewestKey(ctx, db)
	if err != nil || newest.Algorithm == algorithm {
		return newest, err
	}
	made, err := sealer.generate(algorithm, newest.Generation+1)
	if err != nil {
		return storage.SigningKey{}, err
	}
	made.CreateTime = time.Now()
	err = db.CreateSigningKey(ctx, made)
	if errors.Is(err, storage.ErrGenerationTaken) {
		return readNewestKey(ctx, db) // Another store was first; its key serves us all.
	}
	if err != nil {
		return storage.SigningKey{}, err
	}
	log.InfoContext(ctx, "made a signing key", "kid", made.KeyID, "alg", made.Algorithm)
	return made, nil
}

// readNewestKey gives the zero key, of generation 0 and no algorithm, where there is none.
func readNewestKey(ctx context.Context, db *storage.Storage) (storage.SigningKey, error) {
	rows, err := db.ListSigningKeys(ctx)
	if err != nil || len(rows) == 0 {
		return storage.SigningKey{}, err
	}
	return rows[0], nil
}

// Token is an access token and how long it is good.
type Token struct {
	Signed   string
	Lifetime time.Duration
}

// Mint makes an access token for a session, which it does not outlive.
func (k *Keyring) Mint(userID, sessionID string, now, sessionEnd time.Time) (Token, error) {
	lifetime := min(k.lifetime, sessionEnd.Sub(now))
	token := jwt.NewWithClaims(k.method, authn.Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    k.issuer,
			Audience:  jwt.ClaimStrings{k.audience},
			Subject:   userID,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
			ID:        uuid.NewString(),
		},
		SessionID: sessionID,
		Roles:     []string{"user"},
	})
	token.Header["kid"] = k.id
	token.Header["typ"] = authn.TokenType
	signed, err := token.SignedString(k.private)
	if err != nil {
		return Token{}, fmt.Errorf("sign a token with key %s: %w", k.id, err)
	}
	return Token{Signed: signed, Lifetime: lifetime}, nil
}

// PublicKeys lists the public halves of all keys, newest first.
func (k *Keyring) PublicKeys(ctx context.Context) (*gatehousev1.ListKeysResponse, error) {
	rows, err := k.storage.ListSigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	response := &gatehousev1.ListKeysResponse{}
	for _, row := range rows {
		key, err := publicKey(row)
		if err != nil {
			return nil, err
		}
		response.Keys = append(response.Keys, key)
	}
	return response, nil
}
