package cache

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/redisbackend"
)

// The backends that Config.Backend may name.
const (
	BackendRedis  = "redis"  // shared by all cache services
	BackendMemory = "memory" // for a single cache service
)

// KeySize is the size of Config.Key, in bytes.
const KeySize = 32

const (
	// DefaultTTL is the default of Config.TTL. It bounds for how long inactive users occupy memory, and for how long an
	// entry could be wrong that nothing has corrected.
	DefaultTTL = 10 * time.Minute

	// maxTTL bounds for how long an entry could be wrong.
	maxTTL = 24 * time.Hour

	// minTTL is longer than it takes to fetch an entry.
	minTTL = time.Second
)

// Config is the configuration of a cache service.
type Config struct {
	// Backend stores the entries: BackendRedis or BackendMemory.
	Backend string
	// RedisURL is the URL of the Redis: redis://host:port[/database], redis+sentinel://master@host:port,…[/database] with
	// the addresses of Sentinels, redis+cluster://host:port,… with those of some nodes; rediss for TLS. It must not hold a
	// password.
	RedisURL string
	// RedisUser is the ACL user for the Redis, or "" for the default user.
	RedisUser string
	// RedisPassword is the password of the Redis and its Sentinels, or "" if they need none.
	RedisPassword string
	// Key is the secret with which cache services authenticate their entries in Redis: KeySize bytes, the same for all. It
	// is not used with BackendMemory.
	Key []byte
	// ServiceToken is the credential of the callers of this service. The connection to the store has the same.
	ServiceToken string
	// SecondServiceToken is accepted as well, unless it is empty.
	SecondServiceToken string
	// TTL is the time to live of an entry, give or take a tenth: a second to a day. 0 is DefaultTTL.
	TTL time.Duration
	// Issuer is the `iss` that access tokens must have.
	Issuer string
	// Audience is the `aud` that access tokens must have.
	Audience string
	// Metrics receives the metrics of the service, unless it is nil.
	Metrics prometheus.Registerer
}

// Validate returns all errors of the configuration. It never quotes the URL or the password.
func (c Config) Validate() error {
	var keyErr error
	if c.Backend == BackendRedis && len(c.Key) != KeySize {
		keyErr = fmt.Errorf("the cache key has %d bytes, not %d", len(c.Key), KeySize)
	}
	return errors.Join(keyErr, authn.ValidateServiceToken(c.ServiceToken),
		authn.ValidateSecondServiceToken(c.SecondServiceToken), c.ValidateSettings())
}

// ValidateSettings returns all errors except those of the key and the service tokens.
func (c Config) ValidateSettings() error {
	var errs []error
	switch c.Backend {
	case BackendRedis:
		if _, err := redisbackend.ParseURL(c.RedisURL); err != nil {
			errs = append(errs, err)
		}
		if c.RedisUser != "" && c.RedisPassword == "" {
			errs = append(errs, errors.New("the Redis user has no password"))
		}
	case BackendMemory:
	default:
		errs = append(errs, fmt.Errorf("the cache backend must be %s or %s, not %q",
			BackendRedis, BackendMemory, c.Backend))
	}
	if c.TTL != 0 && (c.TTL < minTTL || c.TTL > maxTTL) {
		errs = append(errs, fmt.Errorf("the cache TTL must be %s to %s, not %s", minTTL, maxTTL, c.TTL))
	}
	return errors.Join(append(errs, authn.ValidateNames(c.Issuer, c.Audience))...)
}

func (c Config) ttl() time.Duration {
	if c.TTL == 0 {
		return DefaultTTL
	}
	return c.TTL
}
