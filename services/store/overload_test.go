package store

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// TestAFloodOfLogInsDoesNotReachTheDatabase: log-ins that cannot be hashed for are refused without a look at it. Here it
// is closed, which the others find out.
func TestAFloodOfLogInsDoesNotReachTheDatabase(t *testing.T) {
	database := Database{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db")}
	if err := Migrate(t.Context(), database, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(t.Context(), database, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	hasher, err := password.New(t.Context(), password.Config{Params: password.DefaultParams()})
	if err != nil {
		t.Fatal(err)
	}
	sessions := &sessionService{storage: db, hasher: hasher}
	logIn := func() gatehousev1.ErrorReason {
		// Far less than a full queue takes, so that one which has emptied a little by now is no matter.
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		_, err := sessions.authenticate(ctx, "ada@example.com", "correct horse")
		return apierr.ReasonOf(apierr.Status(err))
	}
	const overloaded = gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED
	if reason := logIn(); reason == overloaded {
		t.Fatalf("without a flood the reason is %v", reason)
	}
	flood, ebb := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	refused := make(chan struct{}, 1)
	for range 2000 { // More than any machine's queue under test takes at once.
		callers.Go(func() {
			err := hasher.VerifyDummy(flood, "nobody@example.com", "correct horse")
			if apierr.ReasonOf(apierr.Status(err)) == overloaded {
				select {
				case refused <- struct{}{}:
				default:
				}
			}
		})
	}
	<-refused
	reason := logIn()
	ebb()
	callers.Wait()
	if reason != overloaded {
		t.Errorf("in a flood the reason is %v", reason)
	}
}
