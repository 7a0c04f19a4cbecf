package main

import (
	"slices"
	"strings"
	"testing"
)

func TestVariables(t *testing.T) {
	t.Run("an_unknown_one_is_refused_with_the_closest_name", func(t *testing.T) {
		for given, want := range map[string]string{
			"GATEHOUSE_MASTR_KEY": "GATEHOUSE_MASTER_KEY", "GATEHOUSE_DATABASEURL": "GATEHOUSE_DATABASE_URL",
			"GATEHOUSE_LOGLEVEL": "GATEHOUSE_LOG_LEVEL", "GATEHOUSE_LISTENER": "GATEHOUSE_LISTEN",
		} {
			code, _, stderr := run(t, []string{"up"}, given+"="+hidden)
			if code != exitUsage || !strings.Contains(stderr, given+" is not a setting of any command: did you mean "+want+"?") {
				t.Errorf("exit code %d, stderr %q, want %s", code, stderr, want)
			}
		}
	})
	t.Run("those_that_a_command_does_not_use_are_named", func(t *testing.T) {
		environment := setenv(t, "GATEHOUSE_DATABASE_URL=mysql://g@h/d", "GATEHOUSE_REDIS_URL=redis://h", "GATEHOUSE_LOG_LEVEL=info",
			"GATEHOUSE_SERVICE_TOKEN="+serviceToken, "GATEHOUSE_MASTER_KEY="+masterKey, "GATEHOUSE_SERVICE_PORT=1", "OTHER=1")
		for command, want := range map[string][]string{
			"up":      {"GATEHOUSE_DATABASE_URL", "GATEHOUSE_REDIS_URL", "GATEHOUSE_SERVICE_TOKEN"},
			"gateway": {"GATEHOUSE_DATABASE_URL", "GATEHOUSE_MASTER_KEY", "GATEHOUSE_REDIS_URL"},
			"store":   {"GATEHOUSE_REDIS_URL"},
		} {
			_, ignored, err := parse([]string{command}, environment, nil)
			if err != nil || !slices.Equal(ignored, want) {
				t.Errorf("%s ignores %v, %v, want %v", command, ignored, err, want)
			}
		}
	})
	t.Run("a_key_that_is_empty_is_refused", func(t *testing.T) {
		for name, command := range map[string]string{
			"GATEHOUSE_MASTER_KEY": "up", "GATEHOUSE_MASTER_KEY_FILE": "up", "GATEHOUSE_SERVICE_TOKEN": "gateway", "GATEHOUSE_CACHE_KEY": "cache",
		} {
			code, _, stderr := run(t, []string{command}, name+"=")
			if code != exitUsage || !strings.Contains(stderr, name+" is empty") {
				t.Errorf("%s with an empty %s: exit code %d, stderr %q", command, name, code, stderr)
			}
		}
	})
}

func TestRedisUser(t *testing.T) {
	args := []string{"cache", "--cache-key=" + masterKey, "--service-token=" + serviceToken, "--redis-user=cache"}
	code, _, stderr := run(t, args)
	if code != exitUsage || !strings.Contains(stderr, "the Redis user has no password") {
		t.Errorf("without a password: exit code %d, stderr %q", code, stderr)
	}
	settings := redisSettings{RedisUser: "cache", RedisPassword: "secret", CacheKey: secret(masterKey)}
	var problems errorCollector
	if config := settings.cacheConfig(tokenSettings{}, &problems); problems.err() != nil || config.RedisUser != "cache" {
		t.Errorf("the user is %q, %v", config.RedisUser, problems.err())
	}
}

// TestSecretFiles checks that no command takes a file that is empty, or too short for a key, whatever it is for.
func TestSecretFiles(t *testing.T) {
	const database = "--database-url=mysql://g@h/d"
	for flag, args := range map[string][]string{
		"--master-key-file":           {"up"},
		"--second-master-key-file":    {"store", database, "--master-key=" + masterKey, "--service-token=" + serviceToken},
		"--service-token-file":        {"gateway"},
		"--second-service-token-file": {"cache", "--cache-key=" + masterKey, "--service-token=" + serviceToken},
		"--cache-key-file":            {"cache", "--service-token=" + serviceToken},
		"--database-password-file":    {"migrate", database},
		"--redis-password-file":       {"cache", "--cache-key=" + masterKey, "--service-token=" + serviceToken},
	} {
		for content, want := range map[string]string{"": "is empty", " \n\t": "is empty", "c2hvcnQ=": "not 32"} {
			if want == "not 32" && strings.Contains(flag, "password") {
				continue // Others have made it.
			}
			code, _, stderr := run(t, append(args, flag, write(t, content)))
			if code != exitUsage || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s of %q: exit code %d, stderr %q", flag, content, code, stderr)
			}
		}
	}
}
