package cache_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func (env *testEnv) signUp(t *testing.T, email string) string {
	t.Helper()
	response, err := env.users.CreateUser(t.Context(),
		&gatehousev1.CreateUserRequest{Email: email, FullName: "Ada Lovelace", Password: password})
	if err != nil {
		t.Fatalf("sign up: %v", err)
	}
	if want := env.store.user(response.GetUser().GetId()); !proto.Equal(response.GetUser(), want) {
		t.Fatalf("sign up: %v, want %v", response.GetUser(), want)
	}
	return response.GetUser().GetId()
}

// logIn opens a session by this cache service.
func (r *replica) logIn(t *testing.T, email string) *gatehousev1.CreateSessionResponse {
	t.Helper()
	response, err := r.sessions.CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: email, Password: password})
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	return response
}

// untilUsed reads until the cache answers.
func (env *testEnv) readUntilCached(t *testing.T, id string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		before := env.store.readCount()
		env.read(t, id)
		if env.store.readCount() != before {
			return errors.New("the cache is not used again")
		}
		return nil
	})
}

func TestSignUpAndLogInWarmTheCache(t *testing.T) {
	t.Parallel()
	env, _, _ := newRedisEnv(t)
	// The run of a Redis is known from the first use of it: until then nothing may be kept.
	env.read(t, env.store.put("grace@example.com"))
	env.signUp(t, "ada@example.com")
	env.wantIn(t, env.store, env.logIn(t, "ada@example.com").GetAccessToken())
	env.wantReads(t, 1)
	_, err := env.users.CreateUser(t.Context(),
		&gatehousev1.CreateUserRequest{Email: "ada@example.com", FullName: "Ada", Password: password})
	wantError(t, err, codes.AlreadyExists, gatehousev1.ErrorReason_ERROR_REASON_EMAIL_TAKEN)
}

func TestRedisMayDieAndComeBack(t *testing.T) {
	t.Parallel()
	const reads = 200
	env, server, _ := newRedisEnv(t)
	id := env.signUp(t, "ada@example.com")
	env.read(t, id)
	env.wantReads(t, 1)

	server.Kill()
	for range reads {
		env.read(t, id)
	}
	env.wantReads(t, 1+reads)
	env.read(t, env.signUp(t, "grace@example.com")) // Writes go through as well.

	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	env.readUntilCached(t, id)
	env.wantFewWarnings(t)
}

func TestRedisMayHang(t *testing.T) {
	t.Parallel()
	const reads = 100
	env, server, _ := newRedisEnv(t)
	id := env.signUp(t, "ada@example.com")
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	for range reads {
		env.read(t, id)
	}
	env.wantReads(t, reads)
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	env.readUntilCached(t, id)
	env.wantFewWarnings(t)
}

// wantFewWarnings insists that an outage was logged, but not with each request.
func (env *testEnv) wantFewWarnings(t *testing.T) {
	t.Helper()
	log := env.logged.String()
	if warnings := strings.Count(log, `"level":"WARN"`); warnings == 0 || warnings > 5 {
		t.Errorf("the outage made %d warnings:\n%s", warnings, log)
	}
	if down := strings.Count(log, "cache backend is down"); down != 1 {
		t.Errorf("that the backend is down is logged %d times", down)
	}
	if back := strings.Count(log, "cache backend is back"); back != 1 {
		t.Errorf("that the backend is back is logged %d times", back)
	}
}

func TestPoisonIsNotServedAndHeals(t *testing.T) {
	t.Parallel()
	type poison func(ctx context.Context, client *redis.Client, key, other string) error
	overwrite := func(change func(entry, other string) string) poison {
		return func(ctx context.Context, client *redis.Client, key, other string) error {
			entry, others := client.Get(ctx, key).Val(), client.Get(ctx, other).Val()
			return client.Set(ctx, key, change(entry, others), redis.KeepTTL).Err()
		}
	}
	env, _, client := newRedisEnv(t)
	newest := strings.Repeat("\xff", 8)  // A rank that nothing is higher than.
	tombstone := "\x00\x1f" + newest[:6] // That of a session that has ended.
	doubtful := tombstone[:7] + "\xfd"   // That of one that may have changed.
	for name, poison := range map[string]poison{
		"another type": func(ctx context.Context, client *redis.Client, key, _ string) error {
			if err := client.Del(ctx, key).Err(); err != nil {
				return err
			}
			return client.LPush(ctx, key, "x").Err()
		},
		"nothing":               overwrite(func(string, string) string { return "" }),
		"half a rank":           overwrite(func(entry, _ string) string { return entry[:4] }),
		"only a rank":           overwrite(func(entry, _ string) string { return entry[:8] }),
		"half a message":        overwrite(func(entry, _ string) string { return entry[:len(entry)/2] }),
		"all but the version":   overwrite(func(entry, _ string) string { return entry[:len(entry)-4] }),
		"no message":            overwrite(func(entry, _ string) string { return entry[:8] + "\xff\xff\xff" }),
		"no message, newest":    overwrite(func(string, string) string { return newest + "\xff\xff\xff" }),
		"another's":             overwrite(func(_, other string) string { return other }),
		"another's, newest":     overwrite(func(_, other string) string { return newest + other[8:] }),
		"another's, ended":      overwrite(func(_, other string) string { return tombstone + other[8:] }),
		"the same, newest":      overwrite(func(entry, _ string) string { return newest + entry[8:] }),
		"the same, ended":       overwrite(func(entry, _ string) string { return tombstone + entry[8:] }),
		"the same, doubtful":    overwrite(func(entry, _ string) string { return doubtful + entry[8:] }),
		"an end of nobody":      overwrite(func(string, string) string { return tombstone }),
		"the end of all ranks":  overwrite(func(string, string) string { return newest }),
		"the rank after doubts": overwrite(func(string, string) string { return tombstone[:7] + "\xfe" }),
	} {
		for kind, key := range map[string]func(*gatehousev1.Session) string{
			"user":    func(s *gatehousev1.Session) string { return "user:{" + s.GetUserId() + "}" },
			"session": func(s *gatehousev1.Session) string { return "session:{" + s.GetUserId() + "}:" + s.GetId() },
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				id, other := env.store.put("ada@example.com"), env.store.put("grace@example.com")
				env.readUntilStored(t, client, id)
				env.readUntilStored(t, client, other)
				err := poison(t.Context(), client, redisKey(t, client, key(env.store.session(env.tokens[id]))),
					redisKey(t, client, key(env.store.session(env.tokens[other]))))
				if err != nil {
					t.Fatal(err)
				}
				before := env.store.readCount()
				env.read(t, id)
				env.wantReads(t, before+1)
				env.read(t, id)
				env.read(t, other)
				env.wantReads(t, before+1)
			})
		}
	}
}

// readUntilKept reads until Redis has the user and the session: what takes too long on a busy machine is not kept.
func (env *testEnv) readUntilStored(t *testing.T, client *redis.Client, id string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		env.read(t, id)
		for _, kind := range []string{"user", "session"} {
			if keys := client.Keys(t.Context(), "*:"+kind+":{"+id+"}*").Val(); len(keys) == 0 {
				return fmt.Errorf("the %s is not kept", kind)
			}
		}
		return nil
	})
}

// No password, hash or token is in Redis or in the log, whatever went through the cache.
func TestRedisHoldsNothingSecret(t *testing.T) {
	t.Parallel()
	env, _, client := newRedisEnv(t)
	var tokens []string
	for _, email := range []string{"ada@example.com", "grace@example.com", "edsger@example.com"} {
		env.signUp(t, email)
		session := env.logIn(t, email)
		env.wantIn(t, env.store, session.GetAccessToken())
		refreshed, err := env.refresh(t.Context(), session.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, session.GetAccessToken(), session.GetRefreshToken(), refreshed.GetAccessToken())
		changed, err := env.changePassword(t.Context(), refreshed.GetAccessToken())
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, changed.GetAccessToken(), changed.GetRefreshToken())
		if err := env.logOut(t.Context(), changed.GetAccessToken(), authn.Current); err != nil {
			t.Fatal(err)
		}
	}
	_, err := env.sessions.CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: "ada@example.com", Password: "wrong " + password})
	wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_INVALID_CREDENTIALS)

	secrets := append([]string{password, "$argon2", "Bearer", "eyJ", "ghrt_"}, tokens...)
	wantNoSecret(t, "the log", env.logged.String(), secrets)
	const id = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`
	ours := regexp.MustCompile(`^gatehouse:[0-9a-f]{16}:(user:\{` + id + `\}|session:\{` + id + `\}:` + id + `)$`)
	found := 0
	keys := client.Scan(t.Context(), 0, "*", 0).Iterator()
	for keys.Next(t.Context()) {
		found++
		if !ours.MatchString(keys.Val()) {
			t.Errorf("there is a key %q", keys.Val())
		}
		value, err := client.Get(t.Context(), keys.Val()).Result()
		if err != nil {
			t.Errorf("get %s: %v", keys.Val(), err)
		}
		wantNoSecret(t, keys.Val(), value, secrets)
	}
	if err := keys.Err(); err != nil || found != 9 {
		t.Errorf("%d keys were found, want 9; error %v", found, err)
	}
}

func wantNoSecret(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds %q", where, secret)
		}
	}
}

func TestRunClosesTheBackend(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	var env *testEnv
	t.Run("serve", func(t *testing.T) {
		env = newTestEnv(t, config(server.URL()))
		env.read(t, env.signUp(t, "ada@example.com"))
	})
	client := server.Client()
	t.Cleanup(func() { _ = client.Close() })
	testkit.Eventually(t, func() error {
		if open := strings.Count(client.ClientList(t.Context()).Val(), "\n"); open != 1 {
			return fmt.Errorf("%d connections are open, want only the test's own", open)
		}
		return nil
	})
	runtime.KeepAlive(env) // Or the collector would have closed them.
}
