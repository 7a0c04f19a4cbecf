package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

const module = "github.com/gatehouse-auth/gatehouse/"

// dependencies returns the packages that a package links.
func dependencies(t *testing.T, of string) []string {
	t.Helper()
	command := exec.Command("go", "list", "-deps", of)
	command.Dir = cluster.Root()
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(output))
}

// A service that an attacker controls cannot do what it does not link. In a process of its own it also has no setting
// for the master key: the table in docs/settings.md, which a test compares with the code, shows that only the store
// has.
func TestImports(t *testing.T) {
	t.Parallel()
	for service, forbidden := range map[string][]string{
		"gateway": {module + "services/store", module + "services/cache", "gorm.io/", "github.com/go-crypt/", "github.com/redis/"},
		"cache":   {module + "services/store", module + "services/gateway", "gorm.io/", "github.com/go-crypt/"},
		"store":   {module + "services/gateway", module + "services/cache", "github.com/redis/"},
	} {
		for _, dependency := range dependencies(t, module+"services/"+service) {
			for _, prefix := range forbidden {
				if strings.HasPrefix(dependency, prefix) {
					t.Errorf("the %s links %s", service, dependency)
				}
			}
		}
	}
}

// TestCompression checks that no package registers a compressor: grpc-go decompresses for every server of a process
// by what any linked package has registered, and a message is small when it is counted and large when it is
// decompressed. Where nothing is registered, every gRPC port answers a compressed message with UNIMPLEMENTED.
func TestCompression(t *testing.T) {
	t.Parallel()
	for _, dependency := range dependencies(t, module+"cmd/gatehouse") {
		if dependency == "google.golang.org/grpc/encoding/gzip" {
			t.Errorf("the binary links %s", dependency)
		}
	}
}
