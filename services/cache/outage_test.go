package cache_test

import (
	"context"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func (h *house) signUp(t *testing.T, email string) string {
	t.Helper()
	response, err := h.users.CreateUser(t.Context(),
		&gatehousev1.CreateUserRequest{Email: email, FullName: "Ada Lovelace", Password: password})
	if err != nil {
		t.Fatalf("sign up: %v", err)
	}
	if want := h.store.user(response.GetUser().GetId()); !proto.Equal(response.GetUser(), want) {
		t.Fatalf("sign up: %v, want %v", response.GetUser(), want)
	}
	return response.GetUser().GetId()
}

func TestSignUpWarmsTheCache(t *testing.T) {
	t.Parallel()
	h, _, _ := newRedisHouse(t)
	h.read(t, h.signUp(t, "ada@example.com"))
	h.wantReads(t, 0)
	_, err := h.users.CreateUser(t.Context(),
		&gatehousev1.CreateUserRequest{Email: "ada@example.com", FullName: "Ada", Password: password})
	wantError(t, err, codes.AlreadyExists, gatehousev1.ErrorReason_ERROR_REASON_EMAIL_TAKEN)
}

func TestRedisMayDieAndComeBack(t *testing.T) {
	t.Parallel()
	const reads = 200
	h, server, _ := newRedisHouse(t)
	id := h.signUp(t, "ada@example.com")
	h.read(t, id)
	h.wantReads(t, 0)

	server.Kill()
	for range reads {
		h.read(t, id)
	}
	h.wantReads(t, reads)
	h.read(t, h.signUp(t, "grace@example.com")) // Writes go through as well.

	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cache is used again", func() bool {
		before := h.store.readCount()
		h.read(t, id)
		return h.store.readCount() == before
	})
	h.wantFewWarnings(t)
}

func TestRedisMayHang(t *testing.T) {
	t.Parallel()
	const reads = 100
	h, server, _ := newRedisHouse(t)
	id := h.signUp(t, "ada@example.com")
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	for range reads {
		h.read(t, id)
	}
	h.wantReads(t, reads)
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cache is used again", func() bool {
		before := h.store.readCount()
		h.read(t, id)
		return h.store.readCount() == before
	})
	h.wantFewWarnings(t)
}

// wantFewWarnings insists that an outage was logged, but not with each request.
func (h *house) wantFewWarnings(t *testing.T) {
	t.Helper()
	log := h.logged.String()
	if warnings := strings.Count(log, `"level":"WARN"`); warnings == 0 || warnings > 5 {
		t.Errorf("the outage made %d warnings:\n%s", warnings, log)
	}
	if down := strings.Count(log, "the cache backend is down"); down != 1 {
		t.Errorf("that the backend is down is logged %d times", down)
	}
	if back := strings.Count(log, "the cache backend is back"); back != 1 {
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
	newest := strings.Repeat("\xff", 8) // A version that nothing is newer than.
	for name, poison := range map[string]poison{
		"another type": func(ctx context.Context, client *redis.Client, key, _ string) error {
			if err := client.Del(ctx, key).Err(); err != nil {
				return err
			}
			return client.LPush(ctx, key, "x").Err()
		},
		"nothing":               overwrite(func(string, string) string { return "" }),
		"half a version":        overwrite(func(entry, _ string) string { return entry[:4] }),
		"only a version":        overwrite(func(entry, _ string) string { return entry[:8] }),
		"half a message":        overwrite(func(entry, _ string) string { return entry[:len(entry)/2] }),
		"all but the version":   overwrite(func(entry, _ string) string { return entry[:len(entry)-2] }),
		"no message":            overwrite(func(entry, _ string) string { return entry[:8] + "\xff\xff\xff" }),
		"no message, newest":    overwrite(func(string, string) string { return newest + "\xff\xff\xff" }),
		"another user":          overwrite(func(_, other string) string { return other }),
		"another user, newest":  overwrite(func(_, other string) string { return newest + other[8:] }),
		"the same user, newest": overwrite(func(entry, _ string) string { return newest + entry[8:] }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _, client := newRedisHouse(t)
			id, other := h.signUp(t, "ada@example.com"), h.signUp(t, "grace@example.com")
			if err := poison(t.Context(), client, "user:{"+id+"}", "user:{"+other+"}"); err != nil {
				t.Fatal(err)
			}
			h.read(t, id)
			h.wantReads(t, 1)
			h.read(t, id)
			h.wantReads(t, 1)
			h.read(t, other)
			h.wantReads(t, 1)
		})
	}
}

// No password, hash or token is in Redis or in the log, whatever went through the cache.
func TestRedisHoldsNothingSecret(t *testing.T) {
	t.Parallel()
	h, _, client := newRedisHouse(t)
	tokens := make([]string, 0, 3)
	for _, email := range []string{"ada@example.com", "grace@example.com", "edsger@example.com"} {
		h.signUp(t, email)
		session, err := h.sessions.CreateSession(t.Context(),
			&gatehousev1.CreateSessionRequest{Email: email, Password: password})
		if err != nil {
			t.Fatalf("log in: %v", err)
		}
		tokens = append(tokens, session.GetAccessToken())
		_, err = h.users.ReadUser(as(t.Context(), session.GetAccessToken()), &gatehousev1.ReadUserRequest{Id: "me"})
		if err != nil {
			t.Fatalf("read: %v", err)
		}
	}
	_, err := h.sessions.CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: "ada@example.com", Password: "wrong " + password})
	wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_INVALID_CREDENTIALS)

	secrets := append([]string{password, "$argon2", "Bearer", "eyJ"}, tokens...)
	wantNoSecret(t, "the log", h.logged.String(), secrets)
	ours := regexp.MustCompile(`^user:\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}$`)
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
	if err := keys.Err(); err != nil || found != len(tokens) {
		t.Errorf("%d keys were found, want %d; error %v", found, len(tokens), err)
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
	var h *house
	t.Run("serve", func(t *testing.T) {
		h = newHouse(t, config(server.URL()))
		h.read(t, h.signUp(t, "ada@example.com"))
	})
	client := server.Client()
	t.Cleanup(func() { _ = client.Close() })
	eventually(t, "only the test's own connection is open", func() bool {
		return strings.Count(client.ClientList(t.Context()).Val(), "\n") == 1
	})
	runtime.KeepAlive(h) // Or the collector would have closed them.
}
