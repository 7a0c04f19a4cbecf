// Package cache is the entry cache: it implements the services of the store, with a cache before them. Reads are
// answered from the cache if possible, else by the store. Writes pass through to the store and leave the cache correct.
// The service holds the only copy of nothing, so it can be bypassed, and its backend can lose everything.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/follower"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/freshgroup"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/ratelog"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/redisbackend"
)

// memoryBytes bounds the memory backend: about 75,000 users with a session each.
const memoryBytes = 64 << 20

// Service is a cache service.
type Service struct {
	server   *grpcx.Server
	backend  coherence.Backend
	entries  *coherence.Entries
	follower *follower.Follower
	keys     *authn.KeySet
}

// FeedHealth is the name in grpc.health.v1 under which the service reports whether it follows the changes of the store.
// If it does not, reads may show the state before a change that was made past the cache services.
const FeedHealth = "gatehouse.cache.feed"

// BackendHealth is the name in grpc.health.v1 under which the service reports whether the backend answers. If it does
// not, the store answers all reads.
const BackendHealth = "gatehouse.cache.backend"

// New returns a cache service before the store at the other end of the connection. It waits for neither the store nor
// the backend. The caller closes the connection after Run has returned. Run closes what the service has opened itself.
func New(cfg Config, store grpc.ClientConnInterface, log *slog.Logger) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	minRanks := minrank.New(minrank.MaxKeys)
	backend, err := openBackend(cfg, minRanks, log)
	if err != nil {
		return nil, err
	}
	service, err := newService(cfg, backend, minRanks, store, log)
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	return service, nil
}

// openBackend returns the backend of a valid Config.
func openBackend(cfg Config, minRanks *minrank.Table, log *slog.Logger) (coherence.Backend, error) {
	if cfg.Backend == BackendMemory {
		return memorybackend.New(memoryBytes, nil), nil
	}
	location, err := redisbackend.ParseURL(cfg.RedisURL)
	if err != nil {
		return nil, err
	}
	forgeries := ratelog.New(log, "cache entry failed MAC verification")
	onForged := func(ctx context.Context, key string) { forgeries.Warn(ctx, errors.New("key "+key)) }
	location.SetUser(cfg.RedisUser)
	redis := redisbackend.New(location, cfg.RedisPassword, cfg.Key, minRanks, onForged)
	redis.WarnOfEviction(log)
	return coherence.NewBreaker(redis, log), nil
}

func newService(
	cfg Config, backend coherence.Backend, minRanks *minrank.Table, store grpc.ClientConnInterface, log *slog.Logger,
) (*Service, error) {
	entries := coherence.New(backend, minRanks, cfg.ttl(), log)
	store = invalidatingConn{ClientConnInterface: store, entries: entries}
	sessionStore := gatehousev1.NewSessionServiceClient(store)
	accounts := &accounts{
		store: sessionStore, entries: entries, reads: freshgroup.New[authn.Account](), now: time.Now,
	}
	check := authn.NewIssuerCheck(cfg.Issuer, cfg.Audience, time.Now, log)
	keys := grpcx.NewKeySet(check, store)
	authenticator, err := newAuthenticator(cfg, keys, accounts.load)
	if err != nil {
		return nil, err
	}
	server, err := grpcx.NewServer(log, authenticator, func(context.Context) error { return check.Err() })
	if err != nil {
		return nil, err
	}
	gatehousev1.RegisterUserServiceServer(server, &users{
		store: gatehousev1.NewUserServiceClient(store), entries: entries,
	})
	gatehousev1.RegisterSessionServiceServer(server, &sessions{store: sessionStore, entries: entries})
	gatehousev1.RegisterAdminServiceServer(server, &admin{
		store: gatehousev1.NewAdminServiceClient(store), entries: entries,
	})
	feed := follower.New(store, entries, log)
	server.Probe(FeedHealth, feed.Ready)
	server.Probe(BackendHealth, entries.CheckBackend)
	if err := registerMetrics(cfg.Metrics, feed, entries); err != nil {
		return nil, fmt.Errorf("register the metrics: %w", err)
	}
	return &Service{server: server, backend: backend, entries: entries, follower: feed, keys: keys}, nil
}

// Run serves until ctx is done, waits for calls in progress, flushes pending invalidations if the backend is reachable,
// and closes the backend and the listener. Health is SERVING whether or not the backend is reachable: without it the
// service is slower, not wrong. Health is NOT_SERVING while the service rejects every token that the stores issue.
func (s *Service) Run(ctx context.Context, listener net.Listener) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { s.entries.Run(serving) })
	background.Go(func() { s.follower.Run(serving) })
	background.Go(func() { s.keys.Run(serving) })
	err := s.server.Serve(ctx, listener)
	stop()
	background.Wait()
	return errors.Join(err, s.backend.Close())
}

func newAuthenticator(cfg Config, keys *authn.KeySet, load authn.LoadAccount) (*authn.Authenticator, error) {
	policies, err := authn.LoadPolicies(
		gatehousev1.UserService_ServiceDesc.ServiceName, gatehousev1.SessionService_ServiceDesc.ServiceName,
		gatehousev1.AdminService_ServiceDesc.ServiceName)
	if err != nil {
		return nil, fmt.Errorf("load the policies: %w", err)
	}
	verifier := authn.NewVerifier(keys, cfg.Issuer, cfg.Audience, time.Now)
	authenticator := authn.NewAuthenticator(policies, verifier, load)
	authenticator.AdmitServices(cfg.ServiceToken, cfg.SecondServiceToken)
	return authenticator, nil
}
