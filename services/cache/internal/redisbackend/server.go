package redisbackend

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// minMajor is the oldest major version of Redis that is used: the first whose users can be limited to the commands and
// keys of a cache service, and that serves TLS. Servers that speak its protocol name the version that they are like.
const minMajor = 6

// checkVersion returns an error if what INFO reports of a server is too old. A server that reports no version may do.
func checkVersion(info string) error {
	version := field(info, "redis_version")
	major, _, _ := strings.Cut(version, ".")
	number, err := strconv.Atoi(major)
	if err != nil || number >= minMajor {
		return nil //nolint:nilerr // a version of another form says nothing
	}
	return fmt.Errorf("the server is Redis %s, and %d.0 or later is needed", version, minMajor)
}

// evictionCheck warns of servers that do not evict: once they are full they refuse writes, and what they have stays
// outdated.
type evictionCheck struct {
	log *slog.Logger // nil where nobody wants to know

	mu     sync.Mutex
	warned map[string]string // by address: what was found
}

// inspect warns if the server of a new connection does not evict, unless it was known to be so.
func (s *shared) inspect(ctx context.Context, conn *redis.Conn) {
	if s.eviction.log == nil {
		return
	}
	info, err := conn.Info(ctx, "memory").Result()
	if err != nil {
		return // The connection will show what is wrong with it.
	}
	s.eviction.check(ctx, s.location.name(), info)
}

// name returns what to call the server in a log.
func (l *Location) name() string { return strings.Join(l.addresses, ",") }

func (e *evictionCheck) check(ctx context.Context, server, info string) {
	limit, policy := field(info, "maxmemory"), field(info, "maxmemory_policy")
	if limit == "" || policy == "" || (limit != "0" && policy != "noeviction") {
		limit, policy = "", "" // It evicts, or does not say.
	}
	found := limit + " " + policy
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.warned == nil {
		e.warned = map[string]string{}
	}
	if policy != "" && e.warned[server] != found {
		e.log.WarnContext(ctx, "Redis does not evict; set maxmemory, and maxmemory-policy allkeys-lru",
			"redis", server, "maxmemory", limit, "maxmemory_policy", policy)
	}
	e.warned[server] = found
}

// WarnOfEviction has a warning logged of each server that does not evict. It must be called before the first operation.
func (b *Backend) WarnOfEviction(log *slog.Logger) { b.shared.eviction.log = log }
