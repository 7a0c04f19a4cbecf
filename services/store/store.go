// Package store is the entry store: the durable truth of Gatehouse. It alone has the database, hashes passwords and
// signs tokens, and it owns every transaction.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// MasterKeySize is the length of the master key in bytes.
const MasterKeySize = signing.MasterKeySize

// NewMasterKey makes a master key from the system's randomness.
func NewMasterKey() []byte { return signing.NewMasterKey() }

// maxOwnChanges bounds the setting: a change beyond it reads as many events as it allows.
const maxOwnChanges = 100_000

// Database says where the data is.
type Database = storage.Config

// PasswordParams are the cost parameters of Argon2id.
type PasswordParams = password.Params

// Config is what the store has to know.
type Config struct {
	Database            Database
	MasterKey           []byte // MasterKeySize bytes that seal the signing keys
	SecondMasterKey     []byte // opens and verifies, never seals or signs; nil if there is none
	ServiceToken        string // what the services that call must present
	SecondServiceToken  string // is accepted as well, unless it is empty
	Issuer              string // `iss` of the tokens
	Audience            string // `aud` of the tokens
	SigningAlgorithm    string // EdDSA, ES256 or RS256; empty for that of the newest key, or jwk.DefaultAlgorithm
	KeyRotationInterval time.Duration
	AccessTokenLifetime time.Duration
	Sessions            SessionConfig
	Password            PasswordParams
	HashingCores        int              // how many passwords are hashed at a time; 0 is GOMAXPROCS
	MemoryLimit         int64            // what the process may use, in bytes; 0 is what the system says
	AppMetadataClaims   []string         // names of app metadata that go into access tokens
	OwnChangesPerMinute int              // how often a user may change the own account
	AuditRetention      time.Duration    // how long audit events are kept: a day or more, or 0 for ever
	Now                 func() time.Time // the clock of sessions and keys; nil is the database's
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	faults := []error{validateMasterKeys(c.MasterKey, c.SecondMasterKey), validateAlgorithm(c.SigningAlgorithm)}
	// A key is published for 10 min before it signs, and stays for a token's life: an hour and a day of life make some
	// 26 keys, which is the most that verifiers should have to load.
	if c.KeyRotationInterval < time.Hour || c.KeyRotationInterval > 365*24*time.Hour {
		faults = append(faults, fmt.Errorf("key rotation interval is %v, not 1h to 8760h", c.KeyRotationInterval))
	}
	// expires_in is told in whole seconds. A day is the most that a token which cannot be called back should live.
	if c.AccessTokenLifetime < time.Second || c.AccessTokenLifetime > authn.MaxTokenLifetime {
		faults = append(faults, fmt.Errorf("access token lifetime is %v, not 1s to 24h", c.AccessTokenLifetime))
	}
	if c.OwnChangesPerMinute < 1 || c.OwnChangesPerMinute > maxOwnChanges {
		faults = append(faults,
			fmt.Errorf("own changes per minute are %d, not 1 to %d", c.OwnChangesPerMinute, maxOwnChanges))
	}
	if c.AuditRetention != 0 && c.AuditRetention < 24*time.Hour {
		faults = append(faults, fmt.Errorf("audit retention is %v, not 24h or more, nor 0 for ever", c.AuditRetention))
	}
	if err := c.Password.Validate(); err != nil {
		faults = append(faults, err)
	} else {
		faults = append(faults, c.Password.ValidateMemory(c.HashingCores, c.memoryLimit()))
	}
	return errors.Join(append(faults, appClaims(c.AppMetadataClaims).validate(),
		authn.ValidateServiceToken(c.ServiceToken), authn.ValidateSecondServiceToken(c.SecondServiceToken),
		authn.ValidateNames(c.Issuer, c.Audience), c.Sessions.Validate(),
		c.Database.Validate())...)
}

func (c Config) memoryLimit() int64 { return cmp.Or(c.MemoryLimit, password.MemoryLimit()) }

// Service is a store that is ready to run.
type Service struct {
	server  *grpcx.Server
	storage *storage.Storage
	hasher  *password.Hasher
	keyring *signing.Keyring
	keys    *authn.KeySet
	feed    *feed
	config  Config
	log     *slog.Logger
}

// New opens the database and the signing key. It waits for a database that cannot be reached, until ctx is done. It
// fails if the database denies access, or if its schema is behind: Migrate mends that.
func New(ctx context.Context, config Config, log *slog.Logger) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	db, err := awaitDatabase(ctx, config.Database, log)
	if err != nil {
		return nil, err
	}
	db.LimitOwnChanges(config.OwnChangesPerMinute)
	if config.Now == nil {
		config.Now = db.Now
	}
	keyring, err := signing.OpenKeyring(audit.WithActor(ctx, audit.System), db, config.signing(), log)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	feed := newFeed(db, log)
	hasher, err := newHasher(ctx, config)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	keys := authn.NewKeySet(keyring.PublicKeys, config.Now)
	server, err := newServer(config, db, hasher, keyring, keys, feed, log) //nolint:contextcheck // calls have their own
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Service{
		server: server, storage: db, hasher: hasher, keyring: keyring, keys: keys, feed: feed, config: config,
		log: log,
	}, nil
}

// databaseRetry is how long a store that starts waits before it tries again to reach the database.
const databaseRetry = time.Second

func awaitDatabase(ctx context.Context, database Database, log *slog.Logger) (*storage.Storage, error) {
	for {
		db, err := storage.Open(ctx, database, log)
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrAccessDenied) ||
			strings.HasPrefix(database.URL, "sqlite:") {
			return db, err // A file that cannot be opened now cannot be opened later.
		}
		log.WarnContext(ctx, "the database cannot be reached; the store waits for it", "error", err)
		select {
		case <-time.After(databaseRetry):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Migrate brings the database's schema to what this binary needs.
func Migrate(ctx context.Context, database Database, log *slog.Logger) error {
	if err := database.Validate(); err != nil {
		return err
	}
	return storage.Migrate(ctx, database, log)
}

func newServer(
	config Config, db *storage.Storage, hasher *password.Hasher, keyring *signing.Keyring, keys *authn.KeySet, feed *feed,
	log *slog.Logger,
) (*grpcx.Server, error) {
	passwords, err := password.NewPolicy()
	if err != nil {
		return nil, err
	}
	policies, err := authn.LoadPolicies(gatehousev1.UserService_ServiceDesc.ServiceName,
		gatehousev1.SessionService_ServiceDesc.ServiceName, gatehousev1.KeyService_ServiceDesc.ServiceName,
		gatehousev1.AdminService_ServiceDesc.ServiceName, internalv1.ChangeService_ServiceDesc.ServiceName)
	if err != nil {
		return nil, err
	}
	verifier := authn.NewVerifier(keys, config.Issuer, config.Audience, config.Now)
	authenticator := authn.NewAuthenticator(policies, verifier, loadAccount(db, config.Now))
	authenticator.AdmitServices(config.ServiceToken, config.SecondServiceToken)
	server, err := grpcx.NewServer(log, authenticator, newReadiness(db, log).check)
	if err != nil {
		return nil, err
	}
	sessions, err := newSessionService(config, db, hasher, passwords, keyring, log)
	if err != nil {
		return nil, err
	}
	byHand, err := signing.NewByHand(db, config.signing())
	if err != nil {
		return nil, err
	}
	gatehousev1.RegisterUserServiceServer(server, &userService{
		storage: db, hasher: hasher, passwords: passwords, pages: sessions.pages, claims: config.AppMetadataClaims,
		now: config.Now,
	})
	gatehousev1.RegisterAdminServiceServer(server, &adminService{
		storage: db, hasher: hasher, passwords: passwords, keys: byHand, pages: sessions.pages, now: config.Now,
	})
	gatehousev1.RegisterSessionServiceServer(server, sessions)
	internalv1.RegisterChangeServiceServer(server, &changeService{feed: feed})
	gatehousev1.RegisterKeyServiceServer(server, &keyService{
		keyring: keyring, issuer: config.Issuer, settings: config.issuerSettings,
	})
	return server, nil
}

// Run serves until ctx is done, lets calls under way end, sends followers of changes away, and closes the database.
// Meanwhile it maintains the signing keys, puts changes in order, and deletes what is not kept any longer.
func (s *Service) Run(ctx context.Context, listener net.Listener) error {
	upkeep, stop := context.WithCancel(ctx)
	var maintained sync.WaitGroup
	maintained.Go(func() { s.keyring.Run(audit.WithActor(upkeep, audit.System)) })
	maintained.Go(func() { s.keys.Run(upkeep) })
	maintained.Go(func() { s.storage.FollowClock(upkeep, s.log) })
	maintained.Go(func() { s.feed.run(upkeep) })
	maintained.Go(func() { s.followHashes(upkeep) })
	maintained.Go(func() { s.followMemory(upkeep) })
	maintained.Go(func() { sweep(upkeep, s.storage, s.config.AuditRetention, s.config.Now, s.log) })
	err := s.server.Serve(ctx, listener)
	stop() // Also where serving failed.
	maintained.Wait()
	return errors.Join(err, s.storage.Close())
}
