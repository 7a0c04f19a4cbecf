package e2e

import (
	"errors"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestTheCacheServiceMayDie: a gateway whose cache service is killed goes on with the store, no read fails, and what is
// changed that way the other cache service learns by the feed. When it is back, it is asked again.
func TestTheCacheServiceMayDie(t *testing.T) {
	t.Parallel()
	houses := startReplicas(t, 2, cheapHashes...)
	alone, other := houses[0], houses[1]
	user := signUp(t, alone, "ada@example.com")
	token, second := logIn(t, alone, "ada@example.com"), logIn(t, alone, "ada@example.com")
	for _, h := range houses {
		for _, used := range []string{token, second} {
			if _, err := readMe(t, h, used); err != nil { // Redis knows both sessions.
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
	if err := alone.processes[1].Start(func() error { return nil }); err != nil {
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
