package store

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// TestLogInFlood checks that log-ins for which no hash can be computed are rejected without a query. The database is
// closed here, so that any other log-in fails differently.
func TestLogInFlood(t *testing.T) {
	database := storeconfig.Database{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db")}
	if err := operator.Migrate(t.Context(), database, slog.New(slog.DiscardHandler)); err != nil {
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
	service := &login.Service{Storage: db, Hasher: hasher}
	logIn := func() error {
		// Far less than a full queue takes, so that one which has emptied a little by now is no matter.
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		_, err := service.LogIn(ctx, "ada@example.com", "correct horse")
		return err
	}
	isOverloaded := func(err error) bool {
		_, overloaded := errors.AsType[*password.OverloadedError](err)
		return overloaded
	}
	if err := logIn(); isOverloaded(err) {
		t.Fatalf("without a flood the error is %v", err)
	}
	flood, ebb := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	refused := make(chan struct{}, 1)
	for range 2000 { // More than any machine's queue under test takes at once.
		callers.Go(func() {
			err := hasher.VerifyDummy(flood, "nobody@example.com", "correct horse")
			if isOverloaded(err) {
				select {
				case refused <- struct{}{}:
				default:
				}
			}
		})
	}
	<-refused
	err = logIn()
	ebb()
	callers.Wait()
	if !isOverloaded(err) {
		t.Errorf("in a flood the error is %v", err)
	}
}
