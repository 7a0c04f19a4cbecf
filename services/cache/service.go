// Package cache is the entry cache: the services of the store, with a cache before them. Reads are answered from the
// cache if it has the answer, else from the store; writes pass through to the store and leave the cache correct. It
// holds the only copy of nothing, so it can be taken away, and the backend it keeps entries in can be lost.
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
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

// Service is a cache service.
type Service struct {
	server   *grpcx.Server
	backend  Backend
	pending  *pendingInvalidations
	follower *Follower
	keys     *authn.KeySet
}

// FeedHealth is the name by which grpc.health.v1 tells whether the changes of the store are followed. Where they are
// not, what was changed otherwise than by a cache service may be shown as it was before.
const FeedHealth = "gatehouse.cache.feed"

// BackendHealth is the name by which grpc.health.v1 tells whether the backend answers. Where it does not, all is asked
// of the store.
const BackendHealth = "gatehouse.cache.backend"

// New makes a cache service before the store that the connection leads to. It waits for neither the store nor the
// backend. The connection remains the caller's, who closes it after Run has returned; the service closes what it has
// opened itself when Run returns.
func New(cfg Config, store grpc.ClientConnInterface, log *slog.Logger) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	changes := minrank.New(minrank.MaxKeys)
	kept, err := openBackend(cfg, changes, log)
	if err != nil {
		return nil, err
	}
	service, err := newService(cfg, kept, changes, store, log)
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	return service, nil
}

func newService(
	cfg Config, kept Backend, changes *minrank.Table, store grpc.ClientConnInterface, log *slog.Logger,
) (*Service, error) {
	entries := NewEntries(kept, changes, cfg.ttl(), log)
	store = invalidatingConn{ClientConnInterface: store, entries: entries}
	sessionStore := gatehousev1.NewSessionServiceClient(store)
	accounts := &accounts{
		store: sessionStore, entries: entries, reads: NewGroup[authn.Account](), now: time.Now,
	}
	check := authn.NewIssuerCheck(cfg.Issuer, cfg.Audience, time.Now, log)
	keys := newKeySet(check.FetchKeys(store))
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
	follower := NewFollower(store, entries, log)
	server.Probe(FeedHealth, follower.Ready)
	server.Probe(BackendHealth, entries.CheckBackend)
	if err := registerMetrics(cfg.Metrics, follower, entries.pending); err != nil {
		return nil, fmt.Errorf("register the metrics: %w", err)
	}
	return &Service{server: server, backend: kept, pending: entries.pending, follower: follower, keys: keys}, nil
}

// Run serves until ctx is done, lets calls under way end, tells the backend what it is owed, if it can be reached, and
// closes it and the listener. Health tells SERVING whether or not the backend can be reached: without it the service is
// slower, not wrong. It tells NOT_SERVING while the service refuses every token that the stores issue.
func (s *Service) Run(ctx context.Context, listener net.Listener) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var upkeep sync.WaitGroup
	upkeep.Go(func() { s.pending.run(serving) })
	upkeep.Go(func() { s.follower.Run(serving) })
	upkeep.Go(func() { s.keys.Run(serving) })
	err := s.server.Serve(ctx, listener)
	stop()
	upkeep.Wait()
	return errors.Join(err, s.backend.Close())
}

func newKeySet(fetch authn.FetchKeys) *authn.KeySet {
	return authn.NewKeySet(func(ctx context.Context) (set *gatehousev1.ListKeysResponse, err error) {
		defer grpcx.Recover(&err)
		return fetch(ctx)
	}, time.Now)
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
