//go:build servers

package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

// TestImportWithSmallPackets imports into a server that takes no long statements: all lines, at the first attempt.
func TestImportWithSmallPackets(t *testing.T) {
	const users = 300
	var lines strings.Builder
	for n := range users {
		fmt.Fprintf(&lines, `{"email":"%d@example.com","fullName":"Ada","passwordHash":"%s","metadata":{"text":"%s"}}`+"\n",
			n, bcryptHash, strings.Repeat("'", 1500))
	}
	database := storeconfig.Database{URL: mariaDB.NewDatabase(t)}
	bystander := startStore(t, testConfig(database, newClock()))
	bystander.signUp(t)
	token := bystander.logIn(t).GetAccessToken()
	root, err := mariaDB.Server(t).Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := root.Exec("SET GLOBAL max_allowed_packet = DEFAULT")
		if err := errors.Join(err, root.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := root.ExecContext(t.Context(), "SET GLOBAL max_allowed_packet = 65536"); err != nil {
		t.Fatal(err)
	}
	if summary, _ := importLines(t, database, 0, lines.String()); summary.Imported != users || summary.Refused != 0 {
		t.Errorf("the import ended with %+v", summary)
	}
	if _, err := bystander.read(t, token); err != nil {
		t.Errorf("a bystander is not served: %v", err)
	}
}
