package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	jwxjwk "github.com/lestrrat-go/jwx/v3/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/test/bufconn"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	gatewayservice "github.com/gatehouse-auth/gatehouse/services/gateway"
	storeservice "github.com/gatehouse-auth/gatehouse/services/store"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// interopAudience is what the tokens of these tests are for.
const interopAudience = "gatehouse"

// clock is a clock that stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// clocked is a gateway and a store in this process, whose clock a test moves.
type clocked struct {
	*clock

	issuer string
	config storeconfig.Config
}

// startClocked runs a store and a gateway on real HTTP until the test ends.
func startClocked(t *testing.T, algorithm string) *clocked {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	rest, native := listenLocally(t), listenLocally(t)
	env := &clocked{clock: &clock{now: time.Now().Truncate(time.Second)}, issuer: "http://" + rest.Addr().String()}
	env.config = storeconfig.Config{
		Database:  storeconfig.Database{URL: "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db")},
		MasterKey: storeconfig.NewMasterKey(), ServiceToken: strings.Repeat("s", authn.MinServiceToken),
		Issuer: env.issuer, Audience: interopAudience,
		SigningAlgorithm: algorithm, KeyRotationInterval: time.Hour, AccessTokenLifetime: 15 * time.Minute,
		OwnChangesPerMinute: 60,
		Sessions:            storeconfig.SessionConfig{IdleLifetime: 30 * 24 * time.Hour, Lifetime: 90 * 24 * time.Hour},
		Password:            storeconfig.PasswordParams{MemoryKiB: 7168, Iterations: 1, Parallelism: 1}, Now: env.Now,
	}
	if err := operator.Migrate(t.Context(), env.config.Database, log); err != nil {
		t.Fatal(err)
	}
	store, err := storeservice.New(t.Context(), env.config, log)
	if err != nil {
		t.Fatal(err)
	}
	link := bufconn.Listen(256 << 10)
	toStore, err := grpcx.Dial("passthrough:///in-process",
		authn.ServiceCredential{Role: authn.PeerGateway, Token: env.config.ServiceToken}, grpcx.InProcess(link))
	if err != nil {
		t.Fatal(err)
	}
	// Without a cache between them: the store implements the same services.
	gateway, err := gatewayservice.New(t.Context(), gatewayservice.Config{Issuer: env.issuer, Audience: interopAudience},
		gatewayservice.Upstreams{Cache: toStore, Store: toStore}, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var services errgroup.Group
	services.Go(func() error { return gateway.Run(ctx, rest, native) })
	services.Go(func() error { return store.Run(ctx, link) })
	t.Cleanup(func() {
		cancel()
		if err := services.Wait(); err != nil {
			t.Error(err)
		}
		_ = toStore.Close()
	})
	return env
}

func listenLocally(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// post calls the REST API.
func (env *clocked) post(t *testing.T, path, body string) map[string]any {
	t.Helper()
	response, err := http.Post(env.issuer+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return readJSON(t, response)
}

func (env *clocked) get(t *testing.T, path string) map[string]any {
	t.Helper()
	response, err := http.Get(env.issuer + path)
	if err != nil {
		t.Fatal(err)
	}
	return readJSON(t, response)
}

func readJSON(t *testing.T, response *http.Response) map[string]any {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", response.Status, body, err)
	}
	var answer map[string]any
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return answer
}

const interopPassword = `"password":"correct horse battery staple"`

func (env *clocked) logIn(t *testing.T) (token, keyID string) {
	t.Helper()
	token, _ = env.post(t, "/v1/sessions", `{"email":"ada@example.com",`+interopPassword+`}`)["accessToken"].(string)
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return token, parsed.Header["kid"].(string)
}

func (env *clocked) published(t *testing.T) []string {
	t.Helper()
	var ids []string
	for _, key := range env.get(t, "/.well-known/jwks.json")["keys"].([]any) {
		ids = append(ids, key.(map[string]any)["kid"].(string))
	}
	return ids
}

// verifier is a library that verifies our tokens, and knows the issuer and the audience only.
type verifier struct {
	verify  func(token string) (subject string, err error)
	refresh func() // what its cache does after 300 s
}

// discoverWithGoOIDC loads the keys again whenever a token has an unknown one, and at no other time.
func discoverWithGoOIDC(t *testing.T, env *clocked, algorithm string) verifier {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), env.issuer)
	if err != nil {
		t.Fatal(err)
	}
	var found struct {
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&found); err != nil || !slices.Equal(found.Algorithms, []string{algorithm}) {
		t.Errorf("it finds the algorithms %v, %v", found.Algorithms, err)
	}
	v := provider.Verifier(&oidc.Config{ClientID: interopAudience, Now: env.Now})
	return verifier{
		verify: func(token string) (string, error) {
			verified, err := v.Verify(t.Context(), token)
			if err != nil {
				return "", err
			}
			return verified.Subject, nil
		},
		refresh: func() {
			token, _ := env.logIn(t)
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("go-oidc, a token of a key that it does not know yet: %v", err)
			}
		},
	}
}

// discoverWithJWX loads the keys again when their max-age has passed, and at no other time.
func discoverWithJWX(t *testing.T, env *clocked) verifier {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cache, err := jwxjwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	})
	uri, _ := env.get(t, "/.well-known/openid-configuration")["jwks_uri"].(string)
	if err := cache.Register(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	keys, err := cache.CachedSet(uri)
	if err != nil {
		t.Fatal(err)
	}
	return verifier{
		verify: func(token string) (string, error) {
			verified, err := jwxjwt.Parse([]byte(token), jwxjwt.WithKeySet(keys), jwxjwt.WithIssuer(env.issuer),
				jwxjwt.WithAudience(interopAudience), jwxjwt.WithClock(jwxjwt.ClockFunc(env.Now)))
			if err != nil {
				return "", err
			}
			subject, _ := verified.Subject()
			return subject, nil
		},
		refresh: func() {
			if _, err := cache.Refresh(t.Context(), uri); err != nil {
				t.Error(err)
			}
		},
	}
}

// TestTokenInterop configures two libraries that Gatehouse does not use by the issuer, and
// verify access tokens while keys are rotated and revoked.
func TestTokenInterop(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			env := startClocked(t, algorithm)
			user := env.post(t, "/v1/users", `{"email":"ada@example.com","fullName":"Ada",`+interopPassword+`}`)
			subject := user["user"].(map[string]any)["id"].(string)
			verifiers := map[string]verifier{
				"go-oidc": discoverWithGoOIDC(t, env, algorithm), "jwx": discoverWithJWX(t, env),
			}
			want := func(when, token string, good bool) {
				t.Helper()
				for name, verifier := range verifiers {
					got, err := verifier.verify(token)
					if (err == nil) != good || good && got != subject {
						t.Errorf("%s, %s: subject %q, %v; want good = %v", name, when, got, err, good)
					}
				}
			}
			rotateAndRevoke(t, env, verifiers, want)
		})
	}
}

func rotateAndRevoke(t *testing.T, env *clocked, verifiers map[string]verifier, want func(string, string, bool)) {
	token, first := env.logIn(t)
	want("a token", token, true)

	env.pass(50 * time.Minute)
	want("after an hour", token, false)
	testkit.Eventually(t, func() error {
		if ids := env.published(t); len(ids) != 2 {
			return fmt.Errorf("published are %v", ids)
		}
		return nil
	})
	verifiers["jwx"].refresh() // Once, long before the key signs. After that it must know all it needs.
	token, signer := env.logIn(t)
	if signer != first {
		t.Errorf("%s signs before its time", signer)
	}
	env.pass(10 * time.Minute)
	next, second := env.logIn(t)
	if second == first {
		t.Error("the key was not rotated")
	}
	want("a token of the key that retires", token, true)
	want("a token of the new key", next, true)

	_, err := operator.RevokeSigningKey(t.Context(), operator.KeysConfig{
		Database: env.config.Database, MasterKey: env.config.MasterKey, SigningAlgorithm: env.config.SigningAlgorithm, Now: env.Now,
	}, second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(env.published(t), second) {
		t.Error("the revoked key is still published")
	}
	testkit.Eventually(t, func() error {
		if _, signer := env.logIn(t); signer == second {
			return fmt.Errorf("%s still signs", signer)
		}
		return nil
	})
	for _, verifier := range verifiers {
		verifier.refresh()
	}
	want("a token of the revoked key", next, false)
	want("a token of the key before", token, true)
	after, _ := env.logIn(t)
	want("a token of the key after", after, true)
}

// TestDiscovery is exactly this, in these names.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	env := startClocked(t, jwk.ES256)
	got := env.get(t, "/.well-known/openid-configuration")
	want := map[string]any{
		"issuer": env.issuer, "jwks_uri": env.issuer + "/.well-known/jwks.json",
		"id_token_signing_alg_values_supported": []any{"ES256"}, "subject_types_supported": []any{"public"},
		"claims_supported": []any{"aud", "auth_time", "client_id", "exp", "iat", "iss", "jti", "roles", "sid", "sub"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("configuration is %v\nwant %v", got, want)
	}
}
