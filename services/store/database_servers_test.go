//go:build servers

package store

import (
	"context"
	"database/sql"
	"net/url"
	"strings"
	"testing"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// databaseAccount is an account of the database server that has nothing but one database, and what an administrator
// does to it.
type databaseAccount struct {
	root     *sql.DB
	name     string // 'NAME'@'HOST'
	schema   string
	database storeconfig.Database
}

// newDatabaseAccount makes a database and an account for it.
func newDatabaseAccount(t *testing.T) databaseAccount {
	t.Helper()
	location, err := url.Parse(mariaDB.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(location.Path, "/")
	root, err := mariaDB.Server(t).Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	location.User = url.User(name)
	a := databaseAccount{
		root: root, name: "'" + name + "'@'127.0.0.1'", schema: name, database: storeconfig.Database{URL: location.String()},
	}
	a.exec(t, "CREATE USER "+a.name)
	a.exec(t, "GRANT ALL ON "+name+".* TO "+a.name)
	return a
}

func (a databaseAccount) exec(t *testing.T, statement string) {
	t.Helper()
	if _, err := a.root.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// grant grants rights to the database to the account.
func (a databaseAccount) grant(t *testing.T, rights string) {
	t.Helper()
	a.exec(t, "GRANT "+rights+" ON "+a.schema+".* TO "+a.name)
	a.exec(t, "KILL USER "+a.name) // A connection has the rights that it began with.
}

// revoke revokes rights to the database from the account.
func (a databaseAccount) revoke(t *testing.T, rights string) {
	t.Helper()
	a.exec(t, "REVOKE "+rights+" ON "+a.schema+".* FROM "+a.name)
	a.exec(t, "KILL USER "+a.name)
}

// calls are calls of each method that writes, or reads what is not in memory, by an administrator who has logged in.
func (s *testStore) calls(
	t *testing.T, session *gatehousev1.CreateSessionResponse, id string,
) (writes, reads map[string]error) {
	t.Helper()
	ctx := as(t, session.GetAccessToken())
	call := func(_ any, err error) error { return err }
	user := &gatehousev1.User{Id: id, FullName: "Grace"}
	names := &fieldmaskpb.FieldMask{Paths: []string{"full_name"}}
	writes = map[string]error{
		"CreateUser": call(s.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{
			Email: "grace@example.com", FullName: "Grace", Password: adasPassword,
		})),
		"CreateUser with a request id": call(s.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{
			Email: "alan@example.com", FullName: "Alan", Password: adasPassword, RequestId: uuid.NewString(),
		})),
		"UpdateUser": call(s.users.UpdateUser(ctx, &gatehousev1.UpdateUserRequest{User: user, UpdateMask: names})),
		"DeleteUser": call(s.users.DeleteUser(ctx, &gatehousev1.DeleteUserRequest{Id: id})),
		"CreateSession": call(s.sessions.CreateSession(t.Context(),
			&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: adasPassword})),
		"RefreshSession": call(s.refresh(t.Context(), session.GetRefreshToken())),
		"DeleteSession":  call(s.sessions.DeleteSession(ctx, &gatehousev1.DeleteSessionRequest{Id: "current"})),
		"DeleteAllSessions": call(s.sessions.DeleteAllSessions(ctx,
			&gatehousev1.DeleteAllSessionsRequest{})),
		"ChangePassword": call(s.sessions.ChangePassword(ctx, &gatehousev1.ChangePasswordRequest{
			Id: "me", CurrentPassword: adasPassword, NewPassword: "another horse battery staple",
		})),
		"DisableUser": call(s.admin.DisableUser(ctx, &gatehousev1.DisableUserRequest{Id: id})),
		"SetRoles": call(s.admin.SetRoles(ctx,
			&gatehousev1.SetRolesRequest{Id: id, Roles: []string{"user", "admin"}})),
		"ResetUserPassword": call(s.admin.ResetUserPassword(ctx,
			&gatehousev1.ResetUserPasswordRequest{Id: id, NewPassword: "another horse battery staple"})),
		"DeleteUserSessions": call(s.admin.DeleteUserSessions(ctx,
			&gatehousev1.DeleteUserSessionsRequest{UserId: id})),
		"RotateKey": call(s.admin.RotateKey(ctx, &gatehousev1.RotateKeyRequest{})),
	}
	reads = map[string]error{
		"ReadUser":        call(s.users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: id})),
		"ListUsers":       call(s.users.ListUsers(ctx, &gatehousev1.ListUsersRequest{})),
		"ReadSession":     call(s.sessions.ReadSession(ctx, &gatehousev1.ReadSessionRequest{Id: "current"})),
		"ListSessions":    call(s.sessions.ListSessions(ctx, &gatehousev1.ListSessionsRequest{})),
		"ListAuditEvents": call(s.admin.ListAuditEvents(ctx, &gatehousev1.ListAuditEventsRequest{})),
		"WatchChanges":    s.watchOnce(t.Context()),
	}
	return writes, reads
}

func (s *testStore) watchOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.changes.WatchChanges(ctx, &internalv1.WatchChangesRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	return err
}

func wantUnavailable(t *testing.T, calls map[string]error) {
	t.Helper()
	for name, err := range calls {
		var retry *errdetails.RetryInfo
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok {
				retry = info
			}
		}
		if status.Code(err) != codes.Unavailable || retry == nil {
			t.Errorf("%s: %v, with %v", name, err, retry)
		}
	}
}

func wantAnswers(t *testing.T, calls map[string]error) {
	t.Helper()
	for name, err := range calls {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnavailable revokes the rights of the store's database account.
func TestUnavailable(t *testing.T) {
	const changing = "INSERT, UPDATE, DELETE"
	account := newDatabaseAccount(t)
	s := startStore(t, testConfig(account.database, newClock()))
	s.signUp(t)
	session := s.logInRoot(t)
	id := s.addUser(t, "other@example.com", false).ID

	account.revoke(t, changing)
	writes, reads := s.calls(t, session, id)
	wantUnavailable(t, writes)
	wantAnswers(t, reads) // Bystanders are served.
	account.revoke(t, "ALL")
	writes, reads = s.calls(t, session, id)
	wantUnavailable(t, writes)
	wantUnavailable(t, reads)
	account.grant(t, "ALL")
	if _, err := s.read(t, session.GetAccessToken()); err != nil {
		t.Error(err)
	}
}

// TestReadinessOfRights revokes a right that changes need.
func TestReadinessOfRights(t *testing.T) {
	account := newDatabaseAccount(t)
	testReadiness(t, account.database,
		func() error { account.revoke(t, "INSERT"); return nil }, "INSERT",
		func() error { account.grant(t, "INSERT"); return nil })
}
