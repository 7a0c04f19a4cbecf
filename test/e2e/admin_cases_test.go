package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// makeAdmin makes an administrator with Ada's password by the command, and gives the address back.
func makeAdmin(t *testing.T, env *testEnv, email string) string {
	t.Helper()
	input := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(input, []byte(adasPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := &testkit.Process{
		Path: binary, Args: []string{"admin", "create", "--email", email, "--argon2-memory", "7168", "--argon2-iterations", "1"},
		Env: []string{"GATEHOUSE_DATABASE_URL=" + env.database}, Stdin: input, Log: filepath.Join(t.TempDir(), "admin"),
	}
	if err := command.Start(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if code, err := command.Wait(time.Minute); err != nil || code != 0 {
		t.Fatalf("admin create ended with %d, %v\n%s", code, err, command.Output())
	}
	return email
}

func wantErrorReason(t *testing.T, err error, reason string) {
	t.Helper()
	if got := apierr.ReasonName(apierr.ReasonOf(status.Convert(err))); got != reason {
		t.Errorf("the error is %v, not %s", err, reason)
	}
}

// administers is a call of AdminService; nobody but an admin may make it.
func administers(name, method, caller string, request func(*fixtures) proto.Message) corpusCase {
	return corpusCase{name: "admin: " + name, method: "AdminService/" + method, caller: caller, request: request}
}

func listsUsers(name, caller string, change func(*fixtures, *gatehousev1.ListUsersRequest)) corpusCase {
	return corpusCase{
		name: "users: " + name, method: "UserService/ListUsers", caller: caller,
		request: func(r *fixtures) proto.Message {
			request := &gatehousev1.ListUsersRequest{PageSize: 100}
			change(r, request)
			return request
		},
	}
}

// secondPage returns the token of the second page of all users.
func secondPage(r *fixtures) string {
	page, err := gatehousev1.NewUserServiceClient(r.env.conn).ListUsers(withTokens(callContext(r.t), callsAs(r.root)),
		&gatehousev1.ListUsersRequest{PageSize: 1})
	if err != nil {
		r.t.Fatal(err)
	}
	return page.GetNextPageToken()
}

// addresses requires exactly these of a list, in this order.
func addresses(want func(*fixtures) []string) func(*testing.T, *fixtures, proto.Message) {
	return func(t *testing.T, r *fixtures, message proto.Message) {
		var found []string
		for _, user := range message.(*gatehousev1.ListUsersResponse).GetUsers() {
			found = append(found, user.GetEmail())
		}
		if !slices.Equal(found, want(r)) {
			t.Errorf("found %v, not %v", found, want(r))
		}
	}
}

func all(*fixtures, *gatehousev1.ListUsersRequest) {}

var listUsersCases = []corpusCase{
	ok(checked(listsUsers("all", "root", all), func(t *testing.T, _ *fixtures, message proto.Message) {
		page := message.(*gatehousev1.ListUsersResponse)
		sorted := slices.IsSortedFunc(page.GetUsers(), func(a, b *gatehousev1.User) int {
			return strings.Compare(strings.ToLower(a.GetEmail()), strings.ToLower(b.GetEmail()))
		})
		if len(page.GetUsers()) < 4 || !sorted {
			t.Errorf("the page is %v", page)
		}
	})),
	ok(checked(listsUsers("by a prefix in capitals", "root", func(r *fixtures, request *gatehousev1.ListUsersRequest) {
		request.EmailPrefix = "ADA." + strings.ToUpper(r.tag) + "@"
	}), addresses(func(r *fixtures) []string { return []string{r.ada.GetEmail()} }))),
	ok(checked(listsUsers("by an accent", "root", func(r *fixtures, request *gatehousev1.ListUsersRequest) {
		request.EmailPrefix = "jose\u0301." + r.tag
	}), addresses(func(r *fixtures) []string { return []string{r.bob.GetEmail()} }))),
	ok(checked(listsUsers("by a domain in punycode", "root", func(r *fixtures, request *gatehousev1.ListUsersRequest) {
		request.EmailPrefix = "jos\u00e9." + r.tag + "@XN--bcher-kva"
	}), addresses(func(r *fixtures) []string { return []string{r.bob.GetEmail()} }))),
	ok(checked(listsUsers("by a wildcard, which is taken literally", "root", func(_ *fixtures, request *gatehousev1.ListUsersRequest) {
		request.EmailPrefix = "%"
	}), addresses(func(*fixtures) []string { return nil }))),
	ok(checked(listsUsers("the admins", "root", func(_ *fixtures, request *gatehousev1.ListUsersRequest) {
		request.Role, request.EmailPrefix = "admin", "root."
	}), addresses(func(r *fixtures) []string { return []string{"root." + r.tag + "@example.com"} }))),
	ok(checked(listsUsers("the disabled of a prefix", "root", func(_ *fixtures, request *gatehousev1.ListUsersRequest) {
		request.State, request.EmailPrefix = gatehousev1.UserState_USER_STATE_DISABLED, "ada."
	}), addresses(func(*fixtures) []string { return nil }))),
	ok(listsUsers("the second page", "root", func(r *fixtures, request *gatehousev1.ListUsersRequest) {
		request.PageSize, request.PageToken = 1, secondPage(r)
	})),
	noPageToken(listsUsers("a page token of other filters", "root", func(r *fixtures, request *gatehousev1.ListUsersRequest) {
		request.PageToken, request.Role = secondPage(r), "admin"
	})),
	noPageToken(listsUsers("a page token of another list", "root", func(r *fixtures, request *gatehousev1.ListUsersRequest) {
		request.PageToken = r.page
	})),
	noPageToken(listsUsers("a tampered page token", "root", func(r *fixtures, request *gatehousev1.ListUsersRequest) {
		request.PageToken = flipAt(secondPage(r), 20)
	})),
	invalid(listsUsers("a role that does not exist", "root", func(_ *fixtures, request *gatehousev1.ListUsersRequest) {
		request.Role = "superuser"
	}), "role STRING_IN"),
	invalid(listsUsers("too large a page", "root", func(_ *fixtures, request *gatehousev1.ListUsersRequest) {
		request.PageSize = 101
	}), "page_size INT32_GTE_LTE"),
	invalid(listsUsers("an oversized prefix", "root", func(_ *fixtures, request *gatehousev1.ListUsersRequest) {
		request.EmailPrefix = strings.Repeat("a", 255)
	}), "email_prefix STRING_MAX_BYTES"),
	invalid(listsUsers("a prefix of white space", "root", func(_ *fixtures, request *gatehousev1.ListUsersRequest) {
		request.EmailPrefix = " "
	}), "email_prefix EMAIL_PREFIX_ADDRESS"),
	roleRequired(listsUsers("by a user", "ada", all)),
	unauthenticated(listsUsers("without a token", "nobody", all), "ACCESS_TOKEN_MISSING"),
	ok(checked(reads("anybody, by an admin", "root", func(r *fixtures) string { return r.bob.GetId() }),
		func(t *testing.T, r *fixtures, message proto.Message) {
			if user := message.(*gatehousev1.ReadUserResponse).GetUser(); user.GetEmail() != r.bob.GetEmail() {
				t.Errorf("user is %v", user)
			}
		})),
	ok(checked(reads("an admin", "root", fixed("me")), func(t *testing.T, _ *fixtures, message proto.Message) {
		if user := message.(*gatehousev1.ReadUserResponse).GetUser(); !slices.Equal(user.GetRoles(), []string{"admin", "user"}) {
			t.Errorf("user is %v", user)
		}
	})),
	notFound(reads("nobody, by an admin", "root", nobodys)),
}

// disabledUser makes an account and disables it.
func disabledUser(r *fixtures) string {
	id := doomed(r)
	if _, err := gatehousev1.NewAdminServiceClient(r.env.conn).DisableUser(withTokens(callContext(r.t), callsAs(r.root)),
		&gatehousev1.DisableUserRequest{Id: id}); err != nil {
		r.t.Fatal(err)
	}
	return id
}

func disables(name, caller string, id func(*fixtures) string) corpusCase {
	return administers("disable "+name, "DisableUser", caller, func(r *fixtures) proto.Message {
		return &gatehousev1.DisableUserRequest{Id: id(r)}
	})
}

func enables(name, caller string, id func(*fixtures) string) corpusCase {
	return administers("enable "+name, "EnableUser", caller, func(r *fixtures) proto.Message {
		return &gatehousev1.EnableUserRequest{Id: id(r)}
	})
}

var disableCases = []corpusCase{
	ok(checked(disables("anybody", "root", doomed), func(t *testing.T, _ *fixtures, message proto.Message) {
		user := message.(*gatehousev1.DisableUserResponse).GetUser()
		if user.GetState() != gatehousev1.UserState_USER_STATE_DISABLED || user.GetVersion() != 2 {
			t.Errorf("user is %v", user)
		}
	})),
	ok(checked(disables("somebody again", "root", disabledUser), func(t *testing.T, _ *fixtures, message proto.Message) {
		if user := message.(*gatehousev1.DisableUserResponse).GetUser(); user.GetVersion() != 2 {
			t.Errorf("user is %v", user)
		}
	})),
	notFound(disables("nobody", "root", nobodys)),
	invalid(disables("an id that is no UUID", "root", fixed("42")), "id USER_ID"),
	roleRequired(disables("somebody by a user", "ada", func(r *fixtures) string { return r.bob.GetId() })),
	unauthenticated(disables("without a token", "nobody", fixed("me")), "ACCESS_TOKEN_MISSING"),
	func() corpusCase {
		c := logsIn("a disabled account", func(r *fixtures, request *gatehousev1.CreateSessionRequest) {
			disabledUser(r)
			request.Email = r.victim.GetEmail()
		})
		c.code, c.http, c.reason = codes.PermissionDenied, 403, "USER_DISABLED"
		return c
	}(),
	unauthenticated(logsIn("a disabled account with a wrong password", func(r *fixtures, request *gatehousev1.CreateSessionRequest) {
		disabledUser(r)
		request.Email, request.Password = r.victim.GetEmail(), "another password that stands nowhere"
	}), "INVALID_CREDENTIALS"),
	ok(checked(enables("a disabled account", "root", disabledUser), func(t *testing.T, r *fixtures, message proto.Message) {
		if user := message.(*gatehousev1.EnableUserResponse).GetUser(); user.GetState() != gatehousev1.UserState_USER_STATE_ACTIVE {
			t.Errorf("user is %v", user)
		}
		openSession(t, r.env, r.victim.GetEmail())
	})),
	ok(enables("an account that is active", "root", doomed)),
	notFound(enables("nobody", "root", nobodys)),
	roleRequired(enables("somebody by a user", "ada", func(r *fixtures) string { return r.bob.GetId() })),
}

func setsRoles(name, caller string, id func(*fixtures) string, roles ...string) corpusCase {
	return administers("set roles, "+name, "SetRoles", caller, func(r *fixtures) proto.Message {
		return &gatehousev1.SetRolesRequest{Id: id(r), Roles: roles}
	})
}

var roleCases = []corpusCase{
	ok(checked(setsRoles("admin", "root", doomed, "user", "admin"), func(t *testing.T, _ *fixtures, message proto.Message) {
		if user := message.(*gatehousev1.SetRolesResponse).GetUser(); !slices.Equal(user.GetRoles(), []string{"admin", "user"}) {
			t.Errorf("user is %v", user)
		}
	})),
	ok(setsRoles("what they are", "root", doomed, "user")),
	invalid(setsRoles("one that does not exist", "root", doomed, "user", "superuser"), "roles[1] STRING_IN"),
	invalid(setsRoles("none", "root", doomed), "roles ROLES_USER"),
	invalid(setsRoles("without user", "root", doomed, "admin"), "roles ROLES_USER"),
	invalid(setsRoles("one twice", "root", doomed, "user", "user"), "roles REPEATED_UNIQUE"),
	notFound(setsRoles("of nobody", "root", nobodys, "user")),
	roleRequired(setsRoles("of oneself by a user", "ada", fixed("me"), "user", "admin")),
	unauthenticated(setsRoles("without a token", "nobody", fixed("me"), "user"), "ACCESS_TOKEN_MISSING"),
}

func resetsPassword(name, caller string, id func(*fixtures) string, password string) corpusCase {
	return administers("reset password, "+name, "ResetUserPassword", caller, func(r *fixtures) proto.Message {
		return &gatehousev1.ResetUserPasswordRequest{Id: id(r), NewPassword: password}
	})
}

func endsSessions(name, caller string, id func(*fixtures) string) corpusCase {
	return administers("delete sessions, "+name, "DeleteUserSessions", caller, func(r *fixtures) proto.Message {
		return &gatehousev1.DeleteUserSessionsRequest{UserId: id(r)}
	})
}

func rotates(name, caller string) corpusCase {
	return administers("rotate key, "+name, "RotateKey", caller, func(*fixtures) proto.Message {
		return &gatehousev1.RotateKeyRequest{}
	})
}

// loggedIn makes an account with a session.
func loggedIn(r *fixtures) string {
	id := doomed(r)
	r.victims = openSession(r.t, r.env, r.victim.GetEmail())
	return id
}

func victimIsLoggedOut(t *testing.T, r *fixtures, _ proto.Message) {
	_, err := gatehousev1.NewUserServiceClient(r.env.conn).ReadUser(withTokens(callContext(t), callsAs(r.victims)),
		&gatehousev1.ReadUserRequest{Id: "me"})
	wantErrorReason(t, err, "SESSION_ENDED")
}

var adminCases = []corpusCase{
	ok(checked(resetsPassword("of anybody", "root", loggedIn, newPassword), victimIsLoggedOut)),
	invalid(resetsPassword("too short", "root", doomed, "1234567"), "new_password STRING_MIN_LEN"),
	invalid(resetsPassword("too short in its normal form", "root", doomed, strings.Repeat("e\u0301", 4)), "new_password STRING_MIN_LEN"),
	invalid(resetsPassword("to a common one", "root", doomed, "Iloveyou1"), "new_password PASSWORD_TOO_COMMON"),
	invalid(resetsPassword("to the name", "root", doomed, "ada-lovelace"), "new_password PASSWORD_OF_ACCOUNT"),
	notFound(resetsPassword("of nobody", "root", nobodys, newPassword)),
	roleRequired(resetsPassword("of somebody by a user", "ada", func(r *fixtures) string { return r.bob.GetId() }, newPassword)),
	ok(checked(endsSessions("of anybody", "root", loggedIn), victimIsLoggedOut)),
	notFound(endsSessions("of nobody", "root", nobodys)),
	invalid(endsSessions("of an id that is no UUID", "root", fixed("42")), "user_id USER_ID"),
	roleRequired(endsSessions("of somebody by a user", "ada", func(r *fixtures) string { return r.bob.GetId() })),
	roleRequired(rotates("by a user", "ada")),
	unauthenticated(rotates("without a token", "nobody"), "ACCESS_TOKEN_MISSING"),
}

// rotateCases rotates keys. Its cases are the last: others count the keys.
var rotateCases = []corpusCase{
	ok(checked(rotates("by an admin", "root"), func(t *testing.T, _ *fixtures, message proto.Message) {
		if key := message.(*gatehousev1.RotateKeyResponse); key.GetKeyId() == "" || !key.GetActivateTime().AsTime().After(time.Now()) {
			t.Errorf("the key is %v", key)
		}
	})),
}

// TestLastAdmin checks that the last administrator cannot be disabled, deleted or demoted. It runs a Gatehouse of
// its own, as other tests make administrators.
func TestLastAdmin(t *testing.T) {
	t.Parallel()
	for name, start := range setups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := start(t, cheapHashes...)
			root := openSession(t, env, makeAdmin(t, env, "root@example.com"))
			ctx := func() context.Context { return withTokens(callContext(t), callsAs(root)) }
			users, admin := gatehousev1.NewUserServiceClient(env.conn), gatehousev1.NewAdminServiceClient(env.conn)
			for transport, call := range transports {
				for method, request := range map[string]proto.Message{
					"AdminService/DisableUser": &gatehousev1.DisableUserRequest{Id: "me"},
					"AdminService/SetRoles":    &gatehousev1.SetRolesRequest{Id: "me", Roles: []string{"user"}},
					"UserService/DeleteUser":   &gatehousev1.DeleteUserRequest{Id: "me"},
				} {
					got, err := call(callContext(t), env, method, request, callsAs(root))
					if err != nil {
						t.Fatal(err)
					}
					if reason, _ := details(t, got); reason != "LAST_ADMIN" || codes.Code(got.status.GetCode()) != codes.FailedPrecondition {
						t.Errorf("%s over %s gives %v", method, transport, got.status)
					}
				}
			}
			second := openSession(t, env, makeAdmin(t, env, "second@example.com"))
			if _, err := users.DeleteUser(ctx(), &gatehousev1.DeleteUserRequest{Id: "me"}); err != nil {
				t.Fatal(err)
			}
			_, err := users.ListUsers(ctx(), &gatehousev1.ListUsersRequest{})
			wantErrorReason(t, err, "SESSION_ENDED")
			_, err = admin.DisableUser(withTokens(callContext(t), callsAs(second)), &gatehousev1.DisableUserRequest{Id: uuid.NewString()})
			wantErrorReason(t, err, "USER_NOT_FOUND")
		})
	}
}

// TestUnknownFilter is no part of the corpus: in a query, a name or a number that the contract does
// not have cannot be read, and over gRPC there are no names.
func TestUnknownFilter(t *testing.T) {
	t.Parallel()
	env := startUp(t, t.TempDir(), cheapHashes...)
	root := callsAs(openSession(t, env, makeAdmin(t, env, "root@example.com")))
	for method, request := range map[string]proto.Message{
		"UserService/ListUsers":        &gatehousev1.ListUsersRequest{State: 7},
		"AdminService/ListAuditEvents": &gatehousev1.ListAuditEventsRequest{Kind: 99},
	} {
		got, err := overGRPC(callContext(t), env, method, request, root)
		if err != nil {
			t.Fatal(err)
		}
		if reason, fields := details(t, got); reason != "INVALID_FIELDS" || len(fields) != 1 {
			t.Errorf("%s over gRPC gives %v", method, got.status)
		}
	}
	for query, field := range map[string]string{
		"/v1/users?state=7": "state", "/v1/users?state=GONE": "state", "/v1/users?pageSize=many": "pageSize",
		"/v1/auditEvents?kind=99": "kind", "/v1/auditEvents?kind=LOGIN": "kind", "/v1/auditEvents?startTime=now": "startTime",
	} {
		got, err := restRequest(callContext(t), env, "GET", query, map[string][]string{"Authorization": root}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if reason, fields := details(t, got); got.http != 400 || reason != "MALFORMED_REQUEST" || !slices.Equal(fields, []string{field}) {
			t.Errorf("%s gives %d %v", query, got.http, got.status)
		}
	}
}
