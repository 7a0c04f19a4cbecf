package signing_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	issuer   = "https://id.example.com"
	audience = "gatehouse"
	userID   = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"
	session  = "01970e2c-7a10-7b5e-8c43-0d6f1a9e2b54"
	lifetime = 15 * time.Minute
)

var quiet = slog.New(slog.DiscardHandler)

// newDatabase makes a migrated database in a file of its own.
func newDatabase(t *testing.T) storage.Config {
	t.Helper()
	database := storage.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db")}
	if err := storage.Migrate(t.Context(), database, quiet); err != nil {
		t.Fatal(err)
	}
	return database
}

// openDatabase opens a connection of its own, as another store would have.
func openDatabase(t *testing.T, database storage.Config) *storage.Storage {
	t.Helper()
	db, err := storage.Open(t.Context(), database, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func config(masterKey []byte, algorithm string) signing.Config {
	return signing.Config{
		MasterKey: masterKey, Algorithm: algorithm, Issuer: issuer, Audience: audience, Lifetime: lifetime,
	}
}

func openKeyring(t *testing.T, db *storage.Storage, masterKey []byte, algorithm string) *signing.Keyring {
	t.Helper()
	keyring, err := signing.OpenKeyring(t.Context(), db, config(masterKey, algorithm), quiet)
	if err != nil {
		t.Fatal(err)
	}
	return keyring
}

func mint(t *testing.T, keyring *signing.Keyring, now time.Time) string {
	t.Helper()
	token, err := keyring.Mint(userID, session, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if token.Lifetime != lifetime {
		t.Errorf("lifetime is %v, want %v", token.Lifetime, lifetime)
	}
	return token.Signed
}

func keyIDs(t *testing.T, db *storage.Storage) []string {
	t.Helper()
	rows, err := db.ListSigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, row := range rows {
		ids = append(ids, row.KeyID)
	}
	return ids
}

func keyIDOf(t *testing.T, token string) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(token, &authn.Claims{})
	if err != nil {
		t.Fatal(err)
	}
	id, _ := parsed.Header["kid"].(string)
	return id
}

func TestATokenIsGoodForItsLifetime(t *testing.T) {
	for _, algorithm := range []string{jwk.EdDSA, jwk.ES256} {
		t.Run(algorithm, func(t *testing.T) {
			keyring := openKeyring(t, openDatabase(t, newDatabase(t)), signing.NewMasterKey(), algorithm)
			minted := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			now := minted
			clock := func() time.Time { return now }
			verifier := authn.NewVerifier(authn.NewKeySet(keyring.PublicKeys, clock), issuer, audience, clock)

			token := mint(t, keyring, minted)
			caller, err := verifier.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			if caller.UserID != userID || caller.SessionID != session || len(caller.Roles) != 1 || caller.Roles[0] != "user" {
				t.Errorf("caller is %+v", caller)
			}
			now = minted.Add(lifetime)
			var refusal *apierr.Error
			_, err = verifier.Verify(t.Context(), token)
			if !errors.As(err, &refusal) || refusal.Reason() != gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_EXPIRED {
				t.Errorf("after its lifetime: %v", err)
			}
		})
	}
}

func TestATokenSaysWhatRFC9068Wants(t *testing.T) {
	keyring := openKeyring(t, openDatabase(t, newDatabase(t)), signing.NewMasterKey(), jwk.EdDSA)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var claims, others authn.Claims
	parsed, _, err := jwt.NewParser().ParseUnverified(mint(t, keyring, now), &claims)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Header["typ"] != "at+jwt" || parsed.Header["alg"] != "EdDSA" || len(parsed.Header) != 3 {
		t.Errorf("header is %v", parsed.Header)
	}
	if claims.Issuer != issuer || len(claims.Audience) != 1 || claims.Audience[0] != audience ||
		claims.Subject != userID || claims.SessionID != session ||
		!claims.IssuedAt.Equal(now) || !claims.ExpiresAt.Equal(now.Add(lifetime)) {
		t.Errorf("claims are %+v", claims)
	}
	if _, _, err := jwt.NewParser().ParseUnverified(mint(t, keyring, now), &others); err != nil {
		t.Fatal(err)
	}
	if claims.ID == "" || claims.ID == others.ID {
		t.Errorf("jti is %q and %q", claims.ID, others.ID)
	}
}

func TestTheFirstStartMakesAKeyAndTheSecondUsesIt(t *testing.T) {
	database, masterKey := newDatabase(t), signing.NewMasterKey()
	first := openDatabase(t, database)
	before := keyIDOf(t, mint(t, openKeyring(t, first, masterKey, jwk.EdDSA), time.Now()))
	second := openDatabase(t, database)
	after := keyIDOf(t, mint(t, openKeyring(t, second, masterKey, jwk.EdDSA), time.Now()))
	if before == "" || before != after {
		t.Errorf("keys are %q and %q", before, after)
	}
	if ids := keyIDs(t, second); len(ids) != 1 || ids[0] != before {
		t.Errorf("the database has the keys %v", ids)
	}
}

func TestAnotherAlgorithmMakesAnotherKeyAndOldTokensStillVerify(t *testing.T) {
	masterKey := signing.NewMasterKey()
	db := openDatabase(t, newDatabase(t))
	old := openKeyring(t, db, masterKey, jwk.EdDSA)
	oldToken := mint(t, old, time.Now())
	current := openKeyring(t, db, masterKey, jwk.ES256)
	newToken := mint(t, current, time.Now())

	rows, err := db.ListSigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Generation != 2 || rows[0].Algorithm != jwk.ES256 || rows[0].KeyID != keyIDOf(t, newToken) ||
		rows[1].Generation != 1 || rows[1].Algorithm != jwk.EdDSA || rows[1].KeyID != keyIDOf(t, oldToken) {
		t.Errorf("the database has %+v", rows)
	}
	for name, keyring := range map[string]*signing.Keyring{"old": old, "current": current} {
		set, err := keyring.PublicKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if keys := set.GetKeys(); len(keys) != 2 || keys[0].GetKid() != rows[0].KeyID || keys[1].GetKid() != rows[1].KeyID {
			t.Errorf("the %s keyring publishes %v", name, keys)
		}
		verifier := authn.NewVerifier(authn.NewKeySet(keyring.PublicKeys, time.Now), issuer, audience, time.Now)
		for _, token := range []string{oldToken, newToken} {
			if _, err := verifier.Verify(t.Context(), token); err != nil {
				t.Errorf("with the %s keyring: %v", name, err)
			}
		}
	}
}

func TestAnotherMasterKeyDoesNotStart(t *testing.T) {
	db := openDatabase(t, newDatabase(t))
	openKeyring(t, db, signing.NewMasterKey(), jwk.EdDSA)
	_, err := signing.OpenKeyring(t.Context(), db, config(signing.NewMasterKey(), jwk.EdDSA), quiet)
	if err == nil || !strings.Contains(err.Error(), "the master key does not open it") {
		t.Errorf("error is %v", err)
	}
	if ids := keyIDs(t, db); len(ids) != 1 {
		t.Errorf("a store that cannot start left the keys %v", ids)
	}
	if _, err := signing.OpenKeyring(t.Context(), db, config([]byte("short"), jwk.EdDSA), quiet); err == nil {
		t.Error("a short master key is accepted")
	}
}

func TestStoresThatStartAtOnceShareOneKey(t *testing.T) {
	database, masterKey := newDatabase(t), signing.NewMasterKey()
	const stores = 10
	for generation, algorithm := range []string{jwk.EdDSA, jwk.ES256} {
		var done sync.WaitGroup
		start := make(chan struct{})
		tokens := make([]string, stores)
		for i := range stores {
			db := openDatabase(t, database)
			done.Go(func() {
				<-start
				keyring, err := signing.OpenKeyring(t.Context(), db, config(masterKey, algorithm), quiet)
				if err != nil {
					t.Error(err)
					return
				}
				token, err := keyring.Mint(userID, session, time.Now(), time.Now().Add(time.Hour))
				if err != nil {
					t.Error(err)
				}
				tokens[i] = token.Signed
			})
		}
		close(start)
		done.Wait()
		if t.Failed() {
			return
		}
		ids := keyIDs(t, openDatabase(t, database))
		if len(ids) != generation+1 {
			t.Fatalf("%s: the database has the keys %v", algorithm, ids)
		}
		for _, token := range tokens {
			if id := keyIDOf(t, token); id != ids[0] {
				t.Errorf("%s: a store signs with %s, not %s", algorithm, id, ids[0])
			}
		}
	}
}
