package redisbackend

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

var (
	// errOver says that a connection leads to another process than the run's.
	errOver = errors.New("the Redis was restarted")

	errForged = errors.New("what was forged comes back as often as it is replaced")

	errNoEpoch = errors.New("the epoch of the store is not known yet")

	errNoRunID = errors.New("INFO does not tell the run_id and the master_replid of the Redis")
)

// run is one life of a Redis process, from its start to its end, in one epoch, and the connections to it. All of them
// lead to the same process: one that does not is refused. So what is done by a run is done by that process or not at
// all, and no order of failures and answers can make the entries of one life pass for those of another.
type run struct {
	epoch  string
	client *redis.Client
	seal   seal
	id     atomic.Pointer[string] // nil before the first connection
}

func newRun(location Location, password string, seal seal, epoch string) *run {
	r := &run{epoch: epoch, seal: seal}
	options := &redis.Options{
		Addr:      location.Address(),
		DB:        location.Database,
		Password:  password,
		OnConnect: r.meet,

		DialTimeout:           dialTimeout,
		DialerRetries:         1,
		ReadTimeout:           writeTimeout,
		WriteTimeout:          writeTimeout,
		ContextTimeoutEnabled: true,
		MaxRetries:            retries,
		PoolSize:              poolSize,
		MaxActiveConns:        poolSize,
		PoolTimeout:           writeTimeout,

		// Neither CLIENT SETINFO nor CLIENT MAINT_NOTIFICATIONS: an older Redis and an ACL of few commands refuse them.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if location.TLS {
		options.TLSConfig = &tls.Config{ServerName: location.Host, MinVersion: tls.VersionTLS12}
	}
	options.Dialer = honest(redis.NewDialer(options))
	r.client = redis.NewClient(options)
	return r
}

// meet asks a new connection which process it leads to, and in which life as a master that process is. A replica keeps
// its run_id when it is made the master, and what it had of its master before: a fail-over and its way back would lead
// to the same process with old entries. Each promotion begins another master_replid.
func (r *run) meet(ctx context.Context, conn *redis.Conn) error {
	lives := sha256.New()
	lives.Write([]byte(r.epoch + "\n"))
	for _, wanted := range []struct{ section, field string }{{"server", "run_id"}, {"replication", "master_replid"}} {
		info, err := conn.Info(ctx, wanted.section).Result()
		if err != nil {
			return fmt.Errorf("ask for the run: %w", err)
		}
		_, after, _ := strings.Cut(info, "\n"+wanted.field+":")
		value, _, _ := strings.Cut(after, "\r\n")
		if value == "" {
			return errNoRunID
		}
		lives.Write([]byte(value + "\n"))
	}
	id := hex.EncodeToString(lives.Sum(nil))[:idLength]
	if r.id.CompareAndSwap(nil, &id) || *r.id.Load() == id {
		return nil
	}
	return errOver
}

// know makes sure that the id is known.
func (r *run) know(ctx context.Context) error {
	if r.epoch == "" {
		return errNoEpoch
	}
	if r.id.Load() != nil {
		return nil
	}
	return r.client.Ping(ctx).Err()
}

// key is where an entry is in this run.
func (r *run) key(key string) string { return namespace + *r.id.Load() + ":" + key }

func (r *run) keys(keys []string) []string {
	ours := make([]string, len(keys))
	for i, key := range keys {
		ours[i] = r.key(key)
	}
	return ours
}

// chosen gives what is to be stored in this run.
func (r *run) chosen(lease entry.Lease, writes []entry.Write) (storing, error) {
	var s storing
	stands := lease == entry.Lease(*r.id.Load())
	for _, write := range writes {
		if err := write.Check(); err != nil {
			return s, err
		}
		if chosen := write.Chosen(stands); chosen != nil {
			key := r.key(write.Key)
			s.add(key, r.seal.close(key, chosen), write.TTL.Milliseconds(), "")
		}
	}
	return s, nil
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// honest makes a dialer whose failures the pool does not see, but only who uses the connection. After as many failures
// as it has connections, the pool would answer for up to a second that nothing can be reached without trying. The Redis
// may be back by then, and other services believe what it says: a write that gave up unsent would be missed there.
func honest(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			near, far := net.Pipe()
			return unreachable{Conn: near, cause: err}, far.Close()
		}
		return conn, nil
	}
}

// unreachable is a connection that could not be made.
type unreachable struct {
	net.Conn

	cause error
}

func (u unreachable) Read([]byte) (int, error)  { return 0, u.cause }
func (u unreachable) Write([]byte) (int, error) { return 0, u.cause }
