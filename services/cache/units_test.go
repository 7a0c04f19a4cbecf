package cache

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const adaID = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"

func ada(version int64) *gatehousev1.User {
	return &gatehousev1.User{Id: adaID, Email: "ada@example.com", FullName: "Ada Lovelace", Version: version}
}

func TestConfigNamesAllFaults(t *testing.T) {
	t.Parallel()
	good := Config{Backend: BackendRedis, RedisURL: "redis://cache:6379/2", Issuer: "issuer", Audience: "audience"}
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string // parts of the message; none means valid
	}{
		"redis":            {func(*Config) {}, nil},
		"redis with TLS":   {func(c *Config) { c.RedisURL = "rediss://cache" }, nil},
		"memory":           {func(c *Config) { c.Backend, c.RedisURL = BackendMemory, "" }, nil},
		"everything wrong": {func(c *Config) { *c = Config{TTL: -1} }, []string{"backend", "TTL", "issuer", "audience"}},
		"short TTL":        {func(c *Config) { c.TTL = time.Millisecond }, []string{"at least 1s"}},
		"no URL":           {func(c *Config) { c.RedisURL = "" }, []string{"redis://host:port"}},
		"no host":          {func(c *Config) { c.RedisURL = "redis://:6379" }, []string{"redis://host:port"}},
		"another scheme":   {func(c *Config) { c.RedisURL = "http://cache:6379" }, []string{"redis://host:port"}},
		"a query":          {func(c *Config) { c.RedisURL = "redis://cache?password=hush" }, []string{"redis://host:port"}},
		"a named database": {func(c *Config) { c.RedisURL = "redis://cache/hush" }, []string{"database"}},
		"a password":       {func(c *Config) { c.RedisURL = "redis://:hush@cache" }, []string{"by its own setting"}},
		"a user":           {func(c *Config) { c.RedisURL = "redis://hush@cache" }, []string{"by its own setting"}},
		"a broken password": {
			func(c *Config) { c.RedisURL = "redis://cache:hush%zz" }, []string{"redis://host:port"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			test.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (test.want == nil) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("error %q tells the secret", err)
			}
		})
	}
}

func TestDecodeTakesOnlyWhatEncodeMade(t *testing.T) {
	t.Parallel()
	entry, err := encode(ada(3))
	if err != nil {
		t.Fatal(err)
	}
	user, err := decode(entry, adaID)
	if err != nil || !proto.Equal(user, ada(3)) {
		t.Fatalf("decode: %v, error %v", user, err)
	}
	for length := range entry {
		if user, err := decode(entry[:length], adaID); err == nil {
			t.Errorf("the first %d of %d bytes were taken for %v", length, len(entry), user)
		}
	}
	if _, err := decode(entry, "01970e2c-6f3a-7c41-9d1b-000000000000"); err == nil {
		t.Error("another user's entry was taken")
	}
	if _, err := decode(append(entryOf(4, ""), entry[versionLength:]...), adaID); err == nil {
		t.Error("an entry of two versions was taken")
	}
}

func FuzzDecode(f *testing.F) {
	entry, err := encode(ada(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(entry)
	f.Add(entry[:12])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, entry []byte) {
		user, err := decode(entry, adaID)
		if err == nil && (user.GetId() != adaID || user.GetVersion() < 1) {
			t.Errorf("%x was taken for %v", entry, user)
		}
	})
}

func TestEncodeRefusesWhatHasNoIdentity(t *testing.T) {
	t.Parallel()
	for _, user := range []*gatehousev1.User{nil, {Version: 1}, {Id: adaID}, {Id: adaID, Version: -1}} {
		if entry, err := encode(user); err == nil {
			t.Errorf("%v became %x", user, entry)
		}
	}
}

func TestJitterStaysWithinATenth(t *testing.T) {
	t.Parallel()
	low, high := time.Hour, time.Duration(0)
	for range 10_000 {
		ttl := jitter(10 * time.Minute)
		low, high = min(low, ttl), max(high, ttl)
	}
	if low < 9*time.Minute || high > 11*time.Minute || high-low < time.Minute {
		t.Errorf("10m became %s to %s", low, high)
	}
}

// deadBackend fails every operation while it is dead, and counts them.
type deadBackend struct {
	dead       bool
	operations int
}

func (d *deadBackend) Get(context.Context, string) ([]byte, bool, error) {
	return nil, false, d.answer()
}
func (d *deadBackend) Remove(context.Context, string, []byte) error { return d.answer() }
func (d *deadBackend) Close() error                                 { return nil }

func (d *deadBackend) SetIfNewer(context.Context, string, []byte, time.Duration) error {
	return d.answer()
}

func (d *deadBackend) answer() error {
	d.operations++
	if d.dead {
		return errors.New("it is dead")
	}
	return nil
}

func TestBreakerLeavesADeadBackendAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		dead := &deadBackend{dead: true}
		b := newBreaker(dead, slog.New(slog.NewTextHandler(&logged, nil)))
		for range 100 {
			if _, _, err := b.Get(t.Context(), "key"); err == nil {
				t.Fatal("no error")
			}
		}
		if dead.operations != tripAfter {
			t.Errorf("a dead backend was asked %d times, want %d", dead.operations, tripAfter)
		}
		if err := b.SetIfNewer(t.Context(), "key", nil, time.Minute); !errors.Is(err, errOpen) {
			t.Errorf("set: %v, want %v", err, errOpen)
		}
		if err := b.Remove(t.Context(), "key", nil); !errors.Is(err, errOpen) {
			t.Errorf("remove: %v, want %v", err, errOpen)
		}

		for range 10 { // Probes that fail.
			time.Sleep(probeInterval + time.Millisecond)
			_, _, _ = b.Get(t.Context(), "key")
			_, _, _ = b.Get(t.Context(), "key")
		}
		if dead.operations != tripAfter+10 {
			t.Errorf("a dead backend was asked %d times, want %d", dead.operations, tripAfter+10)
		}

		dead.dead = false
		time.Sleep(probeInterval + time.Millisecond)
		if _, _, err := b.Get(t.Context(), "key"); err != nil {
			t.Errorf("get from a backend that is back: %v", err)
		}
		lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "it is dead") || !strings.Contains(lines[1], "is back") {
			t.Errorf("logged %q", lines)
		}
	})
}

func TestBreakerOpensWhenHalfFails(t *testing.T) {
	t.Parallel()
	dead := new(deadBackend)
	b := newBreaker(dead, slog.New(slog.DiscardHandler))
	for i := range 100 {
		dead.dead = i%2 == 1
		_, _, _ = b.Get(t.Context(), "key")
	}
	if dead.operations != minSample {
		t.Errorf("a backend of which half fails was asked %d times, want %d", dead.operations, minSample)
	}
}

// A caller who gives up must neither stop what belongs to a committed write nor count against the backend.
func TestBreakerDetachesFromTheCaller(t *testing.T) {
	t.Parallel()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	b := newBreaker(heedsContext{}, slog.New(slog.DiscardHandler))
	for range 2 * tripAfter {
		if err := b.SetIfNewer(gone, "key", nil, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
}

type heedsContext struct{ backend }

func (heedsContext) SetIfNewer(ctx context.Context, _ string, _ []byte, _ time.Duration) error {
	return ctx.Err()
}

// A flight runs in a goroutine of its own, where no interceptor stands between a panic and the end of the process.
func TestPanicInAFlightIsAnErrorOfTheCall(t *testing.T) {
	t.Parallel()
	u := &users{ // without a store
		entries: newEntries(new(deadBackend), time.Minute, slog.New(slog.DiscardHandler)),
	}
	_, err := u.fly(t.Context(), adaID)
	if reason := apierr.ReasonOf(apierr.Status(err)); reason != gatehousev1.ErrorReason_ERROR_REASON_INTERNAL {
		t.Errorf("error %v, want an internal one", err)
	}
}

func TestSparseLogWritesOneLineAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		s := newSparseLog(slog.New(slog.NewTextHandler(&logged, nil)), "it failed")
		for range 100 {
			s.report(t.Context(), errors.New("boom"))
			time.Sleep(time.Second)
		}
		if lines := strings.Count(logged.String(), "\n"); lines != 2 {
			t.Errorf("100 reports in 100 s made %d lines, want 2:\n%s", lines, &logged)
		}
		if !strings.Contains(logged.String(), "untold_before=59") {
			t.Errorf("how many were left out is missing:\n%s", &logged)
		}
	})
}
