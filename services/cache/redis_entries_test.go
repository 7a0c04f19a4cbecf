//go:build servers

package cache_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache"
)

func TestRedisEntries(t *testing.T) {
	t.Parallel()
	// What only admins may see is in every answer of the store, and in nothing that is kept, whatever was called.
	t.Run("app_metadata_is_not_cached", func(t *testing.T) {
		t.Parallel()
		env, _, client := newRedisEnvOf(t, 2)
		for i, ways := range []map[string]revocation{ends, updates} {
			for name, way := range ways {
				fix := env.newFixtureOf(t, rand.Text()+"@example.com")
				if err := way.end(t, fix, env.replicas[i]); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				_, err := env.users.ReadUser(as(t.Context(), env.admin), &gatehousev1.ReadUserRequest{Id: fix.user})
				if gone := env.store.user(fix.user) == nil; gone != (err != nil) {
					t.Errorf("%s: %v", name, err)
				}
				keys := client.Keys(t.Context(), "*").Val()
				for _, key := range keys {
					wantNoSecret(t, key, client.Get(t.Context(), key).Val(), []string{forAdmins, "tier"})
				}
				if len(keys) == 0 {
					t.Errorf("%s: nothing is kept at all", name)
				}
			}
		}
	})
	t.Run("invalid_entries_are_replaced", func(t *testing.T) {
		t.Parallel()
		type poison func(ctx context.Context, client *redis.Client, key, other string) error
		overwrite := func(change func(entry, other string) string) poison {
			return func(ctx context.Context, client *redis.Client, key, other string) error {
				entry, others := client.Get(ctx, key).Val(), client.Get(ctx, other).Val()
				return client.Set(ctx, key, change(entry, others), redis.KeepTTL).Err()
			}
		}
		env, _, client := newRedisEnv(t)
		newest := strings.Repeat("\xff", 8)   // A rank that nothing is higher than.
		tombstone := "\x00\x1f" + newest[:6]  // That of a session that has ended.
		invalidated := tombstone[:7] + "\xfd" // That of one that may have changed.
		for name, poison := range map[string]poison{
			"another type": func(ctx context.Context, client *redis.Client, key, _ string) error {
				if err := client.Del(ctx, key).Err(); err != nil {
					return err
				}
				return client.LPush(ctx, key, "x").Err()
			},
			"nothing":                      overwrite(func(string, string) string { return "" }),
			"half a rank":                  overwrite(func(entry, _ string) string { return entry[:4] }),
			"only a rank":                  overwrite(func(entry, _ string) string { return entry[:8] }),
			"half a message":               overwrite(func(entry, _ string) string { return entry[:len(entry)/2] }),
			"all but the version":          overwrite(func(entry, _ string) string { return entry[:len(entry)-4] }),
			"no message":                   overwrite(func(entry, _ string) string { return entry[:8] + "\xff\xff\xff" }),
			"no message, newest":           overwrite(func(string, string) string { return newest + "\xff\xff\xff" }),
			"another's":                    overwrite(func(_, other string) string { return other }),
			"another's, newest":            overwrite(func(_, other string) string { return newest + other[8:] }),
			"another's, ended":             overwrite(func(_, other string) string { return tombstone + other[8:] }),
			"the same, newest":             overwrite(func(entry, _ string) string { return newest + entry[8:] }),
			"the same, ended":              overwrite(func(entry, _ string) string { return tombstone + entry[8:] }),
			"the same, invalidated":        overwrite(func(entry, _ string) string { return invalidated + entry[8:] }),
			"an end of nobody":             overwrite(func(string, string) string { return tombstone }),
			"the end of all ranks":         overwrite(func(string, string) string { return newest }),
			"the rank after invalidations": overwrite(func(string, string) string { return tombstone[:7] + "\xfe" }),
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
	})
	// No password, hash or token is in Redis or in the log, whatever went through the cache.
	t.Run("contain_no_secret", func(t *testing.T) {
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
	})
	t.Run("connections_are_closed_in_the_end", func(t *testing.T) {
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
	})
	t.Run("expire_after_the_TTL", func(t *testing.T) {
		t.Parallel()
		env, _, client := newRedisEnv(t)
		id := env.store.put("ada@example.com")
		env.read(t, id)
		for _, key := range []string{"user:{" + id + "}", "session:{" + id + "}:" + env.store.session(env.tokens[id]).GetId()} {
			left := client.PTTL(t.Context(), redisKey(t, client, key)).Val()
			if left < cache.DefaultTTL*9/10-time.Minute/2 || left > cache.DefaultTTL*11/10 {
				t.Errorf("%s expires in %s, want %s give or take a tenth", key, left, cache.DefaultTTL)
			}
		}
	})
	// What a sign-up with a request id answers may be what it answered long ago.
	t.Run("a_repeated_sign_up_is_not_cached", func(t *testing.T) {
		t.Parallel()
		env, _, client := newRedisEnv(t)
		env.read(t, env.store.put("grace@example.com")) // The run of the Redis is known.
		before := client.DBSize(t.Context()).Val()
		_, err := env.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{
			Email: "ada@example.com", FullName: "Ada Lovelace", Password: password, RequestId: "1",
		})
		if err != nil {
			t.Fatal(err)
		}
		if kept := client.DBSize(t.Context()).Val() - before; kept != 0 {
			t.Errorf("%d entries were kept", kept)
		}
		env.signUp(t, "edsger@example.com")
		if kept := client.DBSize(t.Context()).Val() - before; kept != 1 {
			t.Errorf("of another sign-up %d entries were kept", kept)
		}
	})
}

func TestRedisHit(t *testing.T) {
	t.Parallel()
	t.Run("an_id_in_any_case_has_the_same_keys", func(t *testing.T) {
		t.Parallel()
		env, _, client := newRedisEnv(t)
		id := env.store.put("ada@example.com")
		ctx := as(t.Context(), env.store.token(id))
		for _, spelt := range []string{id, strings.ToUpper(id), authn.Me} {
			response, err := env.users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: spelt})
			if err != nil || response.GetUser().GetId() != id {
				t.Errorf("read %s: %v, error %v", spelt, response, err)
			}
		}
		env.wantReads(t, 1)
		if n := client.DBSize(t.Context()).Val(); n != 2 {
			t.Errorf("a user and a session have %d keys", n)
		}
	})
	t.Run("is_not_looked_up_without_a_valid_token", func(t *testing.T) {
		t.Parallel()
		env, _, client := newRedisEnv(t)
		before := commands(t, client)
		_, err := env.users.ReadUser(t.Context(), &gatehousev1.ReadUserRequest{Id: authn.Me})
		wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING)
		_, err = env.me(t.Context(), "forged")
		wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID)
		env.wantReads(t, 0)
		if asked := commands(t, client); asked != before {
			t.Errorf("the Redis was asked %d times", asked-before)
		}
	})
	// One round trip to the Redis admits the caller and gives the answer.
	t.Run("is_one_round_trip", func(t *testing.T) {
		t.Parallel()
		env, _, client := newRedisEnv(t)
		id := env.store.put("ada@example.com")
		env.read(t, id)
		ctx := as(t.Context(), env.tokens[id])
		for name, call := range map[string]func() error{
			"ReadUser": func() error {
				_, err := env.users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: authn.Me})
				return err
			},
			"ReadSession": func() error {
				_, err := env.sessions.ReadSession(ctx, &gatehousev1.ReadSessionRequest{Id: authn.Current})
				return err
			},
		} {
			before := commands(t, client)
			if err := call(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if asked := commands(t, client) - before; asked != 1 {
				t.Errorf("%s made %d round trips", name, asked)
			}
		}
		env.wantReads(t, 1)
	})
}

// readUntilStored reads until Redis has the user and the session: a slow answer is not cached.
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

func wantNoSecret(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds %q", where, secret)
		}
	}
}

var ofEntries = regexp.MustCompile(`cmdstat_(mget|evalsha|eval|get|set|del):calls=(\d+)`)

// commands is how many commands about entries the Redis has had, those of scripts as well.
func commands(t *testing.T, client *redis.Client) int {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, found := range ofEntries.FindAllStringSubmatch(info, -1) {
		calls, err := strconv.Atoi(found[2])
		if err != nil {
			t.Fatal(err)
		}
		total += calls
	}
	return total
}
