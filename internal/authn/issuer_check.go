package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	// clockWarning is how far the clock of the stores may be off before that is reported: half of what
	// docs/guarantees.md says is survived, and more than clocks that are synchronized ever are.
	clockWarning = 2 * time.Minute

	// agreementAge is how long the answer of a store that agrees outweighs others that do not, and how long a
	// disagreement is reported after it was last seen: some fetches of the keys, which may go to any store.
	agreementAge = 3 * (refreshInterval + fetchTimeout)

	// disagreementLogInterval is the least time between two lines about the same setting.
	disagreementLogInterval = time.Minute
)

// IssuerSettings are what a store issues access tokens with.
type IssuerSettings struct {
	Issuer, Audience string
	Now              time.Time     // by the clock that `iat` and `exp` are from
	Lifetime         time.Duration // from `iat` to `exp`
}

// The metadata keys by which a store reports its IssuerSettings to other services, beside its public keys. Names may
// have any character, so that they are sent as binary.
const (
	issuerKey   = "x-gatehouse-issuer-bin"
	audienceKey = "x-gatehouse-audience-bin"
	timeKey     = "x-gatehouse-time"
	lifetimeKey = "x-gatehouse-token-lifetime"
)

// Metadata returns the settings as response headers.
func (s IssuerSettings) Metadata() metadata.MD {
	return metadata.Pairs(issuerKey, s.Issuer, audienceKey, s.Audience,
		timeKey, s.Now.UTC().Format(time.RFC3339Nano), lifetimeKey, s.Lifetime.String())
}

// issuerSettingsFrom reads response headers. It reports whether they hold settings: those of an older store do not.
func issuerSettingsFrom(header metadata.MD) (settings IssuerSettings, ok bool) {
	one := func(key string) string {
		if values := header.Get(key); len(values) == 1 {
			return values[0]
		}
		return ""
	}
	now, timeErr := time.Parse(time.RFC3339Nano, one(timeKey))
	lifetime, lifetimeErr := time.ParseDuration(one(lifetimeKey))
	return IssuerSettings{Issuer: one(issuerKey), Audience: one(audienceKey), Now: now, Lifetime: lifetime},
		timeErr == nil && lifetimeErr == nil
}

// disagreement is a setting that differs between this service and a store.
type disagreement struct {
	setting     string // constant, so that it can be alerted on
	here, there string
	refuses     bool // whether this service refuses what the store issues, or the store this service
}

func (d disagreement) String() string {
	return fmt.Sprintf("%s: here %s, at the store %s", d.setting, d.here, d.there)
}

// IssuerCheck compares what a service verifies access tokens with to what the stores issue them with. Where they differ
// every log-in succeeds, and every call after it is refused. It is safe for concurrent use.
type IssuerCheck struct {
	issuer, audience string
	now              func() time.Time
	log              *slog.Logger

	mu       sync.Mutex
	agreed   time.Time      // when a store last agreed
	differed time.Time      // when one last did not
	latest   []disagreement // what differed then
	logged   map[string]time.Time
}

// NewIssuerCheck returns a check for a service that verifies tokens of issuer for audience.
func NewIssuerCheck(issuer, audience string, now func() time.Time, log *slog.Logger) *IssuerCheck {
	return &IssuerCheck{issuer: issuer, audience: audience, now: now, log: log, logged: map[string]time.Time{}}
}

// FetchKeys returns a function that fetches the public keys from a store and checks what it reports beside them.
func (c *IssuerCheck) FetchKeys(store grpc.ClientConnInterface) FetchKeys {
	client := gatehousev1.NewKeyServiceClient(store)
	return func(ctx context.Context) (*gatehousev1.ListKeysResponse, error) {
		var header metadata.MD
		sent := c.now()
		keys, err := client.ListKeys(ctx, &gatehousev1.ListKeysRequest{}, grpc.Header(&header))
		switch {
		case err == nil:
			if settings, ok := issuerSettingsFrom(header); ok {
				c.record(ctx, c.compare(settings, sent, c.now()))
			}
		case errors.Is(err, ErrServiceCredentialRefused):
			c.record(ctx, []disagreement{{"service token", "one", "another", true}})
		}
		return keys, err
	}
}

// compare returns what differs. The settings were made between sent and received, by this service's clock.
func (c *IssuerCheck) compare(settings IssuerSettings, sent, received time.Time) []disagreement {
	var found []disagreement
	if settings.Issuer != c.issuer {
		found = append(found, disagreement{"issuer", c.issuer, settings.Issuer, true})
	}
	if settings.Audience != c.audience {
		found = append(found, disagreement{"audience", c.audience, settings.Audience, true})
	}
	ahead, behind := settings.Now.Sub(received), sent.Sub(settings.Now)
	if max(ahead, behind) > clockWarning {
		// A token that is issued now must be good here: neither from the future nor expired.
		refuses := ahead > clockLeeway || behind >= settings.Lifetime
		found = append(found, disagreement{
			"clock", received.UTC().Format(time.RFC3339), settings.Now.UTC().Format(time.RFC3339), refuses,
		})
	}
	return found
}

// record remembers and logs what a store has answered.
func (c *IssuerCheck) record(ctx context.Context, found []disagreement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	refuses := false
	for _, d := range found {
		refuses = refuses || d.refuses
		if last, known := c.logged[d.setting]; known && now.Sub(last) < disagreementLogInterval {
			continue
		}
		c.logged[d.setting] = now
		level := slog.LevelWarn
		if d.refuses {
			level = slog.LevelError
		}
		c.log.Log(ctx, level, "settings disagree with the store", "setting", d.setting, "here", d.here,
			"store", d.there, "refuses_tokens", d.refuses)
	}
	if !refuses {
		c.agreed = now
	}
	switch {
	case len(found) > 0:
		c.differed, c.latest = now, found
	case len(c.latest) > 0 && now.Sub(c.differed) >= agreementAge:
		c.latest = nil
		clear(c.logged)
		c.log.InfoContext(ctx, "settings agree with the stores again")
	}
}

// Disagreements returns what differed lately between this service and a store, one text for each setting.
func (c *IssuerCheck) Disagreements() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var texts []string
	for _, d := range c.latest {
		texts = append(texts, d.String())
	}
	return texts
}

// errStoresDisagree is reported if every token that is issued is rejected.
var errStoresDisagree = errors.New("the issuer settings of this service are not those of the stores")

// Err returns an error if this service rejects what the stores issue: one disagreed, and none has agreed lately.
func (c *IssuerCheck) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.latest {
		if d.refuses && c.differed.After(c.agreed) && (c.agreed.IsZero() || c.now().Sub(c.agreed) >= agreementAge) {
			return errStoresDisagree
		}
	}
	return nil
}
