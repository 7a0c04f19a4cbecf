package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

// healthCheck is the command of the service's health check.
func healthCheck(service types.ServiceConfig) []string {
	if service.HealthCheck == nil {
		return nil
	}
	return service.HealthCheck.Test
}

// TestComposeHealthChecks checks that the health checks of our services run our binary.
func TestComposeHealthChecks(t *testing.T) {
	want := map[string][]string{
		"gateway": {"CMD", "/gatehouse", "health", "--address", "localhost:9090"},
		"cache":   {"CMD", "/gatehouse", "health", "--address", "localhost:9091"},
		"store":   {"CMD", "/gatehouse", "health", "--address", "localhost:9092"},
		"migrate": nil, // It ends; its exit code tells.
	}
	got := map[string][]string{}
	for name, service := range ours(t, mustLoad(t)) {
		got[name] = healthCheck(service)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("health checks (-want +got):\n%s", diff)
	}
}

// TestComposeDatabaseHealthChecks checks that the health checks of MySQL and Redis log in.
func TestComposeDatabaseHealthChecks(t *testing.T) {
	services := mustLoad(t).Services
	for name, words := range map[string][]string{
		"mysql": {"--protocol=tcp", `--user="$MYSQL_USER"`, `MYSQL_PWD="$MYSQL_PASSWORD"`, "SELECT 1"},
		"redis": {"redis-cli ping", "= PONG"},
	} {
		line := strings.Join(healthCheck(services[name]), " ")
		for _, word := range words {
			// $$ is compose's $ where the loader leaves the text as the container gets it.
			if !strings.Contains(strings.ReplaceAll(line, "$$", "$"), word) {
				t.Errorf("the health check of %s has no %s: %s", name, word, line)
			}
		}
	}
}

// TestComposePorts checks that only the gateway publishes ports, on loopback.
func TestComposePorts(t *testing.T) {
	published := []string{}
	for name, service := range mustLoad(t).Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published on %q", name, port.Published, port.HostIP)
			}
			published = append(published, name+":"+port.Published)
		}
		if service.NetworkMode != "" {
			t.Errorf("%s: network_mode is %s", name, service.NetworkMode)
		}
	}
	slices.Sort(published)
	if want := []string{"gateway:8080", "gateway:9090"}; !slices.Equal(published, want) {
		t.Errorf("published are %v, not %v", published, want)
	}
}

// TestComposeNetworks checks that each network connects only services that talk to each other.
func TestComposeNetworks(t *testing.T) {
	want := map[string][]string{
		"public":   {"gateway"},
		"services": {"cache", "gateway", "store"},
		"database": {"migrate", "mysql", "store"},
		"redis":    {"cache", "redis"},
	}
	project := mustLoad(t)
	got := map[string][]string{}
	for name, service := range project.Services {
		for network := range service.Networks {
			got[network] = append(got[network], name)
		}
	}
	for network, members := range got {
		slices.Sort(members)
		if project.Networks[network].Internal != (network != "public") {
			t.Errorf("network %s: internal is %t", network, project.Networks[network].Internal)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("services by network (-want +got):\n%s", diff)
	}
}

// TestComposeConfinement checks that each container runs without privileges that it does not need.
func TestComposeConfinement(t *testing.T) {
	for name, service := range mustLoad(t).Services {
		if !service.ReadOnly {
			t.Errorf("%s: the root file system can be written", name)
		}
		if !slices.Equal(service.CapDrop, []string{"ALL"}) || len(service.CapAdd) > 0 || service.Privileged {
			t.Errorf("%s: has capabilities", name)
		}
		if !slices.Equal(service.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: security_opt is %v", name, service.SecurityOpt)
		}
		if service.Image != image && !numericUser.MatchString(service.User) {
			t.Errorf("%s: runs as %q", name, service.User)
		}
		if service.Image == image && service.User != "" {
			t.Errorf("%s: runs as %q, not as the image says", name, service.User)
		}
		if want := map[bool]string{true: "no", false: "unless-stopped"}[name == "migrate"]; service.Restart != want {
			t.Errorf("%s: restart is %s, not %s", name, service.Restart, want)
		}
		if service.StopGracePeriod == nil || time.Duration(*service.StopGracePeriod) <= deadlines.Drain {
			t.Errorf("%s: is killed before calls under way have had their %v", name, deadlines.Drain)
		}
	}
}

// TestComposeImages checks that each image has a version, and that one service builds ours.
func TestComposeImages(t *testing.T) {
	var builders []string
	for name, service := range mustLoad(t).Services {
		if _, tag, found := strings.Cut(service.Image, ":"); !found || tag == "latest" {
			t.Errorf("%s: image %q has no version", name, service.Image)
		}
		if service.Build != nil {
			builders = append(builders, name+" "+service.Build.Dockerfile)
		}
	}
	// Several builds of one name at once fail with "already exists" where compose builds in parallel.
	if want := []string{"migrate deploy/Dockerfile"}; !slices.Equal(builders, want) {
		t.Errorf("builders are %v, not %v", builders, want)
	}
}

// numericUser is a user and group by number, of which neither is root.
var numericUser = regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`)

func TestDockerfile(t *testing.T) {
	text := read(t, root+"/deploy/Dockerfile")
	stages := strings.Split(text, "\nFROM ")
	final := stages[len(stages)-1]
	if !strings.HasPrefix(final, "scratch\n") {
		t.Error("the last stage is not scratch")
	}
	if user := submatch(t, final, `(?m)^USER (.+)$`); !numericUser.MatchString(user) {
		t.Errorf("USER is %q", user)
	}
	if got := submatch(t, final, `(?m)^ENTRYPOINT (.+)$`); got != `["/gatehouse"]` {
		t.Errorf("ENTRYPOINT is %s", got)
	}
	version := submatch(t, read(t, root+"/go.mod"), `(?m)^go (\d+\.\d+)`)
	if got := submatch(t, text, `(?m)^FROM .*golang:(\S+)`); got != version {
		t.Errorf("the image is built with Go %s, and go.mod wants %s", got, version)
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", `-ldflags "-s -w"`, "ca-certificates.crt"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// TestDockerignore checks that neither secrets nor data get into the context of the image build.
func TestDockerignore(t *testing.T) {
	ignored := strings.Split(read(t, root+"/.dockerignore"), "\n")
	for _, path := range []string{".git", ".env", "build", "gatehouse-data", "secrets", "test", "**/*_test.go"} {
		if !slices.Contains(ignored, path) {
			t.Errorf(".dockerignore lets %s in", path)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func submatch(t *testing.T, text, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("nothing matches %s", pattern)
	}
	return match[1]
}
