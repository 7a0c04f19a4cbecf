package cache_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// promote makes the user an admin, as every cache service knows, and gives a token that says so.
func (h *household) promote(t *testing.T) (token string) {
	t.Helper()
	if err := h.setRoles(t.Context(), h.admin, h.user, authn.RoleAdmin, authn.RoleUser); err != nil {
		t.Fatal(err)
	}
	token = h.store.another(h.phone.GetAccessToken())
	for _, f := range h.others {
		if err := f.listUsers(t.Context(), token); err != nil {
			t.Fatalf("an admin may not list users: %v", err)
		}
	}
	return token
}

// wantNoAdmin insists that no cache service takes the token for that of an admin, and none asks the store to refuse it.
func (h *house) wantNoAdmin(t *testing.T, token string) {
	t.Helper()
	asked := false
	h.store.hook(func(_ context.Context, method, called string) error {
		asked = asked || called == "Bearer "+token && method == "ListUsers"
		return nil
	}, nil)
	for _, f := range h.others {
		wantError(t, f.listUsers(t.Context(), token), codes.PermissionDenied, roleRequired)
	}
	if h.store.hook(nil, nil); asked {
		t.Error("the store was asked to do what only admins may")
	}
}

// admin calls are those of the contract that ask for the role, and what they are about the user.
func adminCalls(f *front, id string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"DisableUser": func(ctx context.Context) error {
			_, err := f.admins.DisableUser(ctx, &gatehousev1.DisableUserRequest{Id: id})
			return err
		},
		"EnableUser": func(ctx context.Context) error {
			_, err := f.admins.EnableUser(ctx, &gatehousev1.EnableUserRequest{Id: id})
			return err
		},
		"SetRoles": func(ctx context.Context) error {
			_, err := f.admins.SetRoles(ctx, &gatehousev1.SetRolesRequest{Id: id, Roles: []string{authn.RoleUser}})
			return err
		},
		"ResetUserPassword": func(ctx context.Context) error {
			_, err := f.admins.ResetUserPassword(ctx, &gatehousev1.ResetUserPasswordRequest{Id: id, NewPassword: password})
			return err
		},
		"DeleteUserSessions": func(ctx context.Context) error {
			_, err := f.admins.DeleteUserSessions(ctx, &gatehousev1.DeleteUserSessionsRequest{UserId: id})
			return err
		},
		"RotateKey": func(ctx context.Context) error {
			_, err := f.admins.RotateKey(ctx, &gatehousev1.RotateKeyRequest{})
			return err
		},
		"ListAuditEvents": func(ctx context.Context) error {
			_, err := f.admins.ListAuditEvents(ctx, &gatehousev1.ListAuditEventsRequest{})
			return err
		},
		"ListUsers": func(ctx context.Context) error {
			_, err := f.users.ListUsers(ctx, &gatehousev1.ListUsersRequest{})
			return err
		},
	}
}

func TestOnlyAdminsMayAdminister(t *testing.T) {
	t.Parallel()
	h, _ := newCountingHouse(t)
	id := h.store.put("ada@example.com")
	token, before := h.store.token(id), h.store.user(id)
	for name, call := range adminCalls(h.front, authn.Me) {
		wantError(t, call(as(t.Context(), token)), codes.PermissionDenied, roleRequired)
		wantError(t, call(t.Context()), codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING)
		if !proto.Equal(h.store.user(id), before) {
			t.Errorf("%s was done for one who is no admin", name)
		}
	}
	for _, err := range []error{
		h.deleteUser(t.Context(), token, uuid.NewString()), h.rename(t.Context(), token, uuid.NewString(), "x"),
	} {
		wantError(t, err, codes.NotFound, userNotFound)
	}
	h.wantReads(t, 1)
	for name, call := range adminCalls(h.front, id) {
		if err := call(as(t.Context(), h.admin)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nobody is asked about a user whom the caller may not change.
func TestWhoMayNotChangeAUserDoesNotReachTheStore(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 1)
	stranger := h.store.token(h.store.put("grace@example.com"))
	h.wantIn(t, h.store, stranger)
	h.store.hook(func(_ context.Context, method, _ string) error {
		t.Errorf("the store was asked for %s", method)
		return nil
	}, nil)
	wantError(t, h.rename(t.Context(), stranger, h.user, "x"), codes.NotFound, userNotFound)
	wantError(t, h.deleteUser(t.Context(), stranger, h.user), codes.NotFound, userNotFound)
	h.store.hook(nil, nil)
	h.wantIn(t, h.store, h.phone.GetAccessToken())
}

func TestADemotionCountsAtOnceEverywhere(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 3)
	token := h.promote(t)
	if err := h.others[2].setRoles(t.Context(), h.admin, h.user, authn.RoleUser); err != nil {
		t.Fatal(err)
	}
	h.wantNoAdmin(t, token)
	for _, f := range h.others {
		_, err := f.users.ReadUser(as(t.Context(), token), &gatehousev1.ReadUserRequest{Id: uuid.NewString()})
		wantError(t, err, codes.NotFound, userNotFound)
		f.wantIn(t, h.store, token) // The user sees no more than users see.
	}
}

// An operator gives the role at the database, where no cache hears of it. The token is from after that.
func TestARoleThatNobodyToldOfIsAskedFor(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 2)
	h.untold(func(user *gatehousev1.User) { user.Roles = []string{authn.RoleAdmin, authn.RoleUser} })
	token := h.store.another(h.phone.GetAccessToken())
	for _, f := range h.others {
		if err := f.listUsers(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
}

func TestADisabledUserIsOutWithoutTheStore(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 2)
	if err := h.others[1].disable(t.Context(), h.admin, h.user); err != nil {
		t.Fatal(err)
	}
	h.store.hook(func(context.Context, string, string) error { return apierr.Unavailable(nil) }, nil)
	for _, f := range h.others {
		if _, err := f.me(t.Context(), h.phone.GetAccessToken()); err == nil {
			t.Error("a session of a disabled user is let in")
		}
	}
}

// Who deletes the own account is told that the session has ended, whether or not the store can be reached.
func TestWhoIsDeletedIsOutWithoutTheStore(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 2)
	if err := h.others[1].deleteUser(t.Context(), h.phone.GetAccessToken(), authn.Me); err != nil {
		t.Fatal(err)
	}
	h.store.hook(func(context.Context, string, string) error { return apierr.Unavailable(nil) }, nil)
	h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
	for _, f := range h.others {
		if _, err := f.me(t.Context(), h.laptop.GetAccessToken()); err == nil {
			t.Error("a session of a deleted user is let in")
		}
	}
}

// Admins see what is not kept, so the store answers them, about themselves as well.
func TestAdminsReadFromTheStore(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 1)
	admin := h.store.session(h.admin).GetUserId()
	for _, id := range []string{h.user, strings.ToUpper(h.user), admin, authn.Me} {
		before := h.store.readCount()
		response, err := h.users.ReadUser(as(t.Context(), h.admin), &gatehousev1.ReadUserRequest{Id: id})
		want := h.store.user(strings.ToLower(id))
		if id == authn.Me {
			want = h.store.user(admin)
		}
		if err != nil || !proto.Equal(response.GetUser(), want) || response.GetUser().GetAppMetadata() == nil {
			t.Errorf("read %s: %v, error %v, want %v", id, response.GetUser(), err, want)
		}
		h.wantReads(t, before+1)
	}
	wantError(t, h.deleteUser(t.Context(), h.admin, authn.Me), codes.FailedPrecondition,
		gatehousev1.ErrorReason_ERROR_REASON_LAST_ADMIN)
	before := h.store.readCount()
	if err := h.listUsers(t.Context(), h.admin); err != nil {
		t.Error(err)
	}
	h.wantReads(t, before) // That one is the last admin tells nothing of what is known.
}

// What a sign-up with a request id answers may be what it answered long ago.
func TestARepeatedSignUpIsNotKept(t *testing.T) {
	t.Parallel()
	h, _, client := newRedisHouse(t)
	h.read(t, h.store.put("grace@example.com")) // The run of the Redis is known.
	before := client.DBSize(t.Context()).Val()
	_, err := h.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{
		Email: "ada@example.com", FullName: "Ada Lovelace", Password: password, RequestId: "1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if kept := client.DBSize(t.Context()).Val() - before; kept != 0 {
		t.Errorf("%d entries were kept", kept)
	}
	h.signUp(t, "edsger@example.com")
	if kept := client.DBSize(t.Context()).Val() - before; kept != 1 {
		t.Errorf("of another sign-up %d entries were kept", kept)
	}
}

// What is passed on has its caller's deadline; a change of a user has as long as any change.
func TestTheDeadlineOfWhatIsPassedOnIsTheCallers(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 1)
	var left time.Duration
	h.store.hook(func(ctx context.Context, _, _ string) error {
		until, ok := ctx.Deadline()
		if !ok {
			return errors.New("there is no deadline")
		}
		left = time.Until(until)
		return nil
	}, nil)
	const deadline = 4 * time.Second
	for name, call := range adminCalls(h.front, h.user) {
		ctx, cancel := context.WithTimeout(as(t.Context(), h.admin), deadline)
		if err := call(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		passed := slices.Contains([]string{"RotateKey", "ListAuditEvents", "ListUsers"}, name)
		if own := left > deadline; own == passed {
			t.Errorf("%s has %s to go at the store", name, left)
		}
	}
}
