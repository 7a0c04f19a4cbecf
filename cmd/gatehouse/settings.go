package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/logging"
	cacheservice "github.com/gatehouse-auth/gatehouse/services/cache"
	gatewayservice "github.com/gatehouse-auth/gatehouse/services/gateway"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

// secretFileLimit bounds a file that a secret is read from, in bytes.
const secretFileLimit = 4 << 10

// logSettings say what is logged, and how. The log goes to stderr.
type logSettings struct {
	LogLevel  string `default:"info" help:"Least severe level that is logged: debug, info, warn or error."`
	LogFormat string `default:"auto" help:"Form of the log: text, json, or auto (text on a terminal, json elsewhere)."`

	stderr *logging.Writer // set by logger
}

func (s *logSettings) faults() error {
	var level slog.Level
	var faults []error
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		faults = append(faults, fmt.Errorf("--log-level is %q, not debug, info, warn or error", s.LogLevel))
	}
	if s.LogFormat != logging.Auto && s.LogFormat != logging.Text && s.LogFormat != logging.JSON {
		faults = append(faults, fmt.Errorf("--log-format is %q, not auto, text or json", s.LogFormat))
	}
	return errors.Join(faults...)
}

// logger returns a logger that leaves tokens out of whatever is logged.
func (s *logSettings) logger(stderr *logging.Writer) *slog.Logger {
	s.stderr = stderr
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // faults has checked it.
	return logging.New(stderr, level, s.LogFormat)
}

// tokenSettings are what everybody who verifies a token must agree on.
type tokenSettings struct {
	Issuer   string `default:"http://localhost:8080" help:"Issuer of the access tokens (claim iss): the public URL of the gateway. The same for all services."`
	Audience string `default:"gatehouse" help:"Audience of the access tokens (claim aud). The same for all services."`
}

// algorithmSettings say what signing keys are made for.
type algorithmSettings struct {
	SigningAlgorithm string `help:"Algorithm of the signing keys: ES256, EdDSA, or RS256. A store that starts with another one than that of the newest key makes the next key. If it is left out, the first key is for ES256, and each other for the algorithm of the one before it."`
}

// signingSettings say how the store makes tokens and password hashes.
type signingSettings struct {
	algorithmSettings
	KeyRotationInterval time.Duration `default:"720h" help:"How long a signing key signs before the next one does: 1h to 8760h. The next is published 10 minutes before."`
	AccessTokenLifetime time.Duration `default:"15m" help:"How long an access token is good: 1s to 24h."`
	argon2Settings
}

// argon2Settings say what a password hash costs.
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

// edgeSettings say what the gateway believes of those who call it.
type edgeSettings struct {
	TrustedProxies []string `placeholder:"NETWORKS" help:"Proxies before the gateway whose X-Forwarded-For is believed: addresses or networks such as 10.0.0.0/8, with commas between. Nobody's, if there are none."`
	introspectionSettings
	Reflection string `default:"auto" help:"Server reflection on the native gRPC port, by which tools such as grpcurl know the calls, without a token: on, off, or auto (on in up if --grpc is a loopback address, off elsewhere)."`
}

// introspectionSettings say which client may introspect tokens.
type introspectionSettings struct {
	IntrospectionClientID         string `placeholder:"ID" help:"Client that may introspect tokens at /oauth2/introspect (RFC 7662), by HTTP Basic. Without one there is no such endpoint."`
	IntrospectionClientSecret     secret `placeholder:"SECRET" help:"Secret of that client: 32 characters or more (openssl rand -base64 32). Others can read flags in the process list: prefer the variable or the file."`
	IntrospectionClientSecretFile string `placeholder:"PATH" help:"File that holds the secret of that client."`
}

func (s *introspectionSettings) client() (gatewayservice.IntrospectionClient, error) {
	secret, err := s.IntrospectionClientSecret.orFile(s.IntrospectionClientSecretFile, "--introspection-client-secret")
	client := gatewayservice.IntrospectionClient{ID: s.IntrospectionClientID, Secret: secret}
	if err != nil {
		return client, err
	}
	return client, client.Validate()
}

// The values of --reflection.
const (
	reflectionAuto = "auto"
	reflectionOn   = "on"
	reflectionOff  = "off"
)

// gatewayConfig returns the gateway's configuration, and an error that names every setting that is wrong.
func (s *edgeSettings) gatewayConfig(tokens tokenSettings) (gatewayservice.Config, error) {
	config := gatewayservice.Config{
		Issuer: tokens.Issuer, Audience: tokens.Audience, Reflection: s.Reflection == reflectionOn,
	}
	client, clientErr := s.client()
	config.Introspection = client
	faults := []error{clientErr}
	if s.Reflection != reflectionAuto && s.Reflection != reflectionOn && s.Reflection != reflectionOff {
		faults = append(faults, fmt.Errorf("--reflection is %q, not auto, on or off", s.Reflection))
	}
	for _, text := range s.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if address, addressErr := netip.ParseAddr(text); addressErr == nil && address.Zone() == "" {
			network, err = address.Unmap().Prefix(address.Unmap().BitLen())
		}
		if err != nil || network.Addr().Is4In6() {
			faults = append(faults, fmt.Errorf("--trusted-proxies: %q is no address or network such as 10.0.0.0/8", text))
			continue
		}
		config.TrustedProxies = append(config.TrustedProxies, network.Masked())
	}
	return config, errors.Join(faults...)
}

// sessionSettings say how long sessions last.
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

// accountSettings say what of an account tokens tell, and how long what happened to accounts is kept.
type accountSettings struct {
	AppMetadataClaims []string      `placeholder:"NAMES" help:"Names of members of a user's appMetadata that go into the user's access tokens, in the claim app_metadata, with commas between. None, if none is named."`
	OwnChanges        int           `name:"own-changes-per-minute" default:"60" help:"How many changes of a kind users may make to their own accounts in a minute, and of the profile 20 times as many in a day: 1 to 100000."`
	AuditRetention    time.Duration `default:"8760h" help:"How long audit events are kept: 24h or more (a year is 8760h), or 0 for ever."`
}

// databaseSettings say where the store's database is.
type databaseSettings struct {
	DatabaseURL          string `placeholder:"URL" help:"Database: mysql://USER@HOST:PORT/NAME (?tls=true for TLS; nodes of one cluster as HOST:PORT,HOST:PORT, of which the first that can be had is used) or sqlite:PATH. The password is a setting of its own."`
	DatabasePassword     secret `placeholder:"SECRET" help:"Password of the database user. Others can read flags in the process list: prefer the variable or the file."`
	DatabasePasswordFile string `placeholder:"PATH" help:"File that holds the password of the database user."`
}

func (s *databaseSettings) database() (storeconfig.Database, error) {
	password, err := s.DatabasePassword.orFile(s.DatabasePasswordFile, "--database-password")
	if s.DatabaseURL == "" {
		missing := errors.New("--database-url is missing: for example mysql://gatehouse@localhost:3306/gatehouse")
		err = errors.Join(err, missing)
	}
	return storeconfig.Database{URL: s.DatabaseURL, Password: password}, err
}

func (s *databaseSettings) databaseFaults() error {
	database, err := s.database()
	if database.URL != "" {
		err = errors.Join(err, database.Validate())
	}
	return err
}

// serviceSettings say by what services know each other.
type serviceSettings struct {
	ServiceToken     secret `placeholder:"SECRET" help:"Token by which the services know each other, the same for all: 32 characters or more (openssl rand -base64 32). Others can read flags in the process list: prefer the variable or the file."`
	ServiceTokenFile string `placeholder:"PATH" help:"File that holds the service token."`
}

func (s *serviceSettings) serviceToken() (string, error) {
	token, err := s.ServiceToken.orFile(s.ServiceTokenFile, "--service-token")
	if err == nil && token == "" {
		err = errors.New("the service token is missing: make one with \"openssl rand -base64 32\", and give the same " +
			"to stores, caches and gateways as GATEHOUSE_SERVICE_TOKEN or in a file named by GATEHOUSE_SERVICE_TOKEN_FILE")
	}
	return token, err
}

// secondServiceSettings say what callers may present while the service token is being changed.
type secondServiceSettings struct {
	SecondServiceToken     secret `placeholder:"SECRET" help:"Another service token that is accepted, but never sent: the next or the previous one while the service token is being changed. Others can read flags in the process list: prefer the variable or the file."`
	SecondServiceTokenFile string `placeholder:"PATH" help:"File that holds the second service token."`
}

// secondServiceToken returns the other token, or "" if none is set.
func (s *secondServiceSettings) secondServiceToken() (string, error) {
	return s.SecondServiceToken.orFile(s.SecondServiceTokenFile, "--second-service-token")
}

// masterKeySettings say where the master keys are. Without the first `up` keeps one in its data folder.
type masterKeySettings struct {
	MasterKey     secret `placeholder:"SECRET" help:"Key that seals the signing keys in the database: 32 random bytes in base64 (openssl rand -base64 32). Others can read flags in the process list: prefer the variable or the file."`
	MasterKeyFile string `placeholder:"PATH" help:"File that holds the master key."`

	SecondMasterKey     secret `placeholder:"SECRET" help:"Another master key that opens and verifies, but never seals or signs: the next or the previous one while the master key is being changed. Others can read flags in the process list: prefer the variable or the file."`
	SecondMasterKeyFile string `placeholder:"PATH" help:"File that holds the second master key."`
}

// masterKey gives the key, or nil if none is set.
func (s *masterKeySettings) masterKey() ([]byte, error) {
	return masterKeyOf(s.MasterKey, s.MasterKeyFile, "--master-key", "the master key")
}

// secondMasterKey gives the other key, or nil if none is set.
func (s *masterKeySettings) secondMasterKey() ([]byte, error) {
	return masterKeyOf(s.SecondMasterKey, s.SecondMasterKeyFile, "--second-master-key", "the second master key")
}

func masterKeyOf(given secret, path, flag, name string) ([]byte, error) {
	encoded, err := given.orFile(path, flag)
	if err != nil || encoded == "" {
		return nil, err
	}
	return decodeKey(encoded, name)
}

// errNoMasterKey tells how to make one.
var errNoMasterKey = errors.New("the master key is missing: make one with \"openssl rand -base64 32\", keep it safe, " +
	"and give it as GATEHOUSE_MASTER_KEY or in a file named by GATEHOUSE_MASTER_KEY_FILE")

// keySize is the size of every key that an operator makes, in bytes.
const keySize = 32

func decodeKey(encoded, name string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%s is not %d bytes in base64: make one with \"openssl rand -base64 32\"", name, keySize)
	}
	return key, nil
}

// redisSettings say where Redis is.
type redisSettings struct {
	RedisURL          string        `default:"redis://localhost:6379/0" help:"Redis: redis://HOST:PORT/DATABASE, redis+sentinel://MASTER@HOST:PORT,HOST:PORT/DATABASE with all Sentinels of the master, or redis+cluster://HOST:PORT,HOST:PORT with some nodes of a cluster; rediss instead of redis for TLS. The password is a setting of its own."`
	RedisUser         string        `help:"User of Redis by its ACL, who needs the password. The default user if it is left out, and always for Sentinels."`
	RedisPassword     secret        `placeholder:"SECRET" help:"Password of Redis, and of its Sentinels if they ask for one. Others can read flags in the process list: prefer the variable or the file."`
	RedisPasswordFile string        `placeholder:"PATH" help:"File that holds the password of Redis."`
	CacheTTL          time.Duration `name:"cache-ttl" default:"10m" help:"How long an entry stays in the cache, give or take a tenth."`
	CacheKey          secret        `placeholder:"SECRET" help:"Key by which cache services know what they have put into Redis, the same for all: 32 random bytes in base64 (openssl rand -base64 32), not the master key. Others can read flags in the process list: prefer the variable or the file."`
	CacheKeyFile      string        `placeholder:"PATH" help:"File that holds the cache key."`
}

func (s *redisSettings) cacheKey() ([]byte, error) {
	encoded, err := s.CacheKey.orFile(s.CacheKeyFile, "--cache-key")
	if err != nil {
		return nil, err
	}
	if encoded == "" {
		return nil, errors.New("the cache key is missing: make one with \"openssl rand -base64 32\", and give it to all " +
			"caches as GATEHOUSE_CACHE_KEY or in a file named by GATEHOUSE_CACHE_KEY_FILE")
	}
	return decodeKey(encoded, "the cache key")
}

func (s *redisSettings) config(tokens tokenSettings) (cacheservice.Config, error) {
	password, err := s.RedisPassword.orFile(s.RedisPasswordFile, "--redis-password")
	key, keyErr := s.cacheKey()
	return cacheservice.Config{
		Backend: cacheservice.BackendRedis, RedisURL: s.RedisURL, RedisUser: s.RedisUser, RedisPassword: password,
		TTL: s.CacheTTL, Key: key,
		Issuer: tokens.Issuer, Audience: tokens.Audience,
	}, errors.Join(err, keyErr)
}

// secret is a setting that must not be printed.
type secret string

// String hides the secret from whoever prints the settings.
func (s secret) String() string { return "(secret)" }

// LogValue hides the secret from the log.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// orFile gives the secret, or what the file holds without the white space around it. Both at once are refused: one of
// them would be ignored.
func (s secret) orFile(path, flag string) (string, error) {
	switch {
	case path == "":
		return string(s), nil
	case s != "":
		return "", fmt.Errorf("%s and %s-file are both given: leave one out", flag, flag)
	}
	value, err := readSecretFile(path)
	if err != nil {
		return "", fmt.Errorf("%s-file: %w", flag, err)
	}
	return value, nil
}

// readSecretFile reads a secret of at most 4 KiB, without the white space around it.
func readSecretFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // It was only read.
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	// Files that everybody may read are accepted: that is how orchestrators mount secrets.
	if info.Mode().IsRegular() && info.Mode().Perm()&othersWrite != 0 {
		return "", fmt.Errorf("everybody can write to %s: run chmod o-w %s, and check what is in it", path, path)
	}
	content, err := io.ReadAll(io.LimitReader(file, secretFileLimit+1))
	if err != nil {
		return "", err
	}
	if len(content) > secretFileLimit { // What is cut off would be missed later, as a wrong password.
		return "", fmt.Errorf("%s is over %d bytes", path, secretFileLimit)
	}
	value := strings.TrimSpace(string(content))
	if value == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return value, nil
}
