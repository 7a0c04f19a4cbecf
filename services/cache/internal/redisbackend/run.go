package redisbackend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/floors"
)

var (
	// errOver says that a connection leads to another process than the run's, or that another one is the master now.
	errOver = errors.New("the Redis was restarted, or is not the master any more")

	errForged = errors.New("what was forged comes back as often as it is replaced")

	errNoEpoch = errors.New("the epoch of the store is not known yet")

	errNoRunID = errors.New("INFO does not tell the run_id, the master_replid and the role of the Redis")
)

// trust is how long a run that was confirmed is believed to go on, by who reads. Who writes has it confirmed each time.
const trust = 100 * time.Millisecond

// run is one life of a Redis process, from its start to its end, in one epoch, and the connections to it. All of them
// lead to the same process: one that does not is refused. So what is done by a run is done by that process or not at
// all, and no order of failures and answers can make the entries of one life pass for those of another.
type run struct {
	epoch   string
	client  *redis.Client
	seal    seal
	now     func() time.Time
	numbers *atomic.Uint64
	inspect func(ctx context.Context, conn *redis.Conn) // of the first connection; nil where nobody wants to know
	known   atomic.Pointer[known]                       // nil before the first connection

	// address is where the first connection led, where Sentinels say it; else nil.
	address atomic.Pointer[string]
	// shard is what the run is of in a cluster, else nil.
	shard *shard
	// confirm fails with errOver if others say that the process is not the master any more. It is nil where nobody can.
	confirm   func(ctx context.Context, r *run) error
	confirmed atomic.Int64 // when it was confirmed last, in nanoseconds since 1970
	suspect   atomic.Bool  // whether the master may be another one by now
	over      atomic.Bool  // whether nothing is to be done in this run any more
}

// known is what is known of a run from its first connection on.
type known struct {
	id     string // stands in the keys, the same for all who share the Redis
	reign  string
	number uint64 // of the runs that this process has come to know
}

// shared is what all runs of a backend have in common.
type shared struct {
	location Location
	password string
	seal     seal
	changes  *floors.Table
	now      func() time.Time
	numbers  atomic.Uint64 // how many runs are known
	eviction evictionCheck
}

// options are those of a client of one address.
func (s *shared) options(address string) *redis.Options {
	options := &redis.Options{
		Addr:     address,
		DB:       s.location.database,
		Username: s.location.user,
		Password: s.password,

		DialTimeout:           dialTimeout,
		DialerRetries:         1,
		ReadTimeout:           writeTimeout,
		WriteTimeout:          writeTimeout,
		ContextTimeoutEnabled: true,
		MaxRetries:            retries,
		PoolSize:              poolSize,
		MaxActiveConns:        poolSize,
		PipelinePoolSize:      -1, // Pipelines take the connections that there are.
		PoolTimeout:           writeTimeout,

		// Neither CLIENT SETINFO nor CLIENT MAINT_NOTIFICATIONS: an older Redis and an ACL of few commands refuse them.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if s.location.tls {
		host, _, _ := net.SplitHostPort(address)
		options.TLSConfig = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	}
	return options
}

// newRun makes a run of what the address leads to. It is not used before its other fields are set.
func (s *shared) newRun(epoch, address string) *run {
	r := &run{epoch: epoch, seal: s.seal, now: s.now, numbers: &s.numbers, inspect: s.inspect}
	options := s.options(address)
	options.Dialer = honest(redis.NewDialer(options))
	options.OnConnect = r.meet
	r.client = redis.NewClient(options)
	return r
}

// server is a connection, or any of the connections to one server.
type server interface {
	Info(ctx context.Context, section ...string) *redis.StringCmd
	ClusterInfo(ctx context.Context) *redis.StringCmd
}

// meet asks a new connection which process it leads to, and in which life as a master that process is.
func (r *run) meet(ctx context.Context, conn *redis.Conn) error {
	now := time.Now()
	id, reign, err := r.life(ctx, conn)
	if err != nil {
		return err
	}
	if r.known.Load() == nil {
		if r.inspect != nil {
			r.inspect(ctx, conn)
		}
		// The number comes first: a lease of between the two is of after the run has begun, which is what it says.
		r.known.CompareAndSwap(nil, &known{id: id, reign: reign, number: r.numbers.Add(1)})
	}
	if r.known.Load().id != id {
		return errOver
	}
	r.confirmed.Store(now.UnixNano())
	return nil
}

// life tells which life a server is in. A replica keeps its run_id when it is made the master, and what it had of its
// master before: a fail-over and its way back would lead to the same process with old entries. Each promotion begins
// another master_replid, and so does, for no good to us, the first replica of a master. A node of a cluster to which
// keys of others were moved begins another epoch of its own: keys that come back to it are of the one before.
func (r *run) life(ctx context.Context, of server) (id, reign string, err error) {
	info, err := of.Info(ctx, "server").Result()
	if err != nil {
		return "", "", fmt.Errorf("ask for the run: %w", err)
	}
	if err := checkVersion(info); err != nil {
		return "", "", err
	}
	run := field(info, "run_id")
	reign, err = r.reign(ctx, of)
	if err != nil {
		return "", "", err
	}
	if run == "" || reign == "" {
		return "", "", errNoRunID
	}
	life := sha256.Sum256([]byte(r.epoch + "\n" + run + "\n" + reign + "\n"))
	return hex.EncodeToString(life[:])[:idLength], reign, nil
}

// reign is the part of the life that may change while connections to the process are open.
func (r *run) reign(ctx context.Context, of server) (string, error) {
	info, err := of.Info(ctx, "replication").Result()
	if err != nil {
		return "", fmt.Errorf("ask for the run: %w", err)
	}
	if field(info, "role") == "slave" {
		return "", errOver
	}
	id := field(info, "master_replid")
	if r.shard == nil || id == "" {
		return id, nil
	}
	if info, err = of.ClusterInfo(ctx).Result(); err != nil {
		return "", fmt.Errorf("ask for the epoch of the node: %w", err)
	}
	epoch := field(info, "cluster_my_epoch")
	if epoch != strconv.FormatUint(r.shard.epoch, 10) {
		return "", errOver
	}
	return id + "\n" + epoch, nil
}

// field finds what a line of the answer to INFO says.
func field(info, name string) string {
	_, after, _ := strings.Cut("\n"+info, "\n"+name+":")
	value, _, _ := strings.Cut(after, "\r\n")
	return value
}

// know makes sure that the life is known.
func (r *run) know(ctx context.Context) error {
	if r.epoch == "" {
		return errNoEpoch
	}
	if r.known.Load() != nil {
		return nil
	}
	return r.client.Ping(ctx).Err()
}

// standing fails if the run was over before what was done in it: now, for who writes, or a little before.
func (r *run) standing(ctx context.Context, written bool) error {
	now := time.Now()
	if !written && now.UnixNano()-r.confirmed.Load() < int64(trust) {
		return nil
	}
	reign, err := r.reign(ctx, r.client)
	if err == nil && reign != r.known.Load().reign {
		err = errOver
	}
	if err == nil && r.confirm != nil {
		err = r.confirm(ctx, r)
	}
	if err == nil {
		r.confirmed.Store(now.UnixNano())
	}
	return err
}

// end makes the run one in which nothing is done any more. What is under way begins again in another.
func (r *run) end() error {
	if r.over.Swap(true) {
		return nil
	}
	return r.client.Close()
}

// prefix is what the keys of this run begin with.
func (r *run) prefix() string { return namespace + r.known.Load().id + ":" }

// key is where an entry is in this run. In a cluster, what stands before the key must not decide where that is.
func (r *run) key(key string) string {
	if r.shard != nil && entry.Tag(key) == key {
		key = "{" + key + "}"
	}
	return r.prefix() + key
}

func (r *run) keys(keys []string) []string {
	ours := make([]string, len(keys))
	for i, key := range keys {
		ours[i] = r.key(key)
	}
	return ours
}

// unplaced is the opposite of key.
func (r *run) unplaced(place string) string {
	key := strings.TrimPrefix(place, r.prefix())
	if inner, wrapped := strings.CutPrefix(key, "{"); wrapped && r.shard != nil {
		if inner, wrapped = strings.CutSuffix(inner, "}"); wrapped {
			return inner
		}
	}
	return key
}

// leaseOf returns a lease: how many runs are known, and the position of the feed. Without a run there is none.
func leaseOf(runs, position uint64) entry.Lease {
	if runs == 0 {
		return ""
	}
	return entry.Lease(strconv.FormatUint(runs, 10) + " " + strconv.FormatUint(position, 10))
}

// stands reports whether the run was known already when the lease was given, so that nothing that was put since is
// lost, and returns the position of the lease.
func (r *run) stands(lease entry.Lease) (position uint64, stands bool) {
	runs, reached, _ := strings.Cut(string(lease), " ")
	count, err := strconv.ParseUint(runs, 10, 64)
	if err != nil || count < r.known.Load().number {
		return 0, false
	}
	position, err = strconv.ParseUint(reached, 10, 64)
	return position, err == nil
}

// chosen gives what is to be stored in this run.
func (r *run) chosen(lease entry.Lease, writes []entry.Write) (storing, error) {
	var s storing
	reached, stands := r.stands(lease)
	for _, write := range writes {
		if err := write.Check(); err != nil {
			return s, err
		}
		chosen := write.Chosen(stands)
		if chosen == nil {
			continue
		}
		stamped := stamp{position: reached, expires: r.now().Add(write.TTL)}
		if !stands || bytes.Equal(write.Entry, write.Outdated) {
			stamped.position = floors.Timeless
		}
		key := r.key(write.Key)
		s.add(key, r.seal.close(key, chosen, stamped), write.TTL.Milliseconds(), "")
	}
	return s, nil
}
