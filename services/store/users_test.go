package store

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

const (
	recentLoginRequired = gatehousev1.ErrorReason_ERROR_REASON_RECENT_LOGIN_REQUIRED
	versionMismatch     = gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH
	requestIDReused     = gatehousev1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED
	emailTaken          = gatehousev1.ErrorReason_ERROR_REASON_EMAIL_TAKEN
	userNotFound        = gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND
	userDisabled        = gatehousev1.ErrorReason_ERROR_REASON_USER_DISABLED
	roleRequired        = gatehousev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED
	lastAdmin           = gatehousev1.ErrorReason_ERROR_REASON_LAST_ADMIN
	invalidFields       = gatehousev1.ErrorReason_ERROR_REASON_INVALID_FIELDS
)

func object(t *testing.T, members map[string]any) *structpb.Struct {
	t.Helper()
	made, err := structpb.NewStruct(members)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// nested is an object with so many levels, itself included.
func nested(t *testing.T, levels int) *structpb.Struct {
	t.Helper()
	inner := structpb.NewNumberValue(1)
	for range levels - 1 {
		inner = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"in": inner}})
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{"in": inner}}
}

func TestUpdateUser(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		own := as(t, store.logIn(t).GetAccessToken())
		clock.advance(time.Minute)
		all := &gatehousev1.User{
			Id: "me", FullName: "Augusta Ada King", Locale: "en-GB", TimeZone: "Europe/London",
			PictureUri: "https://example.com/ada.png",
			Metadata:   object(t, map[string]any{"theme": "dark", "deep": []any{1.5, nil, map[string]any{"<é>": true}}}),
		}
		response, err := store.users.UpdateUser(own, &gatehousev1.UpdateUserRequest{User: all})
		if err != nil {
			t.Fatal(err)
		}
		changed := response.GetUser()
		if changed.GetVersion() != 2 || !changed.GetUpdateTime().AsTime().Equal(clock.now().UTC()) ||
			!changed.GetCreateTime().AsTime().Before(changed.GetUpdateTime().AsTime()) {
			t.Errorf("after the change: %v", changed)
		}
		read, err := store.users.ReadUser(own, &gatehousev1.ReadUserRequest{Id: "me"})
		if err != nil || !proto.Equal(read.GetUser(), changed) || !proto.Equal(changed.GetMetadata(), all.GetMetadata()) {
			t.Errorf("read %v, %v", read.GetUser(), err)
		}
		again, err := store.users.UpdateUser(own, &gatehousev1.UpdateUserRequest{User: all})
		if err != nil || !proto.Equal(again.GetUser(), changed) {
			t.Errorf("the same again gives %v, %v", again.GetUser(), err)
		}
		emptied, err := store.users.UpdateUser(own, &gatehousev1.UpdateUserRequest{
			User:       &gatehousev1.User{Id: "me", FullName: "Nobody"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"locale", "metadata", "time_zone", "picture_uri", "id"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := emptied.GetUser(); got.GetLocale()+got.GetTimeZone()+got.GetPictureUri() != "" || got.GetMetadata() != nil ||
			got.GetFullName() != all.GetFullName() || got.GetVersion() != 3 {
			t.Errorf("after emptying: %v", got)
		}
	})
}

func TestUpdateUserVersion(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		own := as(t, store.logIn(t).GetAccessToken())
		change := func(name string, version int64) error {
			_, err := store.users.UpdateUser(own, &gatehousev1.UpdateUserRequest{
				User: &gatehousev1.User{Id: "me", FullName: name}, Version: version,
			})
			return err
		}
		if err := change("Ada I", 1); err != nil {
			t.Fatal(err)
		}
		wantReason(t, change("Ada II", 1), versionMismatch)
		wantReason(t, change("Ada II", 3), versionMismatch)
		_, err := store.users.DeleteUser(own, &gatehousev1.DeleteUserRequest{Id: "me", Version: 1})
		wantReason(t, err, versionMismatch)
		if err := change("Ada II", 2); err != nil {
			t.Error(err)
		}
	})
}

func TestUpdateUserInvalid(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		store := startStore(t, testConfig(database, newClock()))
		store.signUp(t)
		own := as(t, store.logIn(t).GetAccessToken())
		for name, test := range map[string]struct {
			user  *gatehousev1.User
			mask  []string
			fault string
		}{
			"unknown field":        {mask: []string{"nickname"}, fault: "update_mask UPDATE_MASK_FIELD"},
			"part of a field":      {mask: []string{"metadata.theme"}, fault: "update_mask UPDATE_MASK_FIELD"},
			"everything":           {mask: []string{"*"}, fault: "update_mask UPDATE_MASK_FIELD"},
			"no name":              {mask: []string{"full_name"}, fault: "user.full_name REQUIRED"},
			"unknown zone":         {user: &gatehousev1.User{TimeZone: "Mars/Olympus"}, fault: "user.time_zone TIME_ZONE"},
			"zone of the machine":  {user: &gatehousev1.User{TimeZone: "Local"}, fault: "user.time_zone TIME_ZONE"},
			"another name for it":  {user: &gatehousev1.User{TimeZone: "localtime"}, fault: "user.time_zone TIME_ZONE"},
			"leap seconds":         {user: &gatehousev1.User{TimeZone: "right/Europe/London"}, fault: "user.time_zone TIME_ZONE"},
			"zone that is a path":  {user: &gatehousev1.User{TimeZone: "../../etc/passwd"}, fault: "user.time_zone TIME_ZONE"},
			"metadata too deep":    {user: &gatehousev1.User{Metadata: nested(t, 17)}, fault: "user.metadata METADATA_TOO_DEEP"},
			"invalid number":       {user: &gatehousev1.User{Metadata: object(t, map[string]any{"n": math.NaN()})}, fault: "user.metadata METADATA_NUMBER"},
			"metadata of 16 K + 1": {user: &gatehousev1.User{Metadata: ofSize(t, account.MaxMetadata+1)}, fault: "user.metadata METADATA_TOO_LARGE"},
		} {
			user := &gatehousev1.User{Id: "me"}
			if test.user != nil {
				proto.Merge(user, test.user)
			}
			mask := test.mask
			if mask != nil {
				mask = append(mask, "locale") // What is right beside it must not be changed either.
				user.Locale = "de"
			}
			_, err := store.users.UpdateUser(own, &gatehousev1.UpdateUserRequest{
				User: user, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask},
			})
			wantReason(t, err, invalidFields)
			if got := faults(err); got != test.fault {
				t.Errorf("%s: the fault is %q, want %q", name, got, test.fault)
			}
		}
		for _, fine := range []*structpb.Struct{nested(t, 16), ofSize(t, account.MaxMetadata)} {
			response, err := store.users.UpdateUser(own, &gatehousev1.UpdateUserRequest{
				User: &gatehousev1.User{Id: "me", Metadata: fine},
			})
			if err != nil || !proto.Equal(response.GetUser().GetMetadata(), fine) || response.GetUser().GetLocale() != "" {
				t.Errorf("at the bound: %v", err)
			}
		}
	})
}

// ofSize is an object that has so many bytes as JSON.
func ofSize(t *testing.T, bytes int) *structpb.Struct {
	t.Helper()
	return object(t, map[string]any{"text": strings.Repeat("<", bytes-len(`{"text":""}`))})
}

func faults(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			var all []string
			for _, fault := range bad.GetFieldViolations() {
				all = append(all, fault.GetField()+" "+fault.GetReason())
			}
			return strings.Join(all, ", ")
		}
	}
	return ""
}

func TestDeleteUserRecentLogin(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		old, root := store.logIn(t), store.logInRoot(t)
		clock.advance(authn.MaxLoginAge)
		refreshed, err := store.refresh(t.Context(), old.GetRefreshToken()) // A refresh is no log-in.
		if err != nil {
			t.Fatal(err)
		}
		clock.advance(time.Microsecond)
		for _, token := range []string{old.GetAccessToken(), refreshed.GetAccessToken(), root.GetAccessToken()} {
			_, err := store.users.DeleteUser(as(t, token),
				&gatehousev1.DeleteUserRequest{Id: old.GetSession().GetUserId()})
			wantReason(t, err, recentLoginRequired)
		}
		recent := store.logIn(t)
		clock.advance(authn.MaxLoginAge)
		if _, err := store.users.DeleteUser(as(t, recent.GetAccessToken()),
			&gatehousev1.DeleteUserRequest{Id: "me"}); err != nil {
			t.Errorf("10 minutes after the log-in: %v", err)
		}
	})
}

func TestDeleteUser(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		root := as(t, store.logInRoot(t).GetAccessToken())
		for _, deletes := range []func(*gatehousev1.CreateSessionResponse) error{
			func(own *gatehousev1.CreateSessionResponse) error {
				_, err := store.users.DeleteUser(as(t, own.GetAccessToken()), &gatehousev1.DeleteUserRequest{Id: "me"})
				return err
			},
			func(own *gatehousev1.CreateSessionResponse) error {
				id := strings.ToUpper(own.GetSession().GetUserId()) // The case of a UUID does not matter.
				_, err := store.users.DeleteUser(root, &gatehousev1.DeleteUserRequest{Id: id})
				return err
			},
		} {
			own := store.logIn(t)
			id := own.GetSession().GetUserId()
			if err := deletes(own); err != nil {
				t.Fatal(err)
			}
			_, err := store.users.ReadUser(root, &gatehousev1.ReadUserRequest{Id: id})
			wantReason(t, err, userNotFound)
			_, err = store.users.DeleteUser(root, &gatehousev1.DeleteUserRequest{Id: id})
			wantReason(t, err, userNotFound)
			_, err = store.sessions.CreateSession(t.Context(),
				&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: adasPassword})
			wantReason(t, err, badCredentials)
			if again := store.signUp(t); again.GetId() == id {
				t.Error("the id was given again")
			}
		}
	})
}

func TestUserPermissions(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		own := as(t, store.logIn(t).GetAccessToken())
		bob := store.addUser(t, "bob@example.com", false)
		_, err := store.users.ReadUser(own, &gatehousev1.ReadUserRequest{Id: bob.ID})
		wantReason(t, err, userNotFound)
		_, err = store.users.UpdateUser(own, &gatehousev1.UpdateUserRequest{
			User: &gatehousev1.User{Id: bob.ID, FullName: "Eve"},
		})
		wantReason(t, err, userNotFound)
		_, err = store.users.DeleteUser(own, &gatehousev1.DeleteUserRequest{Id: bob.ID})
		wantReason(t, err, userNotFound)
		_, err = store.users.ListUsers(own, &gatehousev1.ListUsersRequest{})
		wantReason(t, err, roleRequired)
		if after, err := store.service.storage.ReadUser(t.Context(), bob.ID); err != nil || after != bob {
			t.Errorf("Bob is %+v, %v", after, err)
		}
	})
}

func TestCreateUserRepeated(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		request := &gatehousev1.CreateUserRequest{
			Email: "Grace@example.com", FullName: "Grace Hopper", Password: "a password of hers", RequestId: "a-request",
		}
		first, err := store.users.CreateUser(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		token := store.logInWith(t, request).GetAccessToken()
		if _, err := store.users.UpdateUser(as(t, token), &gatehousev1.UpdateUserRequest{
			User: &gatehousev1.User{Id: "me", FullName: "Admiral Hopper"},
		}); err != nil {
			t.Fatal(err)
		}
		clock.advance(24 * time.Hour)
		again, err := store.users.CreateUser(t.Context(), request)
		if err != nil || !proto.Equal(again, first) {
			t.Errorf("again it is %v, %v", again, err)
		}
		clock.advance(time.Microsecond) // A day is over: it is another request.
		_, err = store.users.CreateUser(t.Context(), request)
		wantReason(t, err, emailTaken)
	})
}

func (s *testStore) logInWith(
	t *testing.T, account *gatehousev1.CreateUserRequest,
) *gatehousev1.CreateSessionResponse {
	t.Helper()
	response, err := s.sessions.CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: account.GetEmail(), Password: account.GetPassword()})
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestCreateUserConcurrently(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		ids := make(chan string, 50)
		var senders sync.WaitGroup
		for range cap(ids) {
			senders.Go(func() {
				response, err := store.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{
					Email: "grace@example.com", FullName: "Grace Hopper", Password: "a password of hers", RequestId: "one",
				})
				if err != nil {
					t.Error(err)
				}
				ids <- response.GetUser().GetId()
			})
		}
		senders.Wait()
		first := <-ids
		for range cap(ids) - 1 {
			if id := <-ids; id != first || id == "" {
				t.Errorf("ids are %q and %q", first, id)
			}
		}
	})
}
