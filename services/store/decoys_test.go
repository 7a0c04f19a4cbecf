package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/maintenance"
)

// TestDecoys checks that addresses without an account cost what the accounts do, in the same shares.
func TestDecoys(t *testing.T) {
	config := testConfig(sqliteDatabase(t), newClock())
	store := startStore(t, config)
	store.signUp(t)
	var lines strings.Builder
	for i := range 3 {
		fmt.Fprintf(&lines, `{"email":"user%d@example.com","fullName":"Carol","passwordHash":%q}`+"\n", i, bcryptHash)
	}
	if got, _ := importLines(t, config.Database, 0, lines.String()); got.Imported != 3 {
		t.Fatalf("the import is %+v", got)
	}
	if err := maintenance.SampleHashesOnce(t.Context(), store.service.storage, store.service.hasher); err != nil {
		t.Fatal(err)
	}
	replica := startStore(t, config)
	if err := maintenance.SampleHashesOnce(t.Context(), replica.service.storage, replica.service.hasher); err != nil {
		t.Fatal(err)
	}
	const addresses = 1000
	imported := 0
	for i := range addresses {
		email := fmt.Sprintf("nobody%d@example.com", i)
		decoy := store.service.hasher.Decoy(email)
		if strings.HasPrefix(decoy, bcryptHash[:7]) {
			imported++
		}
		if ours := !store.service.hasher.Outdated(decoy); ours == store.service.hasher.Outdated(replica.service.hasher.Decoy(email)) {
			t.Fatal("a replica has another decoy for the same address")
		}
	}
	if imported < addresses*65/100 || imported > addresses*85/100 {
		t.Errorf("%d of %d decoys are like the hashes of imported accounts, want three quarters", imported, addresses)
	}
}
