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

// minMajor is the oldest major version of Redis that is supported: the first whose users can be limited to the commands
// and keys of a cache service, and that serves TLS. Compatible servers report the version that they are compatible
// with.
const minMajor = 6

// checkVersion returns an error if the version that INFO reports is too old. A server without a version is accepted.
func checkVersion(info string) error {
	version := field(info, "redis_version")
	major, _, _ := strings.Cut(version, ".")
	number, err := strconv.Atoi(major)
	if err != nil || number >= minMajor {
		return nil //nolint:nilerr // a version of another form says nothing
	}
	return fmt.Errorf("the server is Redis %s, and %d.0 or later is needed", version, minMajor)
}

// evictionCheck warns of servers that do not evict: once they are full they refuse writes, and their entries remain
// outdated.
type evictionCheck struct {
	log *slog.Logger // nil if no warnings are wanted

	mu    sync.Mutex
	found string // the last finding that was logged
}

// inspectEviction warns if the server of a new connection does not evict, unless the warning was logged before.
func (s *shared) inspectEviction(ctx context.Context, conn *redis.Conn) {
	if s.eviction.log == nil {
		return
	}
	info, err := conn.Info(ctx, "memory").Result()
	if err != nil {
		return // The next use of the connection will report its error.
	}
	s.eviction.check(ctx, strings.Join(s.location.addresses, ","), info)
}

func (e *evictionCheck) check(ctx context.Context, server, info string) {
	limit, policy := field(info, "maxmemory"), field(info, "maxmemory_policy")
	if limit == "" || policy == "" || (limit != "0" && policy != "noeviction") {
		limit, policy = "", "" // It evicts, or does not report it.
	}
	found := limit + " " + policy
	e.mu.Lock()
	defer e.mu.Unlock()
	if policy != "" && e.found != found {
		e.log.WarnContext(ctx, "Redis does not evict; set maxmemory, and maxmemory-policy allkeys-lru",
			"redis", server, "maxmemory", limit, "maxmemory_policy", policy)
	}
	e.found = found
}

// WarnOfEviction enables a warning for each server that does not evict. It must be called before the first operation.
func (b *Backend) WarnOfEviction(log *slog.Logger) { b.shared.eviction.log = log }
