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

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

var (
	// errInstanceGone reports that a connection leads to another process than the instance's, or that another one is the
	// master now.
	errInstanceGone = errors.New("the Redis instance was restarted, or is no longer the master")

	errForged = errors.New("forged entries reappear as often as they are replaced")

	errNoEpoch = errors.New("the epoch of the store is not known yet")

	errNoIdentity = errors.New("INFO of the Redis lacks run_id, master_replid or role")
)

// verifyInterval is how long readers rely on a verified instance. Writers verify it after each write.
const verifyInterval = 100 * time.Millisecond

// instance is one Redis process from its start, or its promotion, to its end, in one epoch, with the connections to it.
// All connections lead to the same process: any other is rejected. So an operation is done by that process or not at
// all, and entries of one instance are never taken for those of another.
type instance struct {
	epoch    string
	shared   *shared
	client   *redis.Client
	identity atomic.Pointer[identity] // nil before the first connection

	// address is where the first connection led, if Sentinels choose the address; else nil.
	address atomic.Pointer[string]
	// shard is what the instance holds in a cluster, else nil.
	shard *shard
	// confirmMaster returns errInstanceGone if, according to other servers, the process is no longer the master. It is
	// nil without such servers.
	confirmMaster func(ctx context.Context, inst *instance) error
	verifiedAt    atomic.Int64 // in nanoseconds since 1970
	suspect       atomic.Bool  // whether another server may be the master by now
	ended         atomic.Bool  // whether the instance is closed
}

// identity is what is known of an instance since its first connection.
type identity struct {
	id            string // part of the keys, the same for all services that share the Redis
	replicationID string
	number        uint64 // of the instances that this process has identified
}

// shared is what all instances of a backend have in common.
type shared struct {
	location      Location
	password      string
	mac           mac
	minRanks      *minrank.Table
	now           func() time.Time
	instanceCount atomic.Uint64 // how many instances were identified
	eviction      evictionCheck
}

// options returns the options of a client of one address.
func (s *shared) options(address string) *redis.Options {
	options := &redis.Options{
		Addr:     address,
		DB:       s.location.database,
		Username: s.location.user,
		Password: s.password,

		DialTimeout:           deadlines.RedisDial,
		DialerRetries:         1,
		ReadTimeout:           deadlines.RedisWrite,
		WriteTimeout:          deadlines.RedisWrite,
		ContextTimeoutEnabled: true,
		MaxRetries:            retries,
		PoolSize:              poolSize,
		MaxActiveConns:        poolSize,
		PipelinePoolSize:      -1, // Pipelines use the connections of the pool.
		PoolTimeout:           deadlines.RedisWrite,

		// Neither CLIENT SETINFO nor CLIENT MAINT_NOTIFICATIONS: an older Redis and an ACL of few commands reject them.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if s.location.tls {
		host, _, _ := net.SplitHostPort(address)
		options.TLSConfig = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	}
	return options
}

// newInstance returns an instance for the server at the address. Its other fields must be set before it is used.
func (s *shared) newInstance(epoch, address string) *instance {
	inst := &instance{epoch: epoch, shared: s}
	options := s.options(address)
	options.Dialer = deferDialError(redis.NewDialer(options))
	options.OnConnect = inst.handshake
	inst.client = redis.NewClient(options)
	return inst
}

// server is a connection, or any of the connections to one server.
type server interface {
	Info(ctx context.Context, section ...string) *redis.StringCmd
	ClusterInfo(ctx context.Context) *redis.StringCmd
}

// handshake returns errInstanceGone unless a new connection leads to this instance. The first connection determines the
// identity of the instance.
func (i *instance) handshake(ctx context.Context, conn *redis.Conn) error {
	now := time.Now()
	id, replicationID, err := i.readIdentity(ctx, conn)
	if err != nil {
		return err
	}
	if i.identity.Load() == nil {
		i.shared.inspectEviction(ctx, conn)
		// The count is raised first: a lease acquired in between is newer than the instance, as its number says.
		number := i.shared.instanceCount.Add(1)
		i.identity.CompareAndSwap(nil, &identity{id: id, replicationID: replicationID, number: number})
	}
	if i.identity.Load().id != id {
		return errInstanceGone
	}
	i.verifiedAt.Store(now.UnixNano())
	return nil
}

// readIdentity returns the identity of a server as a master. A replica that is promoted keeps its run_id, and what it
// had replicated: a fail-over and back would lead to the same process with old entries. Each promotion begins another
// master_replid; so does the first replica of a master, which does no harm. A node of a cluster to which slots are
// moved begins another config epoch: keys that return to it belong to the one before.
func (i *instance) readIdentity(ctx context.Context, of server) (id, replicationID string, err error) {
	info, err := of.Info(ctx, "server").Result()
	if err != nil {
		return "", "", fmt.Errorf("identify the Redis: %w", err)
	}
	if err := checkVersion(info); err != nil {
		return "", "", err
	}
	runID := field(info, "run_id")
	replicationID, err = i.readReplicationID(ctx, of)
	if err != nil {
		return "", "", err
	}
	if runID == "" || replicationID == "" {
		return "", "", errNoIdentity
	}
	sum := sha256.Sum256([]byte(i.epoch + "\n" + runID + "\n" + replicationID + "\n"))
	return hex.EncodeToString(sum[:])[:idLength], replicationID, nil
}

// readReplicationID returns the part of the identity that may change while connections to the process are open.
func (i *instance) readReplicationID(ctx context.Context, of server) (string, error) {
	info, err := of.Info(ctx, "replication").Result()
	if err != nil {
		return "", fmt.Errorf("identify the Redis: %w", err)
	}
	if field(info, "role") == "slave" {
		return "", errInstanceGone
	}
	id := field(info, "master_replid")
	if i.shard == nil || id == "" {
		return id, nil
	}
	if info, err = of.ClusterInfo(ctx).Result(); err != nil {
		return "", fmt.Errorf("read the config epoch of the node: %w", err)
	}
	epoch := field(info, "cluster_my_epoch")
	if epoch != strconv.FormatUint(i.shard.epoch, 10) {
		return "", errInstanceGone
	}
	return id + "\n" + epoch, nil
}

// field returns the value of a field in the answer to INFO.
func field(info, name string) string {
	_, after, _ := strings.Cut("\n"+info, "\n"+name+":")
	value, _, _ := strings.Cut(after, "\r\n")
	return value
}

// ensureIdentified connects if that is necessary to know the identity.
func (i *instance) ensureIdentified(ctx context.Context) error {
	if i.epoch == "" {
		return errNoEpoch
	}
	if i.identity.Load() != nil {
		return nil
	}
	return i.client.Ping(ctx).Err()
}

// verify returns an error if the instance may have been gone before an operation on it ended. After a read, a recent
// verification is enough.
func (i *instance) verify(ctx context.Context, written bool) error {
	now := time.Now()
	if !written && now.UnixNano()-i.verifiedAt.Load() < int64(verifyInterval) {
		return nil
	}
	replicationID, err := i.readReplicationID(ctx, i.client)
	if err == nil && replicationID != i.identity.Load().replicationID {
		err = errInstanceGone
	}
	if err == nil && i.confirmMaster != nil {
		err = i.confirmMaster(ctx, i)
	}
	if err == nil {
		i.verifiedAt.Store(now.UnixNano())
	}
	return err
}

// close closes the connections. Operations under way fail, and are retried in another instance.
func (i *instance) close() error {
	if i.ended.Swap(true) {
		return nil
	}
	return i.client.Close()
}

// prefix is the beginning of all keys of this instance.
func (i *instance) prefix() string { return namespace + i.identity.Load().id + ":" }

// redisKey returns the key in Redis of an entry. In a cluster, the prefix must not determine the slot.
func (i *instance) redisKey(key string) string {
	if i.shard != nil && entry.Tag(key) == key {
		key = "{" + key + "}"
	}
	return i.prefix() + key
}

// newLease returns a lease: the number of instances identified, and the position of the feed. There is no lease before
// the first instance is identified.
func newLease(instances, position uint64) entry.Lease {
	if instances == 0 {
		return ""
	}
	return entry.Lease(strconv.FormatUint(instances, 10) + " " + strconv.FormatUint(position, 10))
}

// leaseValid reports whether the instance was identified before the lease was acquired, so that nothing stored since is
// lost. It returns the position of the lease.
func (i *instance) leaseValid(lease entry.Lease) (position uint64, valid bool) {
	instances, reached, _ := strings.Cut(string(lease), " ")
	count, err := strconv.ParseUint(instances, 10, 64)
	if err != nil || count < i.identity.Load().number {
		return 0, false
	}
	position, err = strconv.ParseUint(reached, 10, 64)
	return position, err == nil
}

// selectWrites returns what is to be stored in this instance.
func (i *instance) selectWrites(lease entry.Lease, writes []entry.Write) (batch, error) {
	var selected batch
	reached, valid := i.leaseValid(lease)
	for _, write := range writes {
		if err := write.Validate(); err != nil {
			return selected, err
		}
		chosen := write.EntryFor(valid)
		if chosen == nil {
			continue
		}
		stamped := stamp{position: reached, expires: i.shared.now().Add(write.TTL)}
		if !valid || bytes.Equal(write.Entry, write.Outdated) {
			stamped.position = minrank.Timeless
		}
		key := i.redisKey(write.Key)
		selected.add(write.Key, key, i.shared.mac.append(key, chosen, stamped), write.TTL.Milliseconds(), "")
	}
	return selected, nil
}
