package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// bearer returns a context whose calls present the token.
func bearer(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func readMe(t *testing.T, env *testEnv, token string) (*gatehousev1.User, error) {
	t.Helper()
	response, err := gatehousev1.NewUserServiceClient(env.conn).ReadUser(
		bearer(callContext(t), token), &gatehousev1.ReadUserRequest{Id: "me"})
	return response.GetUser(), err
}

// The happy scenario, native and over REST, told step by step as a newcomer would take it. Each setup, each transport.
func TestSignUpLogInReadProfile(t *testing.T) {
	t.Parallel()
	for name, start := range setups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := start(t)
			for transportName, call := range transports {
				t.Run(transportName, func(t *testing.T) { happyScenario(t, env, call) })
			}
			t.Run("the_other_transport_knows_the_account", func(t *testing.T) {
				user := signUp(t, env, "both."+uuid.NewString()+"@example.com")
				token := "Bearer " + logIn(t, env, user.GetEmail())
				got, err := overREST(callContext(t), env, "UserService/ReadUser", &gatehousev1.ReadUserRequest{Id: "me"}, []string{token})
				if err != nil || !proto.Equal(got.message.(*gatehousev1.ReadUserResponse).GetUser(), user) {
					t.Errorf("REST reads %v, %v, want %v", got, err, user)
				}
			})
			if env.mariadb != nil {
				env.checkHashes(t, "m=19456,t=2,p=1") // The default, which the README promises.
			}
			env.stop(t)
		})
	}
}

func happyScenario(t *testing.T, env *testEnv, call transport) {
	email := "Ada." + uuid.NewString() + "@Example.com"
	made, err := call(callContext(t), env, "UserService/CreateUser",
		&gatehousev1.CreateUserRequest{Email: email, FullName: "Ada Lovelace", Password: adasPassword}, nil)
	if err != nil || made.message == nil {
		t.Fatalf("sign up: %v, %v", made, err)
	}
	session, err := call(callContext(t), env, "SessionService/CreateSession",
		&gatehousev1.CreateSessionRequest{Email: strings.ToLower(email), Password: adasPassword}, nil)
	if err != nil || session.message == nil {
		t.Fatalf("log in: %v, %v", session, err)
	}
	token := session.message.(*gatehousev1.CreateSessionResponse).GetAccessToken()
	profile, err := call(callContext(t), env, "UserService/ReadUser",
		&gatehousev1.ReadUserRequest{Id: "me"}, []string{"Bearer " + token})
	if err != nil || profile.message == nil {
		t.Fatalf("read the profile: %v, %v", profile, err)
	}
	got := profile.message.(*gatehousev1.ReadUserResponse).GetUser()
	if want := made.message.(*gatehousev1.CreateUserResponse).GetUser(); !proto.Equal(got, want) || got.GetEmail() != email {
		t.Errorf("the profile is %v, want %v", got, want)
	}
}

// TestRestart checks that data and tokens are good after a restart.
func TestRestart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	before := startUp(t, data, cheapHashes...)
	user := signUp(t, before, "ada@example.com")
	token := logIn(t, before, "ada@example.com")
	before.stop(t)

	after := startUp(t, data, cheapHashes...)
	got, err := readMe(t, after, token)
	if err != nil || !proto.Equal(got, user) {
		t.Errorf("after the restart the profile is %v, %v, want %v", got, err, user)
	}
	logIn(t, after, "ada@example.com")
}

// TestKill checks that a process that is killed loses nothing that was acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	before := startUp(t, data, cheapHashes...)
	user := signUp(t, before, "ada@example.com")
	token := logIn(t, before, "ada@example.com")
	before.processes[0].Kill()

	got, err := readMe(t, startUp(t, data, cheapHashes...), token)
	if err != nil || !proto.Equal(got, user) {
		t.Errorf("after the kill the profile is %v, %v, want %v", got, err, user)
	}
}

// TestTokenAudience checks that a token for another audience, or of another issuer, is rejected.
func TestTokenAudience(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	before := startUp(t, data, cheapHashes...)
	signUp(t, before, "ada@example.com")
	token := logIn(t, before, "ada@example.com")
	before.stop(t)
	for _, setting := range [][]string{{"--audience", "another"}, {"--issuer", "https://another.example"}} {
		env := startUp(t, data, append(setting, cheapHashes...)...)
		wantReason(t, env, token, "ACCESS_TOKEN_INVALID")
		env.stop(t)
	}
}

// TestTokenExpiry checks that an expired token is rejected.
func TestTokenExpiry(t *testing.T) {
	t.Parallel()
	env := startUp(t, t.TempDir(), append(cheapHashes, "--access-token-lifetime", "1s")...)
	signUp(t, env, "ada@example.com")
	token := logIn(t, env, "ada@example.com")
	testkit.Eventually(t, func() error {
		if _, err := readMe(t, env, token); err == nil {
			return errors.New("the token is still good")
		}
		return nil
	})
	wantReason(t, env, token, "ACCESS_TOKEN_EXPIRED")
}

// A change of the algorithm makes a new key; tokens of the old one stay good.
func TestSigningAlgorithm(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	before := startUp(t, data, cheapHashes...)
	signUp(t, before, "ada@example.com")
	old := logIn(t, before, "ada@example.com")
	before.stop(t)

	env := startUp(t, data, append(cheapHashes, "--signing-algorithm", "RS256")...)
	for _, token := range []string{old, logIn(t, env, "ada@example.com")} {
		if _, err := readMe(t, env, token); err != nil {
			t.Error(err)
		}
	}
	keys, err := gatehousev1.NewKeyServiceClient(env.conn).ListKeys(callContext(t), &gatehousev1.ListKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var algorithms []string
	for _, key := range keys.GetKeys() {
		algorithms = append(algorithms, key.GetAlg())
	}
	if diff := cmp.Diff([]string{"RS256", "ES256"}, algorithms); diff != "" {
		t.Errorf("algorithms (-want +got):\n%s", diff)
	}
}

func wantReason(t *testing.T, env *testEnv, token, want string) {
	t.Helper()
	for name, call := range transports {
		got, err := call(callContext(t), env, "UserService/ReadUser",
			&gatehousev1.ReadUserRequest{Id: "me"}, []string{"Bearer " + token})
		if err != nil {
			t.Fatal(err)
		}
		if reason, _ := details(t, got); reason != want {
			t.Errorf("%s: reason is %q, want %q", name, reason, want)
		}
	}
}

// TestConcurrentSignUps checks that one of fifty concurrent sign-ups with one address succeeds.
func TestConcurrentSignUps(t *testing.T) {
	t.Parallel()
	for name, start := range setups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := start(t, cheapHashes...)
			client := gatehousev1.NewUserServiceClient(env.conn)
			outcomes := make(chan codes.Code, 50)
			for range cap(outcomes) {
				go func() {
					request := &gatehousev1.CreateUserRequest{Email: "one@example.com", FullName: "One", Password: adasPassword}
					_, err := client.CreateUser(callContext(t), request)
					for status.Code(err) == codes.ResourceExhausted { // More than the hashing takes on at once: come back.
						<-time.After(50 * time.Millisecond)
						_, err = client.CreateUser(callContext(t), request)
					}
					outcomes <- status.Code(err)
				}()
			}
			got := map[codes.Code]int{}
			for range cap(outcomes) {
				got[<-outcomes]++
			}
			if diff := cmp.Diff(map[codes.Code]int{codes.OK: 1, codes.AlreadyExists: 49}, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRedisDown checks that answers are right while Redis is down.
func TestRedisDown(t *testing.T) {
	t.Parallel()
	env := startThree(t, cheapHashes...)
	user := signUp(t, env, "ada@example.com")
	token := logIn(t, env, "ada@example.com")
	env.redis.Kill()
	for range 50 {
		if got, err := readMe(t, env, token); err != nil || !proto.Equal(got, user) {
			t.Fatalf("without Redis the profile is %v, %v", got, err)
		}
	}
	signUp(t, env, "bob@example.com")
	if err := env.redis.Start(); err != nil {
		t.Fatal(err)
	}
	awaitCached(t, env, token, user.GetId())
}

// awaitCached reads a profile until it is in Redis.
func awaitCached(t *testing.T, env *testEnv, token, userID string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if _, err := readMe(t, env, token); err != nil {
			t.Fatal(err)
		}
		keys := strings.Join(slices.Collect(maps.Keys(env.redisEntries(t))), " ")
		if !strings.Contains(keys, "user:{"+userID+"}") || !strings.Contains(keys, "session:{"+userID+"}") {
			return errors.New("the profile and the session are not in Redis")
		}
		return nil
	})
}

// The database goes away and comes back: nobody has to restart anything. Meanwhile what needs it is UNAVAILABLE, in
// words that hold nothing of the driver's, and profiles in the cache are still served to tokens of known keys.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	env := startReplicas(t, cluster.NewPrivateInfra(t, binary), 1, cheapHashes...)[0]
	user := signUp(t, env, "ada@example.com")
	token := logIn(t, env, "ada@example.com")
	awaitCached(t, env, token, user.GetId()) // From here on the gateway and the cache have the public keys, too.
	env.mariadb.Kill()
	for name, call := range transports {
		got, err := call(callContext(t), env, "SessionService/CreateSession",
			&gatehousev1.CreateSessionRequest{Email: "ada@example.com", Password: adasPassword}, nil)
		if err != nil {
			t.Fatal(err)
		}
		corpusCase{code: codes.Unavailable, reason: "UNAVAILABLE"}.compare(t, name, got)
		if text := got.status.GetMessage(); text != "the service is temporarily unavailable: try again later" {
			t.Errorf("%s: the message is %q", name, text)
		}
	}
	if got, err := readMe(t, env, token); err != nil || !proto.Equal(got, user) {
		t.Errorf("without the database the profile is %v, %v", got, err)
	}
	readiness := func(want int) func() error {
		return func() error {
			response, err := http.Get(env.rest + "/readyz")
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != want {
				return fmt.Errorf("/readyz is %s", response.Status)
			}
			return nil
		}
	}
	testkit.Eventually(t, readiness(http.StatusServiceUnavailable))
	if err := env.mariadb.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, readiness(http.StatusOK))
	logIn(t, env, "ada@example.com")
}

// TestHealth checks that the health of the gateway follows that of the services behind it.
func TestHealth(t *testing.T) {
	t.Parallel()
	env := startThree(t, cheapHashes...)
	client := healthpb.NewHealthClient(env.conn)
	serving := func(service string) healthpb.HealthCheckResponse_ServingStatus {
		response, err := client.Check(callContext(t), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return response.GetStatus()
	}
	if got := serving(""); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health is %v", got)
	}
	for _, part := range []string{"gatehouse.cache", "gatehouse.cache.backend", "gatehouse.cache.feed", "gatehouse.store"} {
		testkit.Eventually(t, func() error { return wantHealth(serving(part), healthpb.HealthCheckResponse_SERVING) })
	}
	env.redis.Kill()
	testkit.Eventually(t, func() error {
		return wantHealth(serving("gatehouse.cache.backend"), healthpb.HealthCheckResponse_NOT_SERVING)
	})
	const cacheProcess, storeProcess = 1, 0
	env.processes[cacheProcess].Kill()
	testkit.Eventually(t, func() error {
		return wantHealth(serving("gatehouse.cache"), healthpb.HealthCheckResponse_NOT_SERVING)
	})
	if err := wantHealth(serving(""), healthpb.HealthCheckResponse_SERVING); err != nil {
		t.Errorf("without a cache: %v", err) // It is gone past.
	}
	env.processes[storeProcess].Kill()
	testkit.Eventually(t, func() error { return wantHealth(serving(""), healthpb.HealthCheckResponse_NOT_SERVING) })
	response, err := http.Get(env.rest + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz is %s", response.Status)
	}
}

func wantHealth(got, want healthpb.HealthCheckResponse_ServingStatus) error {
	if got != want {
		return fmt.Errorf("health is %v, not %v", got, want)
	}
	return nil
}
