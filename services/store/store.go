// Package store is the entry store: the durable truth of Gatehouse. It alone has the database, hashes passwords and
// signs tokens, and it owns every transaction.
//
// This package only wires the layers below it: rpc (the gRPC services), login (sessions and their tokens), changefeed,
// maintenance, password, signing and storage. Package config is what it must know, and package operator what the
// command line does to the database.
package store

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/wait"
	"github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/changefeed"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/maintenance"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/pagetoken"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/rpc"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// Service is a store that is ready to run.
type Service struct {
	server  *grpcx.Server
	storage *storage.Storage
	hasher  *password.Hasher
	keyring *signing.Keyring
	keys    *authn.KeySet
	feed    *changefeed.Feed
	config  config.Config
	log     *slog.Logger
}

// New opens the database and the signing key. It waits for a database that cannot be reached, until ctx is done. It
// reports an error if the database denies access, or if its schema is behind: run operator.Migrate then.
func New(ctx context.Context, config config.Config, log *slog.Logger) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	db, err := awaitDatabase(ctx, config.Database, log)
	if err != nil {
		return nil, err
	}
	service, err := newService(ctx, config, db, log)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return service, nil
}

// databaseRetry is how long a store that starts waits before it tries again to reach the database.
const databaseRetry = time.Second

func awaitDatabase(ctx context.Context, database config.Database, log *slog.Logger) (*storage.Storage, error) {
	for {
		db, err := storage.Open(ctx, database, log)
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrAccessDenied) ||
			strings.HasPrefix(database.URL, "sqlite:") {
			return db, err // A file that cannot be opened now cannot be opened later.
		}
		log.WarnContext(ctx, "database is unreachable, will retry", "error", err)
		if !wait.For(ctx, databaseRetry) {
			return nil, ctx.Err()
		}
	}
}

func newService(ctx context.Context, config config.Config, db *storage.Storage, log *slog.Logger) (*Service, error) {
	db.LimitOwnChanges(config.OwnChangesPerMinute)
	if config.Now == nil {
		config.Now = db.Now
	}
	keyring, err := signing.OpenKeyring(audit.WithActor(ctx, audit.System), db, config.Signing(), log)
	if err != nil {
		return nil, err
	}
	hasher, err := newHasher(ctx, config)
	if err != nil {
		return nil, err
	}
	keys := authn.NewKeySet(func(ctx context.Context) (*gatehousev1.ListKeysResponse, error) {
		return rpc.PublicKeys(ctx, keyring)
	}, config.Now)
	s := &Service{
		storage: db, hasher: hasher, keyring: keyring, keys: keys, feed: changefeed.New(db, log), config: config, log: log,
	}
	s.server, err = s.newServer() //nolint:contextcheck // calls have their own
	return s, err
}

// newHasher returns the hasher of a store. Its decoys depend on the master key, which all replicas have.
func newHasher(ctx context.Context, config config.Config) (*password.Hasher, error) {
	key, err := hkdf.Key(sha256.New, config.MasterKey, nil, "gatehouse password decoys v1", sha256.Size)
	if err != nil {
		return nil, err
	}
	return password.New(ctx, password.Config{
		Params: config.Password, Cores: config.HashingCores, Memory: config.ProcessMemory(), DecoyKey: key,
	})
}

func (s *Service) newServer() (*grpcx.Server, error) {
	config := s.config
	policies, err := authn.LoadPolicies(rpc.Services()...)
	if err != nil {
		return nil, err
	}
	verifier := authn.NewVerifier(s.keys, config.Issuer, config.Audience, config.Now)
	authenticator := authn.NewAuthenticator(policies, verifier, rpc.LoadAccount(s.storage, config.Now))
	authenticator.AdmitServices(config.ServiceToken, config.SecondServiceToken)
	server, err := grpcx.NewServer(s.log, authenticator, newReadiness(s.storage, s.log).check)
	if err != nil {
		return nil, err
	}
	services, err := s.services()
	if err != nil {
		return nil, err
	}
	rpc.Register(server, services)
	return server, nil
}

// services returns what the gRPC services need.
func (s *Service) services() (rpc.Config, error) {
	config := s.config
	tokens, err := refresh.NewTokens(config.MasterKeys()...)
	if err != nil {
		return rpc.Config{}, err
	}
	pages, err := pagetoken.New(config.MasterKeys()...)
	if err != nil {
		return rpc.Config{}, err
	}
	policy, err := password.NewPolicy()
	if err != nil {
		return rpc.Config{}, err
	}
	manager, err := signing.NewKeyManager(s.storage, config.Signing())
	if err != nil {
		return rpc.Config{}, err
	}
	return rpc.Config{
		Storage: s.storage, Hasher: s.hasher, Passwords: policy, Keyring: s.keyring, Keys: manager, Pages: pages,
		Feed: s.feed, Claims: config.AppMetadataClaims, Issuer: config.Issuer, Settings: s.issuerSettings,
		Now: config.Now,
		Login: &login.Service{
			Storage: s.storage, Hasher: s.hasher, Keyring: s.keyring, Tokens: tokens, Lifetimes: config.Sessions,
			Claims: config.AppMetadataClaims, Now: config.Now, Log: s.log,
		},
	}, nil
}

// issuerSettings returns what the store issues tokens with now.
func (s *Service) issuerSettings() authn.IssuerSettings {
	return authn.IssuerSettings{
		Issuer: s.config.Issuer, Audience: s.config.Audience, Now: s.config.Now(), Lifetime: s.config.AccessTokenLifetime,
	}
}

// Run serves until ctx is done, waits for calls in progress, ends the streams of followers, and closes the database.
// Meanwhile it maintains the signing keys, sequences changes, and deletes what has passed its retention.
func (s *Service) Run(ctx context.Context, listener net.Listener) error {
	loops, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { s.keyring.Run(audit.WithActor(loops, audit.System)) })
	running.Go(func() { s.keys.Run(loops) })
	running.Go(func() { s.storage.FollowClock(loops, s.log) })
	running.Go(func() { s.feed.Run(loops) })
	running.Go(func() { maintenance.SampleHashes(loops, s.storage, s.hasher, s.log) })
	running.Go(func() { maintenance.ReleaseMemory(loops, s.hasher.Computed) })
	running.Go(func() { maintenance.Sweep(loops, s.storage, s.config.AuditRetention, s.config.Now, s.log) })
	err := s.server.Serve(ctx, listener)
	stop() // Also if serving failed.
	running.Wait()
	return errors.Join(err, s.storage.Close())
}
