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
	BackendMemory = "memory" // for a cache service that is alone
)

// KeySize is the size of Config.Key, in bytes.
const KeySize = 32

const (
	// DefaultTTL is how long an entry is kept unless Config.TTL says otherwise. It bounds for how long memory is held by
	// users who went away, and how long an entry could be wrong that nothing has corrected.
	DefaultTTL = 10 * time.Minute

	// maxTTL bounds how long what is wrong could stay.
	maxTTL = 24 * time.Hour

	// minTTL keeps an entry for longer than it takes to fetch it.
	minTTL = time.Second
)

// Config is what an operator decides about a cache service.
type Config struct {
	// Backend is where entries are kept: BackendRedis or BackendMemory.
	Backend string
	// RedisURL is where the Redis is: redis://host:port[/database], redis+sentinel://master@host:port,…[/database] with
	// the addresses of Sentinels, redis+cluster://host:port,… with those of some nodes; rediss for TLS. It must not hold a
	// password.
	RedisURL string
	// RedisUser is the user of the Redis by its ACL, or "" for the default user.
	RedisUser string
	// RedisPassword is the password of the Redis and its Sentinels, or "" if they ask for none.
	RedisPassword string
	// Key is the secret by which cache services know their entries in Redis: KeySize bytes, the same for all. It is not
	// looked at with BackendMemory.
	Key []byte
	// ServiceToken is what callers must present to this service. The connection to the store carries the same.
	ServiceToken string
	// SecondServiceToken is accepted as well, unless it is empty.
	SecondServiceToken string
	// TTL is for how long an entry is kept, give or take a tenth: a second to a day. 0 is DefaultTTL.
	TTL time.Duration
	// Issuer is the `iss` that access tokens must have.
	Issuer string
	// Audience is the `aud` that access tokens must have.
	Audience string
	// Metrics is told what can be measured, or nil.
	Metrics prometheus.Registerer
}

// Validate names everything that is wrong. It never quotes the URL or the password.
func (c Config) Validate() error {
	var faults []error
	switch c.Backend {
	case BackendRedis:
		if _, err := redisbackend.ParseURL(c.RedisURL); err != nil {
			faults = append(faults, err)
		}
		if c.RedisUser != "" && c.RedisPassword == "" {
			faults = append(faults, errors.New("the Redis user has no password"))
		}
		if len(c.Key) != KeySize {
			faults = append(faults, fmt.Errorf("the cache key has %d bytes, not %d", len(c.Key), KeySize))
		}
	case BackendMemory:
	default:
		faults = append(faults, fmt.Errorf("the cache backend must be %s or %s, not %q",
			BackendRedis, BackendMemory, c.Backend))
	}
	if c.TTL != 0 && (c.TTL < minTTL || c.TTL > maxTTL) {
		faults = append(faults, fmt.Errorf("the cache TTL must be %s to %s, not %s", minTTL, maxTTL, c.TTL))
	}
	return errors.Join(append(faults, authn.ValidateNames(c.Issuer, c.Audience),
		authn.ValidateServiceToken(c.ServiceToken), authn.ValidateSecondServiceToken(c.SecondServiceToken))...)
}

func (c Config) ttl() time.Duration {
	if c.TTL == 0 {
		return DefaultTTL
	}
	return c.TTL
}
