package e2e

import (
	"strings"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// TestAdminCreate makes the first administrator by the command while services run.
func TestAdminCreate(t *testing.T) {
	t.Parallel()
	env := startThree(t, cheapHashes...)
	i := &importTest{database: []string{cluster.DatabaseSetting(env.database)}}
	create := append([]string{"admin", "create", "--email", "root@example.com"}, cheapHashes...)
	if code, stdout, stderr := i.run(t, create...); code != 0 || !strings.Contains(stdout, "Made administrator root@example.com") {
		t.Fatalf("it ends with %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := i.run(t, create...); code != 1 || !strings.Contains(stderr, "already has an account") {
		t.Errorf("again it ends with %d: %s", code, stderr)
	}
	session, err := gatehousev1.NewSessionServiceClient(env.conn).CreateSession(callContext(t),
		&gatehousev1.CreateSessionRequest{Email: "root@example.com", Password: "an admin's long password"})
	if err != nil {
		t.Fatal(err)
	}
	root := bearer(callContext(t), session.GetAccessToken())
	if _, err := gatehousev1.NewUserServiceClient(env.conn).ListUsers(root, &gatehousev1.ListUsersRequest{}); err != nil {
		t.Error(err)
	}
}
