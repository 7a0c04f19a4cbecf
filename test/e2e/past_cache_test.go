package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// TestCacheServiceDies checks that a gateway whose cache service is killed uses the store, no read fails, and what is
// changed that way the other cache service learns by the feed. When it is back, it is asked again.
func TestCacheServiceDies(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, cluster.NewInfra(t, binary), 2, cheapHashes...)
	alone, other := replicas[0], replicas[1]
	user := signUp(t, alone, "ada@example.com")
	token, second := logIn(t, alone, "ada@example.com"), logIn(t, alone, "ada@example.com")
	for _, env := range replicas {
		for _, used := range []string{token, second} {
			if _, err := readMe(t, env, used); err != nil { // Redis knows both sessions.
				t.Fatal(err)
			}
		}
	}
	alone.processes[1].Kill()
	for range 20 {
		if _, err := readMe(t, alone, token); err != nil {
			t.Fatalf("a read while the cache service is away: %v", err)
		}
	}
	_, err := gatehousev1.NewUserServiceClient(alone.conn).UpdateUser(bearer(callContext(t), token),
		&gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me", FullName: "Ada King"}})
	if err != nil {
		t.Fatalf("a change while the cache service is away: %v", err)
	}
	if _, err := gatehousev1.NewSessionServiceClient(alone.conn).DeleteSession(bearer(callContext(t), second),
		&gatehousev1.DeleteSessionRequest{Id: "current"}); err != nil {
		t.Fatalf("a log-out while the cache service is away: %v", err)
	}
	testkit.Eventually(t, func() error {
		got, err := readMe(t, other, token)
		if err == nil && got.GetFullName() != "Ada King" {
			err = errors.New("the other cache service shows what was before")
		}
		return err
	})
	testkit.Eventually(t, func() error {
		if _, err := readMe(t, other, second); err == nil {
			return errors.New("the other cache service admits a session that has ended")
		}
		return nil
	})
	if err := alone.processes[1].Start(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		got, err := readMe(t, alone, token)
		if err != nil || got.GetVersion() != user.GetVersion()+1 {
			t.Fatalf("a read while the cache service comes back: %v, %v", got, err)
		}
	}
	wantReason(t, alone, second, "SESSION_ENDED")
}

// TestCacheServiceHangs checks that a gateway whose cache service is frozen soon sends changes to the store, over
// both transports, also where no read has found out. No read fails.
func TestCacheServiceHangs(t *testing.T) {
	t.Parallel()
	env := startThree(t, cheapHashes...)
	version := signUp(t, env, "ada@example.com").GetVersion()
	token := logIn(t, env, "ada@example.com")
	// One that is not answered may be made late, but not of another version.
	change := func(transport string, timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		got, err := transports[transport](ctx, env, "UserService/UpdateUser", &gatehousev1.UpdateUserRequest{
			User: &gatehousev1.User{Id: "me", FullName: fmt.Sprintf("Ada %d", version)}, Version: version,
		}, []string{"Bearer " + token})
		if err == nil {
			err = status.ErrorProto(got.status)
		}
		if err == nil {
			version++
		}
		return err
	}
	if err := env.processes[1].Freeze(); err != nil {
		t.Fatal(err)
	}
	thawed := false
	defer func() {
		if !thawed {
			_ = env.processes[1].Thaw()
		}
	}()
	failed := 0
	for change("gRPC", 2*time.Second) != nil {
		if failed++; failed > 10 {
			t.Fatalf("%d changes have failed", failed)
		}
	}
	for range 10 {
		for transport := range transports {
			if err := change(transport, time.Minute); err != nil {
				t.Errorf("a change over %s, after %d that failed: %v", transport, failed, err)
			}
			if got, err := readMe(t, env, token); err != nil || got.GetVersion() != version {
				t.Errorf("the read after it: %v, %v", got, err)
			}
		}
	}
	if err := env.processes[1].Thaw(); err != nil {
		t.Fatal(err)
	}
	thawed = true
	testkit.Eventually(t, func() error {
		got, err := readMe(t, env, token)
		if err == nil && got.GetVersion() != version {
			err = fmt.Errorf("the version is %d, not %d", got.GetVersion(), version)
		}
		return err
	})
}
