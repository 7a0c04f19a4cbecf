package store

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	"github.com/google/go-cmp/cmp"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// claimsOf reads what an access token says.
func claimsOf(t *testing.T, accessToken string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(accessToken, ".")[1])
	claims := map[string]any{}
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestDisableUser(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		root, own := as(t, store.logInRoot(t).GetAccessToken()), store.logIn(t)
		id := own.GetSession().GetUserId()
		for range 2 { // The second time nothing changes.
			response, err := store.admin.DisableUser(root, &gatehousev1.DisableUserRequest{Id: id})
			if err != nil || response.GetUser().GetState() != gatehousev1.UserState_USER_STATE_DISABLED ||
				response.GetUser().GetVersion() != 2 {
				t.Fatalf("disabled: %v, %v", response, err)
			}
		}
		logIn := func(password string) error {
			_, err := store.sessions.CreateSession(t.Context(),
				&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: password})
			return err
		}
		wantReason(t, logIn(adasPassword), userDisabled)
		wantReason(t, logIn("a wrong password"), badCredentials)
		enabled, err := store.admin.EnableUser(root, &gatehousev1.EnableUserRequest{Id: id})
		if err != nil || enabled.GetUser().GetState() != gatehousev1.UserState_USER_STATE_ACTIVE {
			t.Fatalf("enabled: %v, %v", enabled, err)
		}
		if err := logIn(adasPassword); err != nil {
			t.Error(err)
		}
		if _, err := store.read(t, own.GetAccessToken()); err == nil {
			t.Error("an earlier session is active again")
		}
	})
}

func TestSetRoles(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		root, own := as(t, store.logInRoot(t).GetAccessToken()), store.logIn(t)
		set := func(roles ...string) {
			t.Helper()
			response, err := store.admin.SetRoles(root,
				&gatehousev1.SetRolesRequest{Id: own.GetSession().GetUserId(), Roles: roles})
			if slices.Sort(roles); err != nil || !slices.Equal(response.GetUser().GetRoles(), roles) {
				t.Fatalf("roles are %v, %v", response.GetUser().GetRoles(), err)
			}
		}
		list := func(token string) error {
			_, err := store.users.ListUsers(as(t, token), &gatehousev1.ListUsersRequest{})
			return err
		}
		set("user", "admin")
		wantReason(t, list(own.GetAccessToken()), roleRequired) // A token says what was so when it was made.
		refreshed, err := store.refresh(t.Context(), own.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		if roles := claimsOf(t, refreshed.GetAccessToken())["roles"]; !cmp.Equal(roles, []any{"admin", "user"}) {
			t.Errorf("the token says %v", roles)
		}
		if err := list(refreshed.GetAccessToken()); err != nil {
			t.Error(err)
		}
		set("user")
		wantReason(t, list(refreshed.GetAccessToken()), roleRequired)
		_, err = store.users.ReadUser(as(t, refreshed.GetAccessToken()),
			&gatehousev1.ReadUserRequest{Id: claimsOf(t, store.logInAs(t, store.addUser(t, "x@example.com", false)).GetAccessToken())["sub"].(string)})
		wantReason(t, err, userNotFound)
	})
}

// TestLastAdmin checks that the last admin stays.
func TestLastAdmin(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		session := store.logInRoot(t)
		root, id := as(t, session.GetAccessToken()), session.GetSession().GetUserId()
		disabled := store.addUser(t, "disabled@example.com", true) // A user who cannot log in does not count.
		if _, err := store.admin.DisableUser(root, &gatehousev1.DisableUserRequest{Id: disabled.ID}); err != nil {
			t.Fatal(err)
		}
		_, err := store.admin.DisableUser(root, &gatehousev1.DisableUserRequest{Id: "me"})
		wantReason(t, err, lastAdmin)
		_, err = store.admin.SetRoles(root, &gatehousev1.SetRolesRequest{Id: id, Roles: []string{"user"}})
		wantReason(t, err, lastAdmin)
		_, err = store.users.DeleteUser(root, &gatehousev1.DeleteUserRequest{Id: id})
		wantReason(t, err, lastAdmin)
		store.addUser(t, "second@example.com", true)
		if _, err := store.users.DeleteUser(root, &gatehousev1.DeleteUserRequest{Id: "me"}); err != nil {
			t.Error(err)
		}
	})
}

func TestAppMetadata(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		config := testConfig(database, newClock())
		config.AppMetadataClaims = []string{"plan", "tenant"}
		store := startStore(t, config)
		store.signUp(t)
		root, own := as(t, store.logInRoot(t).GetAccessToken()), store.logIn(t)
		update := &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{
			Id: own.GetSession().GetUserId(), AppMetadata: object(t, map[string]any{"plan": "pro", "note": "pays late"}),
		}}
		_, err := store.users.UpdateUser(as(t, own.GetAccessToken()), update)
		wantReason(t, err, roleRequired)
		changed, err := store.users.UpdateUser(root, update)
		if err != nil || changed.GetUser().GetAppMetadata().GetFields()["note"].GetStringValue() != "pays late" {
			t.Fatalf("changed to %v, %v", changed, err)
		}
		read, err := store.users.ReadUser(as(t, own.GetAccessToken()), &gatehousev1.ReadUserRequest{Id: "me"})
		if err != nil || read.GetUser().GetAppMetadata() != nil || read.GetUser().GetVersion() != 2 {
			t.Errorf("the user reads %v, %v", read, err)
		}
		refreshed, err := store.refresh(t.Context(), own.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{refreshed.GetAccessToken(), store.logIn(t).GetAccessToken()} {
			if claim := claimsOf(t, token)["app_metadata"]; !cmp.Equal(claim, map[string]any{"plan": "pro"}) {
				t.Errorf("the token says %v", claim)
			}
		}
		update.User.AppMetadata = object(t, map[string]any{"plan": strings.Repeat("p", login.MaxAppClaims)})
		_, err = store.users.UpdateUser(root, update)
		if got := faults(err); got != "user.app_metadata APP_METADATA_CLAIMS_TOO_LARGE" {
			t.Errorf("the fault is %q", got)
		}
	})
}

func TestAuthTimeClaim(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		own, then := store.logIn(t), clock.now().Unix()
		clock.advance(time.Hour)
		refreshed, err := store.refresh(t.Context(), own.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{own.GetAccessToken(), refreshed.GetAccessToken()} {
			claims := claimsOf(t, token)
			if claims["auth_time"] != float64(then) || claims["app_metadata"] != nil {
				t.Errorf("the token says %v", claims)
			}
		}
	})
}

func TestListUsers(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		root := as(t, store.logInRoot(t).GetAccessToken())
		for _, email := range []string{"AB@example.com", "ac@example.com", "b@example.com"} {
			store.addUser(t, email, false)
		}
		request := &gatehousev1.ListUsersRequest{PageSize: 1, EmailPrefix: "A"}
		var found []string
		for {
			page, err := store.users.ListUsers(root, request)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range page.GetUsers() {
				found = append(found, user.GetEmail())
			}
			if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
				break
			}
			if raw, _ := base64.RawURLEncoding.DecodeString(request.GetPageToken()); strings.Contains(string(raw), "example") {
				t.Error("a page token shows an address")
			}
		}
		if want := []string{"AB@example.com", "ac@example.com", adasEmail}; !slices.Equal(found, want) {
			t.Errorf("found %v", found)
		}
		page, err := store.users.ListUsers(root, &gatehousev1.ListUsersRequest{PageSize: 1, Role: "user"})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []*gatehousev1.ListUsersRequest{
			{}, {Role: "admin"}, {Role: "user", EmailPrefix: "a"}, {Role: "user", State: gatehousev1.UserState_USER_STATE_ACTIVE},
		} {
			other.PageToken = page.GetNextPageToken()
			_, err := store.users.ListUsers(root, other)
			wantReason(t, err, badPageToken)
		}
		_, err = store.admin.ListAuditEvents(root, &gatehousev1.ListAuditEventsRequest{PageToken: page.GetNextPageToken()})
		wantReason(t, err, badPageToken)
	})
}

func TestListUsersWithLargeMetadata(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		root := as(t, store.logInRoot(t).GetAccessToken())
		large := "[" + strings.Repeat("1,", 8000) + "1]" // as a message five times as long as it is as JSON
		for i := range 60 {
			user := store.addUser(t, fmt.Sprintf("user%d@example.com", i), false)
			_, err := store.service.storage.ChangeUser(t.Context(), user.ID, user.CreateTime,
				func(before account.User) (storage.UserChange, error) {
					before.Metadata = `{"list":` + large + `}`
					return storage.UserChange{User: before}, nil
				})
			if err != nil {
				t.Fatal(err)
			}
		}
		request, found := &gatehousev1.ListUsersRequest{PageSize: 100, EmailPrefix: "user"}, 0
		for {
			page, err := store.users.ListUsers(root, request)
			if err != nil {
				t.Fatal(err)
			}
			found += len(page.GetUsers())
			if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
				break
			}
		}
		if found != 60 {
			t.Errorf("found %d users, not 60", found)
		}
	})
}
