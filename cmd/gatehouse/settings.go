package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/logging"
	cacheservice "github.com/gatehouse-auth/gatehouse/services/cache"
	gatewayservice "github.com/gatehouse-auth/gatehouse/services/gateway"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

// logSettings configure the log, which goes to stderr.
type logSettings struct {
	LogLevel  string `default:"info" help:"Least severe level that is logged: debug, info, warn or error."`
	LogFormat string `default:"auto" help:"Form of the log: text, json, or auto (text on a terminal, json elsewhere)."`

	level  slog.Level      // set by resolve
	stderr *logging.Writer // set by logger
}

func (s *logSettings) resolve(problems *errorCollector) {
	if err := s.level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		problems.add(fmt.Errorf("--log-level is %q, not debug, info, warn or error", s.LogLevel))
	}
	if s.LogFormat != logging.Auto && s.LogFormat != logging.Text && s.LogFormat != logging.JSON {
		problems.add(fmt.Errorf("--log-format is %q, not auto, text or json", s.LogFormat))
	}
}

// logger returns a logger that writes no tokens. It must not be called before resolve.
func (s *logSettings) logger(stderr *logging.Writer) *slog.Logger {
	s.stderr = stderr
	return logging.New(stderr, s.level, s.LogFormat)
}

// tokenSettings are what all services that verify a token must agree on.
type tokenSettings struct {
	Issuer   string `default:"http://localhost:8080" help:"Issuer of the access tokens (claim iss): the public URL of the gateway. The same for all services."`
	Audience string `default:"gatehouse" help:"Audience of the access tokens (claim aud). The same for all services."`
}

// algorithmSettings configure the algorithm of new signing keys.
type algorithmSettings struct {
	SigningAlgorithm string `help:"Algorithm of the signing keys: ES256, EdDSA, or RS256. A store that starts with another one than that of the newest key makes the next key. If it is left out, the first key is for ES256, and each other for the algorithm of the one before it."`
}

// signingSettings configure how the store signs tokens and hashes passwords.
type signingSettings struct {
	algorithmSettings
	KeyRotationInterval time.Duration `default:"720h" help:"How long a signing key signs before the next one does: 1h to 8760h. The next is published 10 minutes before."`
	AccessTokenLifetime time.Duration `default:"15m" help:"How long an access token is good: 1s to 24h."`
	argon2Settings
}

// argon2Settings configure the cost of a password hash.
type argon2Settings struct {
	Argon2Memory      uint32 `name:"argon2-memory" env:"GATEHOUSE_ARGON2_MEMORY" default:"19456" help:"Memory of one password hash in KiB: 7168 to 1048576, and no more than a quarter of what the process may use."`
	Argon2Iterations  int    `name:"argon2-iterations" env:"GATEHOUSE_ARGON2_ITERATIONS" default:"2" help:"Passes of one password hash over its memory: 1 to 64."`
	Argon2Parallelism int    `name:"argon2-parallelism" env:"GATEHOUSE_ARGON2_PARALLELISM" default:"1" help:"Lanes of one password hash: 1 to 16."`
}

func (s *argon2Settings) password() storeconfig.PasswordParams {
	return storeconfig.PasswordParams{
		MemoryKiB: s.Argon2Memory, Iterations: s.Argon2Iterations, Parallelism: s.Argon2Parallelism,
	}
}

// edgeSettings configure what the gateway accepts of its clients.
type edgeSettings struct {
	TrustedProxies []string `placeholder:"NETWORKS" help:"Proxies before the gateway whose X-Forwarded-For is trusted: addresses or networks such as 10.0.0.0/8, with commas between. Nobody's, if there are none."`
	introspectionSettings
	Reflection string `default:"auto" help:"Server reflection on the native gRPC port, by which tools such as grpcurl know the calls, without a token: on, off, or auto (on in up if --grpc is a loopback address, off elsewhere)."`
}

// introspectionSettings configure the client that may introspect tokens.
type introspectionSettings struct {
	IntrospectionClientID         string `placeholder:"ID" help:"Client that may introspect tokens at /oauth2/introspect (RFC 7662), by HTTP Basic. Without one there is no such endpoint."`
	IntrospectionClientSecret     secret `placeholder:"SECRET" help:"Secret of that client: 32 characters or more (openssl rand -base64 32). Others can read flags in the process list: prefer the variable or the file."`
	IntrospectionClientSecretFile string `placeholder:"PATH" help:"File that holds the secret of that client."`
}

func (s *introspectionSettings) client(problems *errorCollector) gatewayservice.IntrospectionClient {
	secret, err := s.IntrospectionClientSecret.orFile(s.IntrospectionClientSecretFile, "--introspection-client-secret")
	client := gatewayservice.IntrospectionClient{ID: s.IntrospectionClientID, Secret: secret}
	if err == nil {
		err = client.Validate()
	}
	problems.add(err)
	return client
}

// The values of --reflection.
const (
	reflectionAuto = "auto"
	reflectionOn   = "on"
	reflectionOff  = "off"
)

func (s *edgeSettings) gatewayConfig(tokens tokenSettings, problems *errorCollector) gatewayservice.Config {
	if s.Reflection != reflectionAuto && s.Reflection != reflectionOn && s.Reflection != reflectionOff {
		problems.add(fmt.Errorf("--reflection is %q, not auto, on or off", s.Reflection))
	}
	return gatewayservice.Config{
		Issuer: tokens.Issuer, Audience: tokens.Audience, Reflection: s.Reflection == reflectionOn,
		Introspection: s.client(problems), TrustedProxies: s.proxies(problems),
	}
}

func (s *edgeSettings) proxies(problems *errorCollector) (networks []netip.Prefix) {
	for _, text := range s.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if address, addressErr := netip.ParseAddr(text); addressErr == nil && address.Zone() == "" {
			network, err = address.Unmap().Prefix(address.Unmap().BitLen())
		}
		if err != nil || network.Addr().Is4In6() {
			problems.add(fmt.Errorf("--trusted-proxies: %q is not an address or network such as 10.0.0.0/8", text))
			continue
		}
		networks = append(networks, network.Masked())
	}
	return networks
}

// sessionSettings configure how long sessions last.
type sessionSettings struct {
	RefreshGrace        time.Duration `default:"30s" help:"How long the refresh token that was just traded gets the same successor again, for retries and second tabs: 0s to 5m."`
	SessionIdleLifetime time.Duration `default:"720h" help:"How long a session lasts without a refresh: 1s or more (30 days are 720h)."`
	SessionLifetime     time.Duration `default:"2160h" help:"How long a session lasts at most: no less than the idle lifetime (90 days are 2160h)."`
}

func (s *sessionSettings) sessions() storeconfig.SessionConfig {
	return storeconfig.SessionConfig{
		RefreshGrace: s.RefreshGrace, IdleLifetime: s.SessionIdleLifetime, Lifetime: s.SessionLifetime,
	}
}

// accountSettings configure the account data in tokens, limits on changes, and how long audit events are stored.
type accountSettings struct {
	AppMetadataClaims []string      `placeholder:"NAMES" help:"Names of members of a user's appMetadata that go into the user's access tokens, in the claim app_metadata, with commas between. None, if none is named."`
	OwnChanges        int           `name:"own-changes-per-minute" default:"60" help:"How many changes of a kind users may make to their own accounts in a minute, and of the profile 20 times as many in a day: 1 to 100000."`
	AuditRetention    time.Duration `default:"8760h" help:"How long audit events are kept: 24h or more (a year is 8760h), or 0 forever."`
}

// storeSettings configure a store, with its own database or in a process with the other services.
type storeSettings struct {
	signingSettings
	sessionSettings
	accountSettings
	tokenSettings
}

// storeConfig returns the configuration of a store, without the database and the secrets.
func (s *storeSettings) storeConfig(problems *errorCollector) storeconfig.Config {
	config := storeconfig.Config{
		Issuer: s.Issuer, Audience: s.Audience, SigningAlgorithm: s.SigningAlgorithm,
		KeyRotationInterval: s.KeyRotationInterval, AccessTokenLifetime: s.AccessTokenLifetime,
		Sessions: s.sessions(), Password: s.password(), AppMetadataClaims: s.AppMetadataClaims,
		AuditRetention: s.AuditRetention, OwnChangesPerMinute: s.OwnChanges,
	}
	problems.add(config.ValidateSettings())
	return config
}

// databaseSettings configure the store's database.
type databaseSettings struct {
	DatabaseURL          string `placeholder:"URL" help:"Database: mysql://USER@HOST:PORT/NAME (?tls=true for TLS; nodes of one cluster as HOST:PORT,HOST:PORT, of which the first that can be had is used) or sqlite:PATH. The password is a setting of its own."`
	DatabasePassword     secret `placeholder:"SECRET" help:"Password of the database user. Others can read flags in the process list: prefer the variable or the file."`
	DatabasePasswordFile string `placeholder:"PATH" help:"File that holds the password of the database user."`
}

func (s *databaseSettings) database(problems *errorCollector) storeconfig.Database {
	password, err := s.DatabasePassword.orFile(s.DatabasePasswordFile, "--database-password")
	database := storeconfig.Database{URL: s.DatabaseURL, Password: password}
	if database.URL == "" {
		problems.add(errors.New("--database-url is missing: for example mysql://gatehouse@localhost:3306/gatehouse"))
	} else {
		problems.add(database.Validate())
	}
	problems.add(err)
	return database
}

// databaseCommand is embedded in commands that use the store's database, and no other service.
type databaseCommand struct {
	databaseSettings
	logSettings

	config storeconfig.Database // set by resolve
}

func (c *databaseCommand) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	c.config = c.database(problems)
}

// serviceSettings configure how services authenticate to each other.
type serviceSettings struct {
	ServiceToken     secret `placeholder:"SECRET" help:"Token by which the services know each other, the same for all: 32 characters or more (openssl rand -base64 32). Others can read flags in the process list: prefer the variable or the file."`
	ServiceTokenFile string `placeholder:"PATH" help:"File that holds the service token."`
}

func (s *serviceSettings) serviceToken(problems *errorCollector) string {
	token, err := s.ServiceToken.orFile(s.ServiceTokenFile, "--service-token")
	switch {
	case err != nil:
		problems.add(err)
	case token == "":
		problems.add(errors.New("the service token is missing: make one with \"openssl rand -base64 32\", and give the " +
			"same to stores, caches and gateways as GATEHOUSE_SERVICE_TOKEN or in a file named by GATEHOUSE_SERVICE_TOKEN_FILE"))
	default:
		problems.add(authn.ValidateServiceToken(token))
	}
	return token
}

// secondServiceSettings configure what callers may present while the service token is being changed.
type secondServiceSettings struct {
	SecondServiceToken     secret `placeholder:"SECRET" help:"Another service token that is accepted, but never sent: the next or the previous one while the service token is being changed. Others can read flags in the process list: prefer the variable or the file."`
	SecondServiceTokenFile string `placeholder:"PATH" help:"File that holds the second service token."`
}

// secondServiceToken returns the other token, or "" if none is set.
func (s *secondServiceSettings) secondServiceToken(problems *errorCollector) string {
	token, err := s.SecondServiceToken.orFile(s.SecondServiceTokenFile, "--second-service-token")
	problems.add(err, authn.ValidateSecondServiceToken(token))
	return token
}

// masterKeySettings configure the master keys. Without the first, `up` stores one in its data folder.
type masterKeySettings struct {
	MasterKey     secret `placeholder:"SECRET" help:"Key that seals the signing keys in the database: 32 random bytes in base64 (openssl rand -base64 32). Others can read flags in the process list: prefer the variable or the file."`
	MasterKeyFile string `placeholder:"PATH" help:"File that holds the master key."`

	SecondMasterKey     secret `placeholder:"SECRET" help:"Another master key that opens and verifies, but never seals or signs: the next or the previous one while the master key is being changed. Others can read flags in the process list: prefer the variable or the file."`
	SecondMasterKeyFile string `placeholder:"PATH" help:"File that holds the second master key."`
}

// masterKeys returns the keys. Either is nil if it is not set.
func (s *masterKeySettings) masterKeys(problems *errorCollector) (first, second []byte) {
	first, firstErr := keyOrFile(s.MasterKey, s.MasterKeyFile, "--master-key", "the master key")
	second, secondErr := keyOrFile(s.SecondMasterKey, s.SecondMasterKeyFile,
		"--second-master-key", "the second master key")
	problems.add(firstErr, secondErr)
	if first != nil {
		problems.add(storeconfig.ValidateMasterKeys(first, second))
	}
	return first, second
}

// requiredMasterKeys returns the keys as masterKeys does. The first must be set.
func (s *masterKeySettings) requiredMasterKeys(problems *errorCollector) (first, second []byte) {
	if s.MasterKey == "" && s.MasterKeyFile == "" {
		problems.add(errors.New("the master key is missing: make one with \"openssl rand -base64 32\", keep it safe, " +
			"and give it as GATEHOUSE_MASTER_KEY or in a file named by GATEHOUSE_MASTER_KEY_FILE"))
	}
	return s.masterKeys(problems)
}

// redisSettings configure Redis.
type redisSettings struct {
	RedisURL          string        `default:"redis://localhost:6379/0" help:"Redis: redis://HOST:PORT/DATABASE, redis+sentinel://MASTER@HOST:PORT,HOST:PORT/DATABASE with all Sentinels of the master, or redis+cluster://HOST:PORT,HOST:PORT with some nodes of a cluster; rediss instead of redis for TLS. The password is a setting of its own."`
	RedisUser         string        `help:"User of Redis by its ACL, who needs the password. The default user if it is left out, and always for Sentinels."`
	RedisPassword     secret        `placeholder:"SECRET" help:"Password of Redis, and of its Sentinels if they ask for one. Others can read flags in the process list: prefer the variable or the file."`
	RedisPasswordFile string        `placeholder:"PATH" help:"File that holds the password of Redis."`
	CacheTTL          time.Duration `name:"cache-ttl" default:"10m" help:"How long an entry stays in the cache, give or take a tenth."`
	CacheKey          secret        `placeholder:"SECRET" help:"Key by which cache services know what they have put into Redis, the same for all: 32 random bytes in base64 (openssl rand -base64 32), not the master key. Others can read flags in the process list: prefer the variable or the file."`
	CacheKeyFile      string        `placeholder:"PATH" help:"File that holds the cache key."`
}

func (s *redisSettings) cacheConfig(tokens tokenSettings, problems *errorCollector) cacheservice.Config {
	password, err := s.RedisPassword.orFile(s.RedisPasswordFile, "--redis-password")
	key, keyErr := keyOrFile(s.CacheKey, s.CacheKeyFile, "--cache-key", "the cache key")
	problems.add(err, keyErr)
	if s.CacheKey == "" && s.CacheKeyFile == "" {
		problems.add(errors.New("the cache key is missing: make one with \"openssl rand -base64 32\", and give it to all " +
			"caches as GATEHOUSE_CACHE_KEY or in a file named by GATEHOUSE_CACHE_KEY_FILE"))
	}
	return cacheservice.Config{
		Backend: cacheservice.BackendRedis, RedisURL: s.RedisURL, RedisUser: s.RedisUser, RedisPassword: password,
		TTL: s.CacheTTL, Key: key, Issuer: tokens.Issuer, Audience: tokens.Audience,
	}
}
