package signing_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"

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

// config is that of a store that rotates its keys each hour, by this clock.
func config(masterKey []byte, algorithm string, now func() time.Time) signing.Config {
	return signing.Config{
		MasterKey: masterKey, Algorithm: algorithm, RotationInterval: time.Hour,
		Issuer: issuer, Audience: audience, Lifetime: lifetime, Now: now,
	}
}

func openKeyring(t *testing.T, db *storage.Storage, config signing.Config) *signing.Keyring {
	t.Helper()
	keyring, err := signing.OpenKeyring(t.Context(), db, config, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return keyring
}

func maintain(t *testing.T, keyrings ...*signing.Keyring) {
	t.Helper()
	for _, keyring := range keyrings {
		if err := keyring.Maintain(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func mint(t *testing.T, keyring *signing.Keyring, now time.Time) string {
	t.Helper()
	token, err := keyring.Mint(grantUntil(now.Add(time.Hour)), now)
	if err != nil {
		t.Fatal(err)
	}
	if token.Lifetime != lifetime {
		t.Errorf("lifetime is %v, want %v", token.Lifetime, lifetime)
	}
	return token.Signed
}

func listKeys(t *testing.T, db *storage.Storage) []account.SigningKey {
	t.Helper()
	rows, err := db.ListSigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func keyIDs(t *testing.T, db *storage.Storage) []string {
	t.Helper()
	var ids []string
	for _, row := range listKeys(t, db) {
		ids = append(ids, row.KeyID)
	}
	return ids
}

// published are the ids of the keys that verifiers get.
func published(t *testing.T, keyring *signing.Keyring) []string {
	t.Helper()
	set, err := keySet(keyring)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, key := range set.GetKeys() {
		ids = append(ids, key.GetKid())
	}
	return ids
}

// keySet returns how verifiers get the keys.
func keySet(keyring *signing.Keyring) func(context.Context) (*gatehousev1.ListKeysResponse, error) {
	return func(ctx context.Context) (*gatehousev1.ListKeysResponse, error) {
		public, err := keyring.PublicKeys(ctx)
		set := &gatehousev1.ListKeysResponse{}
		for _, key := range public {
			published, keyErr := jwk.FromPublic(key)
			set.Keys, err = append(set.Keys, published), errors.Join(err, keyErr)
		}
		return set, err
	}
}

func newVerifier(keyring *signing.Keyring, now func() time.Time) *authn.Verifier {
	return authn.NewVerifier(authn.NewKeySet(keySet(keyring), now), issuer, audience, now)
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

func TestMintLifetime(t *testing.T) {
	for _, algorithm := range jwk.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			clock := newClock()
			keyring := openKeyring(t, openDatabase(t, newDatabase(t)), config(signing.NewMasterKey(), algorithm, clock.Now))
			verifier := newVerifier(keyring, clock.Now)
			token := mint(t, keyring, clock.Now())
			caller, err := verifier.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			if caller.UserID != userID || caller.SessionID != session || len(caller.Roles) != 1 || caller.Roles[0] != "user" {
				t.Errorf("caller is %+v", caller)
			}
			clock.pass(lifetime)
			var refusal *apierr.Error
			_, err = verifier.Verify(t.Context(), token)
			if !errors.As(err, &refusal) || refusal.Reason() != gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_EXPIRED {
				t.Errorf("after its lifetime: %v", err)
			}
		})
	}
}

func TestMintClaimsOfRFC9068(t *testing.T) {
	clock := newClock()
	keyring := openKeyring(t, openDatabase(t, newDatabase(t)), config(signing.NewMasterKey(), jwk.EdDSA, clock.Now))
	now := clock.Now()
	var claims, others authn.Claims
	parsed, _, err := jwt.NewParser().ParseUnverified(mint(t, keyring, now), &claims)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Header["typ"] != "at+jwt" || parsed.Header["alg"] != "EdDSA" || len(parsed.Header) != 3 {
		t.Errorf("header is %v", parsed.Header)
	}
	if claims.Issuer != issuer || len(claims.Audience) != 1 || claims.Audience[0] != audience ||
		claims.ClientID != "gatehouse" || claims.Subject != userID || claims.SessionID != session ||
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

// TestAlgorithm covers a setting that is left out: verifiers of an installation see another algorithm only if asked.
func TestAlgorithm(t *testing.T) {
	clock, masterKey := newClock(), signing.NewMasterKey()
	unset := config(masterKey, "", clock.Now)
	t.Run("first_key_of_an_installation_is_ES256", func(t *testing.T) {
		db := openDatabase(t, newDatabase(t))
		openKeyring(t, db, unset)
		if rows := listKeys(t, db); len(rows) != 1 || rows[0].Algorithm != jwk.ES256 {
			t.Errorf("the keys are %+v", rows)
		}
	})
	for _, algorithm := range jwk.Algorithms() {
		t.Run("installation_keeps_"+algorithm, func(t *testing.T) {
			db := openDatabase(t, newDatabase(t))
			token := mint(t, openKeyring(t, db, config(masterKey, algorithm, clock.Now)), clock.Now())
			keyring := openKeyring(t, db, unset) // As after an upgrade.
			if rows := listKeys(t, db); len(rows) != 1 {
				t.Fatalf("a start made another key: %+v", rows)
			}
			if _, err := newVerifier(keyring, clock.Now).Verify(t.Context(), token); err != nil {
				t.Errorf("a token made before: %v", err)
			}
			if _, made, err := manager(t, db, unset).Rotate(t.Context()); err != nil || !made {
				t.Fatalf("Rotate = %v, %v", made, err)
			}
			if successor, err := manager(t, db, unset).Revoke(t.Context(), listKeys(t, db)[0].KeyID); err != nil ||
				successor.Algorithm != algorithm {
				t.Fatalf("Revoke = %+v, %v", successor, err)
			}
			clock.pass(time.Hour)
			maintain(t, keyring)
			for _, row := range listKeys(t, db) {
				if row.Algorithm != algorithm {
					t.Errorf("key %d is for %s, not %s", row.Generation, row.Algorithm, algorithm)
				}
			}
		})
	}
}

func TestClaims(t *testing.T) {
	clock := newClock()
	keyring := openKeyring(t, openDatabase(t, newDatabase(t)), config(signing.NewMasterKey(), jwk.EdDSA, clock.Now))
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(mint(t, keyring, clock.Now()), claims); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, signing.ClaimNames()) {
		t.Errorf("a token has the claims %v, not %v", got, signing.ClaimNames())
	}
}

func TestOpenFirstKey(t *testing.T) {
	database, masterKey, clock := newDatabase(t), signing.NewMasterKey(), newClock()
	first := openDatabase(t, database)
	before := keyIDOf(t, mint(t, openKeyring(t, first, config(masterKey, jwk.EdDSA, clock.Now)), clock.Now()))
	second := openDatabase(t, database)
	after := keyIDOf(t, mint(t, openKeyring(t, second, config(masterKey, jwk.EdDSA, clock.Now)), clock.Now()))
	if before == "" || before != after {
		t.Errorf("keys are %q and %q", before, after)
	}
	rows := listKeys(t, second)
	if len(rows) != 1 || rows[0].KeyID != before || rows[0].ActivateTime != clock.Now() || rows[0].TokenLifetime != lifetime {
		t.Errorf("the database has %+v", rows)
	}
}

func TestOpenAnotherAlgorithm(t *testing.T) {
	masterKey, clock := signing.NewMasterKey(), newClock()
	db := openDatabase(t, newDatabase(t))
	old := openKeyring(t, db, config(masterKey, jwk.EdDSA, clock.Now))
	oldToken := mint(t, old, clock.Now())
	current := openKeyring(t, db, config(masterKey, jwk.RS256, clock.Now))
	openKeyring(t, db, config(masterKey, jwk.RS256, clock.Now)) // A second start has nothing to do.
	rows := listKeys(t, db)
	if len(rows) != 2 || rows[0].Generation != 2 || rows[0].Algorithm != jwk.RS256 || rows[1].Algorithm != jwk.EdDSA {
		t.Fatalf("the database has %+v", rows)
	}
	maintain(t, old)
	for _, keyring := range []*signing.Keyring{old, current} {
		if got := published(t, keyring); !slices.Equal(got, []string{rows[0].KeyID, rows[1].KeyID}) {
			t.Errorf("published are %v", got)
		}
		if got := keyIDOf(t, mint(t, keyring, clock.Now().Add(10*time.Minute-1))); got != rows[1].KeyID {
			t.Errorf("before 10 min have passed, %s signs", got)
		}
	}
	clock.pass(10 * time.Minute)
	for _, keyring := range []*signing.Keyring{old, current} {
		token := mint(t, keyring, clock.Now())
		if got := keyIDOf(t, token); got != rows[0].KeyID {
			t.Errorf("after 10 min, %s signs", got)
		}
		for _, token := range []string{oldToken, token} {
			if _, err := newVerifier(keyring, clock.Now).Verify(t.Context(), token); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOpenAnotherMasterKey(t *testing.T) {
	db, clock := openDatabase(t, newDatabase(t)), newClock()
	openKeyring(t, db, config(signing.NewMasterKey(), jwk.EdDSA, clock.Now))
	_, err := signing.OpenKeyring(t.Context(), db, config(signing.NewMasterKey(), jwk.ES256, clock.Now), quiet)
	if err == nil || !strings.Contains(err.Error(), "the master key does not open it") {
		t.Errorf("error is %v", err)
	}
	if ids := keyIDs(t, db); len(ids) != 1 {
		t.Errorf("a store that cannot start left the keys %v", ids)
	}
	if _, err := signing.OpenKeyring(t.Context(), db, config([]byte("short"), jwk.EdDSA, clock.Now), quiet); err == nil {
		t.Error("a short master key is accepted")
	}
}

func TestOpenConcurrently(t *testing.T) {
	database, masterKey, clock := newDatabase(t), signing.NewMasterKey(), newClock()
	const stores = 10
	for generation, algorithm := range []string{jwk.EdDSA, jwk.ES256} {
		var done sync.WaitGroup
		start := make(chan struct{})
		tokens := make([]string, stores)
		for i := range stores {
			db := openDatabase(t, database)
			done.Go(func() {
				<-start
				keyring, err := signing.OpenKeyring(t.Context(), db, config(masterKey, algorithm, clock.Now), quiet)
				if err != nil {
					t.Error(err)
					return
				}
				token, err := keyring.Mint(grantUntil(clock.Now().Add(time.Hour)), clock.Now().Add(10*time.Minute))
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

// grantUntil is a grant to the user of these tests whose session ends at a time.
func grantUntil(end time.Time) signing.Grant {
	return signing.Grant{
		UserID: userID, SessionID: session, Roles: []string{"user"}, AuthTime: end.Add(-time.Hour), SessionEnd: end,
	}
}
