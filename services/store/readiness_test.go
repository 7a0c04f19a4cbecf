package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// awaitHealth waits until the store reports a status.
func (s *testStore) awaitHealth(t *testing.T, wanted healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	conn, err := grpcx.Dial("passthrough:///in-process", authn.ServiceCredential{}, grpcx.InProcess(s.listener))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	testkit.Eventually(t, func() error {
		response, err := healthpb.NewHealthClient(conn).Check(context.WithoutCancel(t.Context()),
			&healthpb.HealthCheckRequest{})
		if err == nil && response.GetStatus() != wanted {
			err = fmt.Errorf("health is %v", response.GetStatus())
		}
		return err
	})
}

// TestReadiness removes what changes need, and nothing else.
func TestReadiness(t *testing.T) {
	t.Run("moved_file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		testReadiness(t, storeconfig.Database{URL: "sqlite:" + path},
			func() error { return os.Rename(path, path+".away") }, "deleted, moved or replaced",
			func() error { return os.Rename(path+".away", path) })
	})
}

func testReadiness(t *testing.T, database storeconfig.Database, harm func() error, reason string, mend func() error) {
	t.Helper()
	s := startStore(t, testConfig(database, newClock()))
	s.signUp(t)
	token := s.logIn(t).GetAccessToken()
	s.awaitHealth(t, healthpb.HealthCheckResponse_SERVING)
	if err := harm(); err != nil {
		t.Fatal(err)
	}
	s.awaitHealth(t, healthpb.HealthCheckResponse_NOT_SERVING)
	if log := s.log.String(); !strings.Contains(log, "store is not ready") || !strings.Contains(log, reason) {
		t.Errorf("the log does not have the reason: %s", log)
	}
	if _, err := s.users.ReadUser(as(t, token), &gatehousev1.ReadUserRequest{Id: "me"}); err != nil {
		t.Errorf("a bystander's read is not served: %v", err)
	}
	if err := mend(); err != nil {
		t.Fatal(err)
	}
	s.awaitHealth(t, healthpb.HealthCheckResponse_SERVING)
	if count := strings.Count(s.log.String(), "store is ready again"); count != 1 {
		t.Errorf("that the store is ready again is in the log %d times", count)
	}
	s.logIn(t)
}
