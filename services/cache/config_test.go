package cache

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestConfigNamesAllFaults(t *testing.T) {
	t.Parallel()
	good := Config{
		Backend: BackendRedis, RedisURL: "redis://cache:6379/2", Key: bytes.Repeat([]byte("c"), KeySize),
		ServiceToken: strings.Repeat("s", 32), Issuer: "https://issuer.example.com", Audience: "audience",
	}
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string // parts of the message; none means valid
	}{
		"redis":          {func(*Config) {}, nil},
		"redis with TLS": {func(c *Config) { c.RedisURL = "rediss://cache" }, nil},
		"sentinels":      {func(c *Config) { c.RedisURL = "redis+sentinel://main@one:26379,two,[::1]:5/3" }, nil},
		"a cluster":      {func(c *Config) { c.RedisURL = "rediss+cluster://one:6379,two,three/" }, nil},
		"two servers":    {func(c *Config) { c.RedisURL = "redis://one:6379,two:6379" }, []string{"redis://host:port"}},
		"no master":      {func(c *Config) { c.RedisURL = "redis+sentinel://one:26379" }, []string{"call the master"}},
		"a database of a cluster": {
			func(c *Config) { c.RedisURL = "redis+cluster://one,two/1" }, []string{"name no database"},
		},
		"an empty place":     {func(c *Config) { c.RedisURL = "redis+cluster://one,,two" }, []string{"redis+cluster://host:port"}},
		"no such kind":       {func(c *Config) { c.RedisURL = "redis+ring://one,two" }, []string{"redis+cluster://host:port"}},
		"Sentinels' secret":  {func(c *Config) { c.RedisURL = "redis+sentinel://main:hush@one" }, []string{"by their own settings"}},
		"a cluster's secret": {func(c *Config) { c.RedisURL = "redis+cluster://hush@one" }, []string{"by their own settings"}},
		"memory":             {func(c *Config) { c.Backend, c.RedisURL = BackendMemory, "" }, nil},
		"everything wrong":   {func(c *Config) { *c = Config{TTL: -1} }, []string{"backend", "TTL", "issuer", "audience", "service token"}},
		"a short key":        {func(c *Config) { c.Key = c.Key[1:] }, []string{"the cache key has 31 bytes"}},
		"a guessed token":    {func(c *Config) { c.ServiceToken = "hush" }, []string{"the service token has 4 characters"}},
		"short TTL":          {func(c *Config) { c.TTL = time.Millisecond }, []string{"1s to 24h"}},
		"no URL":             {func(c *Config) { c.RedisURL = "" }, []string{"redis://host:port"}},
		"no host":            {func(c *Config) { c.RedisURL = "redis://:6379" }, []string{"redis://host:port"}},
		"another scheme":     {func(c *Config) { c.RedisURL = "http://cache:6379" }, []string{"redis://host:port"}},
		"a query":            {func(c *Config) { c.RedisURL = "redis://cache?password=hush" }, []string{"redis://host:port"}},
		"a named database":   {func(c *Config) { c.RedisURL = "redis://cache/hush" }, []string{"database"}},
		"a password":         {func(c *Config) { c.RedisURL = "redis://:hush@cache" }, []string{"by their own settings"}},
		"a user":             {func(c *Config) { c.RedisURL = "redis://hush@cache" }, []string{"by their own settings"}},
		"a broken password": {
			func(c *Config) { c.RedisURL = "redis://cache:hush%zz" }, []string{"redis://host:port"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			test.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (test.want == nil) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("error %q tells the secret", err)
			}
		})
	}
}
