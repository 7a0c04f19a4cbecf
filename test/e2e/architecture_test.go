package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// What a service cannot link it cannot do, whoever has taken it over. In a process of its own it also has no setting for
// the master key: the table in the README, which a test compares with the code, shows that only the store has.
func TestOnlyTheStoreCanSign(t *testing.T) {
	t.Parallel()
	const module = "github.com/gatehouse-auth/gatehouse/"
	for service, forbidden := range map[string][]string{
		"gateway": {module + "services/store", module + "services/cache", "gorm.io/", "github.com/go-crypt/", "github.com/redis/"},
		"cache":   {module + "services/store", module + "services/gateway", "gorm.io/", "github.com/go-crypt/"},
		"store":   {module + "services/gateway", module + "services/cache", "github.com/redis/"},
	} {
		output, err := exec.Command("go", "list", "-deps", module+"services/"+service).Output()
		if err != nil {
			t.Fatal(err)
		}
		for dependency := range strings.FieldsSeq(string(output)) {
			for _, prefix := range forbidden {
				if strings.HasPrefix(dependency, prefix) {
					t.Errorf("the %s links %s", service, dependency)
				}
			}
		}
	}
}
