// Package deploy_test checks that the Dockerfile and docker-compose.yml fit the program and each other.
package deploy_test

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

const (
	masterKey        = "GATEHOUSE_MASTER_KEY"
	databasePassword = "GATEHOUSE_DATABASE_PASSWORD"
	redisPassword    = "GATEHOUSE_REDIS_PASSWORD"
	cacheKey         = "GATEHOUSE_CACHE_KEY"
	serviceToken     = "GATEHOUSE_SERVICE_TOKEN"

	// image is what our services run, and nobody else.
	image = "gatehouse:dev"

	// root is the folder of the repository.
	root = "../.."
)

// secrets are what somebody who starts the file must have, each of them different.
func secrets() types.Mapping {
	return types.Mapping{
		masterKey:        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		databasePassword: "the database password",
		redisPassword:    "the Redis password",
		cacheKey:         "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=",
		serviceToken:     "the-service-token,-which-is-long-enough",
	}
}

// load reads docker-compose.yml as compose would with this environment.
func load(t *testing.T, environment types.Mapping) (*types.Project, error) {
	t.Helper()
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  checkout,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(checkout, "docker-compose.yml")}},
		Environment: maps.Clone(environment), // The loader adds to it.
	})
}

func mustLoad(t *testing.T) *types.Project {
	t.Helper()
	project, err := load(t, secrets())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// ours are the services that run gatehouse.
func ours(t *testing.T, project *types.Project) map[string]types.ServiceConfig {
	t.Helper()
	services := map[string]types.ServiceConfig{}
	for name, service := range project.Services {
		if service.Image == image {
			services[name] = service
		}
	}
	names := slices.Sorted(maps.Keys(services))
	if want := []string{"cache", "gateway", "migrate", "store"}; !slices.Equal(names, want) {
		t.Fatalf("the services that run %s are %v, not %v", image, names, want)
	}
	return services
}

// TestComposeMissingSecret checks that a missing or empty secret is an error, which names the command that makes it.
func TestComposeMissingSecret(t *testing.T) {
	for name := range secrets() {
		for how, environment := range map[string]types.Mapping{"missing": secrets(), "empty": secrets()} {
			t.Run(name+" "+how, func(t *testing.T) {
				delete(environment, name)
				if how == "empty" {
					environment[name] = ""
				}
				_, err := load(t, environment)
				if err == nil {
					t.Fatal("the file loads")
				}
				for _, want := range []string{name, "sh deploy/make-env.sh"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("the error does not say %q: %v", want, err)
					}
				}
			})
		}
	}
}

// TestMakeEnv checks that make-env.sh makes all secrets, and changes none that exists.
func TestMakeEnv(t *testing.T) {
	script, err := os.ReadFile(root + "/deploy/make-env.sh")
	if err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	if err := os.Mkdir(filepath.Join(copied, "deploy"), 0o700); err != nil {
		t.Fatal(err)
	}
	path, env := filepath.Join(copied, "deploy", "make-env.sh"), filepath.Join(copied, ".env")
	if err := os.WriteFile(path, script, 0o600); err != nil {
		t.Fatal(err)
	}
	// One secret is there already, in a line without an end.
	if err := os.WriteFile(env, []byte(redisPassword+"=mine"), 0o644); err != nil { // The script has to mend that.
		t.Fatal(err)
	}
	run := func() map[string]string {
		if output, err := exec.Command("sh", path).CombinedOutput(); err != nil {
			t.Fatalf("make-env.sh: %v\n%s", err, output)
		}
		read, err := dotenv.Read(env)
		if err != nil {
			t.Fatal(err)
		}
		return read
	}
	first := run()
	if _, err := load(t, first); err != nil {
		t.Errorf("the file does not load with what the script made: %v", err)
	}
	if first[redisPassword] != "mine" {
		t.Errorf("%s is no longer what it was", redisPassword)
	}
	if first[masterKey] == first[databasePassword] || len(first) != len(secrets()) {
		t.Errorf("the secrets are %d, or not different", len(first))
	}
	if info, err := os.Stat(env); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read .env: %v, %v", info.Mode(), err)
	}
	if second := run(); !maps.Equal(first, second) {
		t.Error("the second run changed secrets: the database could no longer be read")
	}
}

// TestComposeCommands passes every command line and its environment to the real parser. A deliberate fault
// ends the command before it does anything; because all faults are told at once, no other one may be told.
func TestComposeCommands(t *testing.T) {
	const fault = `gatehouse: --log-level is "deliberate", not debug, info, warn or error`
	for name, service := range ours(t, mustLoad(t)) {
		lines := map[string][]string{"command": service.Command}
		if service.HealthCheck != nil {
			lines["health check"] = service.HealthCheck.Test[2:]
		}
		for what, line := range lines {
			t.Run(name+" "+what, func(t *testing.T) {
				code, output := run(t, service, append(slices.Clone(line), "--log-level=deliberate")...)
				if got := strings.TrimSpace(output); code != 2 || got != fault {
					t.Errorf("%v ends with %d: %s", line, code, got)
				}
			})
		}
	}
}

// TestComposeVariables checks that each variable is a setting of the command that gets it.
func TestComposeVariables(t *testing.T) {
	for name, service := range ours(t, mustLoad(t)) {
		code, help := run(t, service, service.Command[0], "--help")
		if code != 0 {
			t.Fatalf("%s --help ends with %d: %s", service.Command[0], code, help)
		}
		for variable := range service.Environment {
			if !strings.Contains(help, "($"+variable+")") {
				t.Errorf("%s: %s is no setting of %s", name, variable, service.Command[0])
			}
		}
	}
}

// run runs gatehouse with the environment of the service, and returns its exit code and both outputs.
func run(t *testing.T, service types.ServiceConfig, args ...string) (code int, output string) {
	t.Helper()
	program, err := cluster.Build(cluster.RaceDetector)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, args...)
	command.Env = []string{} // Not that of the test.
	for name, value := range service.Environment {
		command.Env = append(command.Env, name+"="+*value)
	}
	raw, err := command.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(raw)
}

// TestComposeListen checks what the defaults do not do: they listen on loopback, where no other container, and
// no published port, reaches a service.
func TestComposeListen(t *testing.T) {
	want := map[string]map[string]string{
		"migrate": {}, "store": {"GATEHOUSE_LISTEN": ":9092"}, "cache": {"GATEHOUSE_LISTEN": ":9091"},
		"gateway": {"GATEHOUSE_HTTP": ":8080", "GATEHOUSE_GRPC": ":9090"},
	}
	got := map[string]map[string]string{}
	for name, service := range ours(t, mustLoad(t)) {
		got[name] = map[string]string{}
		for _, variable := range []string{"GATEHOUSE_LISTEN", "GATEHOUSE_HTTP", "GATEHOUSE_GRPC"} {
			if value := service.Environment[variable]; value != nil {
				got[name][variable] = *value
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	dockerfile, err := os.ReadFile(root + "/deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(dockerfile), "\nENV GATEHOUSE_HTTP=:8080 GATEHOUSE_GRPC=:9090\n") {
		t.Error("the image does not serve beyond its container")
	}
}

// TestComposeSecrets checks that each service gets the secrets that it needs, and no other.
func TestComposeSecrets(t *testing.T) {
	want := map[string][]string{
		"migrate": {databasePassword},
		"store":   {databasePassword, masterKey, serviceToken},
		"cache":   {cacheKey, redisPassword, serviceToken},
		"gateway": {serviceToken},
		"mysql":   {databasePassword},
		"redis":   {redisPassword},
	}
	project := mustLoad(t)
	got := map[string][]string{}
	for name, service := range project.Services {
		for variable, value := range service.Environment {
			if secret := nameOf(*value); secret != "" {
				got[name] = append(got[name], secret)
			} else if isSecret(variable) {
				t.Errorf("%s: %s is written into the file", name, variable)
			}
		}
		slices.Sort(got[name])
		words := slices.Concat(service.Command, service.Entrypoint, healthCheck(service))
		for _, word := range words {
			if nameOf(word) != "" {
				t.Errorf("%s: the process list shows a secret: %q", name, word)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("secrets by service (-want +got):\n%s", diff)
	}
}

// nameOf reports which secret is in the text.
func nameOf(text string) string {
	for name, secret := range secrets() {
		if strings.Contains(text, secret) {
			return name
		}
	}
	return ""
}

func isSecret(variable string) bool {
	if variable == "MYSQL_RANDOM_ROOT_PASSWORD" { // which is yes
		return false
	}
	for _, word := range []string{"PASSWORD", "KEY", "SECRET", "TOKEN", "AUTH"} {
		if slices.Contains(strings.Split(variable, "_"), word) || strings.HasSuffix(variable, word) {
			return true
		}
	}
	return false
}

// TestComposeDependsOn checks that each service starts after those that it needs.
func TestComposeDependsOn(t *testing.T) {
	const healthy, completed = types.ServiceConditionHealthy, types.ServiceConditionCompletedSuccessfully
	want := map[string]map[string]string{
		"mysql":   {},
		"redis":   {},
		"migrate": {"mysql": healthy},
		"store":   {"mysql": healthy, "migrate": completed},
		"cache":   {"redis": healthy, "store": healthy},
		"gateway": {"store": healthy, "cache": healthy},
	}
	got := map[string]map[string]string{}
	for name, service := range mustLoad(t).Services {
		got[name] = map[string]string{}
		for other, dependency := range service.DependsOn {
			got[name][other] = dependency.Condition
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("depends_on (-want +got):\n%s", diff)
	}
}
