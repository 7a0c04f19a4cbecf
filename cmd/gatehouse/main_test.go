package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/logging"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

// hidden represents a secret. Nothing that is printed may ever hold it.
const hidden = "hunter2-9f3c"

// serviceToken is one that can be used.
const serviceToken = "a-token-of-services-that-is-long-enough"

// masterKey is one that is right.
var masterKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, storeconfig.MasterKeySize))

// setenv sets for the tests an environment of their own: kong reads the process's.
func setenv(t *testing.T, variables ...string) []string {
	t.Helper()
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, value) // So that it comes back afterwards.
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	return variables
}

// run runs gatehouse as main does.
func run(t *testing.T, args []string, environment ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(args, setenv(t, environment...), &out, &errs)
	return code, out.String(), errs.String()
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeMode(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := write(t, content)
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSettingsReportAllProblems(t *testing.T) {
	code, stdout, stderr := run(t, []string{
		"store", "--log-level=loud", "--log-format=xml", "--access-token-lifetime=soon", "--argon2-memory=much",
		"--argon2-iterations=0", "--signing-algorithm=HS256", "--issuer=", "--audience=",
	}, "GATEHOUSE_MASTR_KEY="+hidden, "GATEHOUSE_ARGON2_PARALLELISM=99")
	if code != exitUsage || stdout != "" {
		t.Errorf("exit code is %d, stdout %q", code, stdout)
	}
	for _, fault := range []string{
		`--log-level is "loud"`, `--log-format is "xml"`, "--access-token-lifetime", "--argon2-memory", "iterations",
		"parallelism", `"HS256"`, "issuer", "audience", "--database-url is missing", "the master key is missing",
		"GATEHOUSE_MASTR_KEY is not a setting",
	} {
		lines := 0
		for line := range strings.Lines(strings.ToLower(stderr)) {
			if !strings.HasPrefix(line, "gatehouse: ") {
				t.Errorf("a line does not tell who speaks: %q", line)
			}
			if strings.Contains(line, strings.ToLower(fault)) {
				lines++
			}
		}
		if lines == 0 {
			t.Errorf("nothing is said of %s: %s", fault, stderr)
		}
	}
	if strings.Contains(stderr, hidden) {
		t.Errorf("a secret is printed: %s", stderr)
	}
}

func TestSettingsOfEachCommand(t *testing.T) {
	good := []string{"--database-url=mysql://gatehouse@localhost/gatehouse", "--master-key=" + masterKey}
	for _, test := range []struct {
		name  string
		args  []string
		fault string
	}{
		{"no such command", []string{"serve"}, "serve"},
		{"no such flag", []string{"gateway", "--prot=1"}, "--prot"},
		{"an argument too many", []string{"gateway", "now"}, "now"},
		{"a database password in the URL", append(good[1:], "store", "--database-url=mysql://g:"+hidden+"@h/d"), "must not hold the password"},
		{"a database URL that cannot be read", []string{"migrate", "--database-url=mysql://g:%" + hidden + "@h/d"}, "database URL"},
		{"a database of another kind", []string{"migrate", "--database-url=oracle:" + hidden}, "must be mysql://"},
		{"no database", []string{"migrate"}, "--database-url is missing"},
		{"a short master key", []string{"store", good[0], "--master-key=" + hidden}, "not 32 bytes in base64"},
		{"a master key without base64", []string{"store", good[0], "--master-key=" + strings.Repeat("!", 44)}, "not 32 bytes in base64"},
		{"a Redis password in the URL", []string{"cache", "--redis-url=redis://:" + hidden + "@h:6379/0"}, "password"},
		{"a Redis URL that cannot be read", []string{"cache", "--redis-url=redis://%" + hidden}, "Redis"},
		{"a lifetime beyond a day", append(good, "store", "--access-token-lifetime=25h"), "not 1s to 24h"},
		{"a refresh grace beyond five minutes", append(good, "store", "--refresh-grace=301s"), "not 0s to 5m"},
		{"a refresh grace below nothing", append(good, "store", "--refresh-grace=-1s"), "not 0s to 5m"},
		{"a session that ends before it is idle", append(good, "store", "--session-lifetime=1h"), "less than the idle lifetime"},
		{"a session without a lifetime", append(good, "store", "--session-idle-lifetime=0s"), "not at least 1s"},
		{"a proxy that is no network", []string{"gateway", "--trusted-proxies=10.0.0.0/8,everybody,10.0.0.0/33"}, `"everybody"`},
		{"a proxy in another notation", []string{"up", "--trusted-proxies=::ffff:10.0.0.0/104"}, "::ffff:10.0.0.0/104"},
		{"a reflection that is neither on nor off", []string{"up", "--reflection=maybe"}, `--reflection is "maybe"`},
		{"the same of the gateway", []string{"gateway", "--reflection="}, `--reflection is ""`},
		{"a cache without its key", []string{"cache", "--service-token=" + serviceToken}, "the cache key is missing"},
		{"an invalid cache key", []string{"cache", "--cache-key=" + hidden}, "the cache key is not 32 bytes in base64"},
		{"a store without a service token", append(good, "store"), "the service token is missing"},
		{"a gateway without a service token", []string{"gateway"}, "the service token is missing"},
		{"a gateway's service token that can be guessed", []string{"gateway", "--service-token=" + hidden}, "has 12 characters, not 32 to 1024"},
		{"a second service token that can be guessed", append(good, "store", "--service-token="+serviceToken, "--second-service-token="+hidden), "second service token"},
		{"a second service token of a cache that can be guessed", []string{"cache", "--second-service-token=" + hidden}, "second service token"},
		{"a service token that can be guessed", append(good, "store", "--service-token="+hidden), "has 12 characters, not 32 to 1024"},
		{"a gateway that never stops", []string{"gateway", "--drain-delay=1h"}, "--drain-delay"},
		{"one of two addresses", []string{"gateway", "--store-address=store:9092,store"}, `--store-address is "store"`},
		{"an invalid address for metrics", []string{"cache", "--metrics=here"}, "--metrics"},
		{"an invalid cache time", []string{"cache", "--cache-ttl=" + "long"}, "--cache-ttl"},
		{"up with another algorithm", []string{"up", "--signing-algorithm=PS256"}, `"PS256"`},
		{"health with another log", []string{"health", "--log-format=xml"}, "--log-format"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The command is to come first; flags of its own follow.
			args := test.args
			if strings.HasPrefix(args[0], "--") {
				for i, arg := range args {
					if !strings.HasPrefix(arg, "--") {
						args = append([]string{arg}, append(append([]string{}, args[:i]...), args[i+1:]...)...)
						break
					}
				}
			}
			code, _, stderr := run(t, args)
			if code != exitUsage || !strings.Contains(strings.ToLower(stderr), strings.ToLower(test.fault)) {
				t.Errorf("exit code is %d, want %d; stderr: %s", code, exitUsage, stderr)
			}
			if strings.Contains(stderr, hidden) {
				t.Errorf("a secret is printed: %s", stderr)
			}
		})
	}
}

func TestVariablesUnknown(t *testing.T) {
	code, _, stderr := run(t, []string{"migrate", "--database-url=sqlite:" + filepath.Join(t.TempDir(), "db")},
		"GATEHOUSE_DATABASE_PASWORD="+hidden, "GATEHOUSE_=1", "GATEHOUSE_LOG_LEVEL=info", "GATEHOUSEKEEPER=x", "PATH_TO=y")
	if code != exitUsage {
		t.Errorf("exit code is %d", code)
	}
	want := "gatehouse: GATEHOUSE_ is not a setting of any command: did you mean GATEHOUSE_HTTP?\n" +
		"gatehouse: GATEHOUSE_DATABASE_PASWORD is not a setting of any command: did you mean GATEHOUSE_DATABASE_PASSWORD?\n"
	if stderr != want {
		t.Errorf("stderr is %q, want %q", stderr, want)
	}
}

// TestVariablesOfOtherCommands checks that one environment file serves all services.
func TestVariablesOfOtherCommands(t *testing.T) {
	chosen := parsed(t, []string{"cache"}, "GATEHOUSE_CACHE_ADDRESS=elsewhere:1", "GATEHOUSE_MASTER_KEY="+hidden,
		"GATEHOUSE_REDIS_URL=redis://elsewhere:6379/0", "GATEHOUSE_CACHE_KEY="+masterKey,
		"GATEHOUSE_SERVICE_TOKEN="+serviceToken)
	if got := chosen.(*cache).RedisURL; got != "redis://elsewhere:6379/0" {
		t.Errorf("the URL is %s", got)
	}
}

func parsed(t *testing.T, args []string, environment ...string) command {
	t.Helper()
	chosen, _, err := parse(args, setenv(t, environment...), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	return chosen
}

func TestSettingsPrecedence(t *testing.T) {
	for _, test := range []struct {
		want        string
		args        []string
		environment []string
	}{
		{"http://localhost:8080", nil, nil},
		{"http://of.variable", nil, []string{"GATEHOUSE_ISSUER=http://of.variable"}},
		{"http://of.flag", []string{"--issuer=http://of.flag"}, []string{"GATEHOUSE_ISSUER=http://of.variable"}},
	} {
		chosen := parsed(t, append([]string{"gateway", "--service-token=" + serviceToken}, test.args...), test.environment...)
		if got := chosen.(*gateway).Issuer; got != test.want {
			t.Errorf("issuer is %q, want %q", got, test.want)
		}
	}
}

func TestSecrets(t *testing.T) {
	for _, test := range []struct {
		name, given, file, want, fault string
	}{
		{"neither", "", "", "", ""},
		{"given", hidden, "", hidden, ""},
		{"in a file", "", write(t, hidden), hidden, ""},
		{"in a file with white space around", "", write(t, "\n "+hidden+"\r\n"), hidden, ""},
		{"both", hidden, write(t, hidden), "", "--password and --password-file are both given"},
		{"an empty file", "", write(t, ""), "", "is empty"},
		{"a file of white space", "", write(t, " \n"), "", "is empty"},
		{"no file", "", filepath.Join(t.TempDir(), "nothing"), "", "no such file"},
		{"a folder", "", t.TempDir(), "", "--password-file"},
		{"a file that everybody can read", "", writeMode(t, hidden, 0o444), hidden, ""},
		{"a file that the group can write", "", writeMode(t, hidden, 0o660), hidden, ""},
		{"a file that everybody can write", "", writeMode(t, hidden, 0o602), "", "everybody can write"},
		{"a file over the limit", "", write(t, strings.Repeat(hidden, secretFileLimit/len(hidden)+1)), "", "over"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := secret(test.given).orFile(test.file, "--password")
			if test.fault == "" {
				if err != nil || got != test.want {
					t.Errorf("orFile = %q, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.fault) || got != "" {
				t.Errorf("orFile = %.20q, %v; want an error with %q", got, err, test.fault)
			}
			if err != nil && strings.Contains(err.Error(), hidden) {
				t.Errorf("a secret is printed: %v", err)
			}
		})
	}
}

func TestSecretsOfTheStore(t *testing.T) {
	const url = "GATEHOUSE_DATABASE_URL=mysql://gatehouse@localhost/gatehouse"
	for _, environment := range [][]string{
		{
			url, "GATEHOUSE_MASTER_KEY=" + masterKey, "GATEHOUSE_DATABASE_PASSWORD=" + hidden,
			"GATEHOUSE_SERVICE_TOKEN=" + serviceToken,
		},
		{
			url, "GATEHOUSE_MASTER_KEY_FILE=" + write(t, masterKey+"\n"), "GATEHOUSE_DATABASE_PASSWORD_FILE=" + write(t, hidden+"\n"),
			"GATEHOUSE_SERVICE_TOKEN_FILE=" + write(t, serviceToken+"\n"),
		},
	} {
		config := parsed(t, []string{"store"}, environment...).(*store).config
		if !bytes.Equal(config.MasterKey, bytes.Repeat([]byte{7}, 32)) || config.Database.Password != hidden ||
			config.ServiceToken != serviceToken {
			t.Errorf("config is %+v", config)
		}
	}
	code, _, stderr := run(t, []string{"store"}, url, "GATEHOUSE_MASTER_KEY="+masterKey,
		"GATEHOUSE_MASTER_KEY_FILE="+write(t, masterKey), "GATEHOUSE_DATABASE_PASSWORD="+hidden,
		"GATEHOUSE_DATABASE_PASSWORD_FILE="+write(t, hidden))
	if code != exitUsage || strings.Count(stderr, "are both given") != 2 {
		t.Errorf("exit code is %d; stderr: %s", code, stderr)
	}
	if strings.Contains(stderr, hidden) || strings.Contains(stderr, masterKey) {
		t.Errorf("a secret is printed: %s", stderr)
	}
}

func TestSecretNotPrinted(t *testing.T) {
	chosen := parsed(t, []string{
		"cache", "--redis-password=" + hidden, "--cache-key=" + masterKey, "--service-token=" + serviceToken,
	}).(*cache)
	if got := chosen.RedisPassword.String(); got != "(secret)" {
		t.Errorf("String = %q", got)
	}
	var log bytes.Buffer
	errs := logging.NewWriter(&log)
	(&logSettings{LogLevel: "info", LogFormat: "json"}).logger(errs).Info("settings", "password", chosen.RedisPassword)
	errs.Close()
	if strings.Contains(log.String(), hidden) || !strings.Contains(log.String(), "(secret)") {
		t.Errorf("the log is %s", log.String())
	}
	_, help, _ := run(t, []string{"cache", "--help"}, "GATEHOUSE_REDIS_PASSWORD="+hidden)
	if help == "" || strings.Contains(help, hidden) {
		t.Errorf("help prints the secret: %s", help)
	}
}

func TestHelpNamesEveryVariable(t *testing.T) {
	parser, err := newParser(&commands{}, &errorCollector{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`^GATEHOUSE_[A-Z0-9_]+$`)
	for _, child := range parser.Model.Leaves(false) {
		path := strings.Fields(child.Path())
		code, help, stderr := run(t, append(path, "--help"))
		if code != exitOK || stderr != "" {
			t.Errorf("%s --help: exit code is %d, stderr %q", path, code, stderr)
		}
		flat := strings.Join(strings.Fields(help), "")
		flags := 0
		for _, flag := range child.Flags {
			if flag.Name == "help" {
				continue
			}
			flags++
			if flag.Help == "" || len(flag.Envs) != 1 || !variable.MatchString(flag.Envs[0]) {
				t.Errorf("%s --%s has variables %v and help %q", child.Name, flag.Name, flag.Envs, flag.Help)
				continue
			}
			if !strings.Contains(flat, "--"+flag.Name) || !strings.Contains(flat, "$"+flag.Envs[0]) {
				t.Errorf("%s --help does not name --%s and %s: %s", child.Name, flag.Name, flag.Envs[0], help)
			}
		}
		if _, prints := reflect.TypeAssert[interface{ ignoresEnvironment() }](child.Target.Addr()); (flags == 0) != prints {
			t.Errorf("%s has %d flags", child.Name, flags)
		}
	}
	if len(parser.Model.Children)+1 != reflect.TypeFor[commands]().NumField() { // And --version.
		t.Errorf("there are %d commands", len(parser.Model.Children))
	}
}

func TestExitCodes(t *testing.T) {
	database := "--database-url=sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db")
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"nothing asked", nil, exitOK},
		{"help", []string{"--help"}, exitOK},
		{"help of a command", []string{"migrate", "--help"}, exitOK},
		{"a migration", []string{"migrate", database}, exitOK},
		{"the same again", []string{"migrate", database}, exitOK},
		{"a folder that is not there", []string{"migrate", "--database-url=sqlite:" + filepath.Join(t.TempDir(), "no", "such", "db")}, exitFailed},
		{"an address that cannot be listened on", []string{"gateway", "--service-token=" + serviceToken, "--http=" + taken(t), "--grpc=" + taken(t)}, exitFailed},
		{"a service that is not there", []string{"health", "--address=127.0.0.1:1"}, exitFailed},
		{"a wrong flag", []string{"migrate", "--no-such-flag"}, exitUsage},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := run(t, test.args)
			if code != test.want {
				t.Errorf("exit code is %d, want %d; stderr: %s", code, test.want, stderr)
			}
			if test.want != exitOK && !strings.Contains(stderr, "gatehouse: ") {
				t.Errorf("stderr is %q", stderr)
			}
			if len(test.args) == 0 && !strings.Contains(stdout, "gateway") {
				t.Errorf("the help is %q", stdout)
			}
		})
	}
}

func TestListenersAllErrors(t *testing.T) {
	_, _, stderr := run(t, []string{"gateway", "--service-token=" + serviceToken, "--http=" + taken(t), "--grpc=" + taken(t)})
	for _, flag := range []string{"--http", "--grpc"} {
		if !strings.Contains(stderr, flag) {
			t.Errorf("nothing is said of %s: %s", flag, stderr)
		}
	}
}

func TestCheckAddresses(t *testing.T) {
	for _, address := range []string{"", "foo", "1:2:3", ":http", ":70000", "host"} {
		if checkListen("--http", address) == nil {
			t.Errorf("%q is taken to listen on", address)
		}
		if checkTarget("--store-address", address) == nil {
			t.Errorf("%q is taken to connect to", address)
		}
	}
	for _, address := range []string{":8080", "127.0.0.1:0", "[::1]:1"} {
		if err := checkListen("--http", address); err != nil {
			t.Error(err)
		}
	}
	for _, address := range []string{"store:9092", "[::1]:1"} {
		if err := checkTarget("--store-address", address); err != nil {
			t.Error(err)
		}
	}
}

func TestVariablesOfKubernetes(t *testing.T) {
	var all commands
	parser, err := newParser(&all, &errorCollector{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	links := []string{
		"GATEHOUSE_PORT=tcp://10.0.0.1:8080", "GATEHOUSE_SERVICE_HOST=10.0.0.1", "GATEHOUSE_SERVICE_PORT=8080",
		"GATEHOUSE_SERVICE_PORT_HTTP=8080", "GATEHOUSE_PORT_8080_TCP=tcp://10.0.0.1:8080",
		"GATEHOUSE_PORT_8080_TCP_ADDR=10.0.0.1", "GATEHOUSE_STORE_SERVICE_HOST=10.0.0.2",
	}
	if err := unknownVariables(parser.Model, links); err != nil {
		t.Error(err)
	}
	if unknownVariables(parser.Model, []string{"GATEHOUSE_REPORT=1"}) == nil {
		t.Error("a variable that only looks like one is passed over")
	}
}

// taken returns an address that somebody listens on until the test ends.
func taken(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}
