package load

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// TestHashMemory runs a process that may use 256 MiB, and tries passwords of accounts that were imported with hashes of
// as much, and of less than hashes may take there.
func TestHashMemory(t *testing.T) {
	const limit = 256 // MiB
	data := filepath.Join(t.TempDir(), "data")
	up := cluster.StartService(t, binary, "up", []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", limit)}, "--data", data)
	cluster.AwaitReady(t, up)
	env := seed(t, up, 1)

	file := filepath.Join(t.TempDir(), "users.jsonl")
	var lines strings.Builder
	for _, mib := range []int{limit, 48} {
		fmt.Fprintf(&lines, `{"email":"user%dMiB@example.com","fullName":"Ada","passwordHash":`+
			`"$argon2id$v=19$m=%d,t=1,p=1$%s$%s"}`+"\n", mib, mib<<10, strings.Repeat("A", 22), strings.Repeat("A", 43))
	}
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	imported := &testkit.Process{
		Path: binary, Args: []string{"users", "import", file, "--database-url", "sqlite:" + filepath.Join(data, "gatehouse.db")},
		Log: filepath.Join(t.TempDir(), "import"),
	}
	if err := imported.Start(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if code, err := imported.Wait(time.Minute); err != nil || code != 0 || !strings.Contains(imported.Tail(), "0 lines") {
		t.Fatalf("the import ended with %d, %v\n%s", code, err, imported.Tail())
	}

	attacker, bystander := newClient(t, env, "127.0.0.1"), newClient(t, env, "127.0.0.2")
	for i := range 8 {
		for _, email := range []string{"user256MiB@example.com", "user48MiB@example.com", "nobody@example.com"} {
			code, err := attacker.logIn(t.Context(), i%2 == 0,
				&gatehousev1.CreateSessionRequest{Email: email, Password: "wrong horse"})
			if code != codes.Unauthenticated {
				t.Errorf("%s gets %v", email, err)
			}
		}
		if _, err := bystander.logIn(t.Context(), i%2 == 0, env.accounts[0].logIn); err != nil {
			t.Errorf("a bystander: %v", err)
		}
	}
	if most := env.rss(t, "VmHWM"); most > limit {
		t.Errorf("the process took %d MiB", most)
	}
	if logged := env.gateway.Output(); !strings.Contains(logged, "its owner cannot log in") {
		t.Error("it is not logged that a password cannot be verified")
	}
	if response, err := http.Get("http://" + env.rest + "/readyz"); err != nil {
		t.Error(err)
	} else {
		_ = response.Body.Close()
	}
}
