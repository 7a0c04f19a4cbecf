package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/maintenance"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// wantedEvent is what an event is to say, in words.
type wantedEvent struct {
	kind, actor, user, reason string
	session                   string
	details                   map[string]string
}

// TestAuditEvents performs every audited action and reads the events.
func TestAuditEvents(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		rootSession := store.logInRoot(t)
		root, rootID := as(t, rootSession.GetAccessToken()), rootSession.GetSession().GetUserId()
		clock.advance(time.Second)
		began := clock.now()

		own := store.logIn(t)
		id, sid := own.GetSession().GetUserId(), own.GetSessionId()
		me := as(t, own.GetAccessToken())
		var failures []error
		must := func(_ any, err error) {
			t.Helper()
			if clock.advance(time.Second); err != nil {
				t.Fatal(err)
			}
		}
		refused := func(_ any, err error) {
			clock.advance(time.Second)
			failures = append(failures, err)
		}
		clock.advance(time.Second)
		refused(store.sessions.CreateSession(t.Context(), &gatehousev1.CreateSessionRequest{Email: adasEmail, Password: "no"}))
		refused(store.sessions.CreateSession(t.Context(), &gatehousev1.CreateSessionRequest{Email: "no@example.com", Password: "no"}))
		must(store.users.UpdateUser(me, &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me", Locale: "de", FullName: "A"}}))
		must(store.users.UpdateUser(me, &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me", Locale: "de"}})) // no change
		refused(store.sessions.ChangePassword(me, &gatehousev1.ChangePasswordRequest{Id: "me", CurrentPassword: "wrong one", NewPassword: "a new one"}))
		changed, err := store.sessions.ChangePassword(me, &gatehousev1.ChangePasswordRequest{Id: "me", CurrentPassword: adasPassword, NewPassword: adasPassword})
		must(changed, err)
		me = as(t, changed.GetAccessToken())
		spared, err := store.sessions.DeleteAllSessions(me, &gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true})
		must(spared, err)
		me = as(t, spared.GetAccessToken())
		must(store.sessions.DeleteSession(me, &gatehousev1.DeleteSessionRequest{Id: "current"}))
		must(store.admin.SetRoles(root, &gatehousev1.SetRolesRequest{Id: id, Roles: []string{"user", "admin"}}))
		must(store.admin.DisableUser(root, &gatehousev1.DisableUserRequest{Id: id}))
		refused(store.sessions.CreateSession(t.Context(), &gatehousev1.CreateSessionRequest{Email: adasEmail, Password: adasPassword}))
		must(store.admin.EnableUser(root, &gatehousev1.EnableUserRequest{Id: id}))
		must(store.admin.ResetUserPassword(root, &gatehousev1.ResetUserPasswordRequest{Id: id, NewPassword: adasPassword}))
		must(store.admin.DeleteUserSessions(root, &gatehousev1.DeleteUserSessionsRequest{UserId: id}))
		stolen := store.logIn(t)
		clock.advance(time.Second)
		second, err := store.refresh(t.Context(), stolen.GetRefreshToken())
		must(second, err)
		must(store.refresh(t.Context(), second.GetRefreshToken()))
		clock.advance(time.Minute)
		refused(store.refresh(t.Context(), stolen.GetRefreshToken()))
		refused(store.refresh(t.Context(), stolen.GetRefreshToken())) // It is told once.
		key, err := store.admin.RotateKey(root, &gatehousev1.RotateKeyRequest{})
		must(key, err)
		must(store.admin.RotateKey(root, &gatehousev1.RotateKeyRequest{})) // Makes none.
		must(store.users.DeleteUser(root, &gatehousev1.DeleteUserRequest{Id: id}))
		for i, err := range failures {
			if err == nil {
				t.Fatalf("call %d was not refused", i)
			}
		}

		wanted := []wantedEvent{
			{kind: "LOGIN", user: id, session: sid},
			{kind: "LOGIN", user: id, reason: "INVALID_CREDENTIALS"},
			{kind: "LOGIN", reason: "INVALID_CREDENTIALS"},
			{kind: "USER_UPDATED", actor: id, user: id, session: sid, details: map[string]string{"fields": "full_name,locale"}},
			{kind: "PASSWORD_CHANGED", actor: id, user: id, session: sid, reason: "PASSWORD_WRONG"},
			{kind: "PASSWORD_CHANGED", actor: id, user: id, session: sid, details: map[string]string{"session": changed.GetSessionId()}},
			{
				kind: "LOGOUT_EVERYWHERE", actor: id, user: id, session: changed.GetSessionId(),
				details: map[string]string{"session": spared.GetSessionId()},
			},
			{kind: "LOGOUT", actor: id, user: id, session: spared.GetSessionId()},
			{kind: "ROLES_SET", actor: rootID, user: id, session: rootSession.GetSessionId(), details: map[string]string{"roles": "admin,user"}},
			{kind: "USER_DISABLED", actor: rootID, user: id, session: rootSession.GetSessionId()},
			{kind: "LOGIN", user: id, reason: "USER_DISABLED"},
			{kind: "USER_ENABLED", actor: rootID, user: id, session: rootSession.GetSessionId()},
			{kind: "PASSWORD_RESET", actor: rootID, user: id, session: rootSession.GetSessionId()},
			{kind: "LOGOUT_EVERYWHERE", actor: rootID, user: id, session: rootSession.GetSessionId()},
			{kind: "LOGIN", user: id, session: stolen.GetSessionId()},
			{kind: "REFRESH_TOKEN_REUSED", user: id, session: stolen.GetSessionId(), reason: "REFRESH_TOKEN_REUSED"},
			{kind: "KEY_ROTATED", actor: rootID, session: rootSession.GetSessionId(), details: map[string]string{"kid": key.GetKeyId()}},
			{kind: "USER_DELETED", actor: rootID, user: id, session: rootSession.GetSessionId()},
		}
		events := store.events(t, root, &gatehousev1.ListAuditEventsRequest{StartTime: timestamppb.New(began)})
		if diff := cmp.Diff(wanted, events, cmp.AllowUnexported(wantedEvent{})); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		for name, filter := range map[string]*gatehousev1.ListAuditEventsRequest{
			"of the user": {UserId: id}, "by the admin": {Actor: rootID},
			"log-ins": {Kind: gatehousev1.AuditEventKind_AUDIT_EVENT_KIND_LOGIN},
			"log-ins of the user by nobody who was logged in, before the first second was over": {
				UserId: id, Kind: gatehousev1.AuditEventKind_AUDIT_EVENT_KIND_LOGIN, EndTime: timestamppb.New(began.Add(time.Second)),
			},
		} {
			filter.StartTime = timestamppb.New(began)
			var picked []wantedEvent
			for i, event := range wanted {
				first := filter.GetEndTime() == nil || i == 0
				kind := filter.GetKind() == 0 || filter.GetKind().String() == "AUDIT_EVENT_KIND_"+event.kind
				user, actor := filter.GetUserId() == "" || filter.GetUserId() == event.user, filter.GetActor() == "" || filter.GetActor() == event.actor
				if first && kind && user && actor {
					picked = append(picked, event)
				}
			}
			if diff := cmp.Diff(picked, store.events(t, root, filter), cmp.AllowUnexported(wantedEvent{})); diff != "" {
				t.Errorf("events %s (-want +got):\n%s", name, diff)
			}
		}
	})
}

// events reads all pages of a list of audit events, and gives them oldest first.
func (s *testStore) events(
	t *testing.T, as context.Context, request *gatehousev1.ListAuditEventsRequest,
) (events []wantedEvent) {
	t.Helper()
	request = proto.CloneOf(request)
	for request.PageSize = 3; ; {
		page, err := s.admin.ListAuditEvents(as, request)
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range page.GetAuditEvents() {
			if failed := event.GetOutcome() == gatehousev1.AuditOutcome_AUDIT_OUTCOME_FAILURE; failed != (event.GetReason() != "") {
				t.Errorf("an event says %v because of %q", event.GetOutcome(), event.GetReason())
			}
			events = append(events, wantedEvent{
				kind: strings.TrimPrefix(event.GetKind().String(), "AUDIT_EVENT_KIND_"), actor: event.GetActor(), user: event.GetUserId(),
				reason: event.GetReason(), session: event.GetSessionId(), details: event.GetDetails(),
			})
		}
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			slices.Reverse(events)
			return events
		}
	}
}

func TestAuditEventsClient(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		root := as(t, store.logInRoot(t).GetAccessToken())
		clock.advance(time.Second)
		from := callctx.WithClient(t.Context(), callctx.Client{Address: "203.0.113.7", UserAgent: "a browser"})
		from = callctx.WithRequestID(from, "request-7")
		if _, err := store.sessions.CreateSession(from,
			&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: "wrong"}); err == nil {
			t.Fatal("it was not refused")
		}
		page, err := store.admin.ListAuditEvents(root, &gatehousev1.ListAuditEventsRequest{PageSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		event := page.GetAuditEvents()[0]
		if event.GetClientAddress() != "203.0.113.7" || event.GetUserAgent() != "a browser" || event.GetRequestId() != "request-7" {
			t.Errorf("the event is %v", event)
		}
	})
}

// TestAuditEventsFailedLogIns logs in to one account, and to addresses without one, with wrong passwords.
func TestAuditEventsFailedLogIns(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		clock.advance(clock.now().Truncate(time.Hour).Add(time.Hour).Sub(clock.now())) // What follows is in one hour.
		root := as(t, store.logInRoot(t).GetAccessToken())
		client := callctx.WithClient(t.Context(), callctx.Client{Address: "203.0.113.7"})
		clock.advance(time.Second)
		for i := range 3 {
			for _, email := range []string{adasEmail, fmt.Sprintf("nobody%d@example.com", i)} {
				if _, err := store.sessions.CreateSession(client,
					&gatehousev1.CreateSessionRequest{Email: email, Password: "wrong"}); err == nil {
					t.Fatal("it was not refused")
				}
			}
			clock.advance(time.Second)
		}
		page, err := store.admin.ListAuditEvents(root, &gatehousev1.ListAuditEventsRequest{PageSize: 2})
		if err != nil {
			t.Fatal(err)
		}
		users := map[bool]int{}
		for _, event := range page.GetAuditEvents() {
			users[event.GetUserId() != ""]++
			last := event.GetLastTime().AsTime().Sub(event.GetEventTime().AsTime())
			if event.GetCount() != 3 || last != 2*time.Second || event.GetReason() != "INVALID_CREDENTIALS" {
				t.Errorf("the event is %v", event)
			}
		}
		if users[true] != 1 || users[false] != 1 {
			t.Errorf("the events are %v", page.GetAuditEvents())
		}
		// Somebody else is not counted in, and can log in.
		response, err := store.sessions.CreateSession(
			callctx.WithClient(t.Context(), callctx.Client{Address: "198.51.100.1"}),
			&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: adasPassword})
		if err != nil {
			t.Fatal(err)
		}
		page, err = store.admin.ListAuditEvents(root, &gatehousev1.ListAuditEventsRequest{PageSize: 1})
		if err != nil || page.GetAuditEvents()[0].GetSessionId() != response.GetSessionId() ||
			page.GetAuditEvents()[0].GetCount() != 1 || page.GetAuditEvents()[0].GetLastTime() == nil {
			t.Errorf("the log-in is %v, %v", page, err)
		}
	})
}

func TestAuditEventsRetention(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		db := store.service.storage
		count := func() int {
			events, err := db.ListEvents(t.Context(), storage.EventFilter{}, 100)
			if err != nil {
				t.Fatal(err)
			}
			return len(events)
		}
		before := count()
		clock.advance(24 * time.Hour)
		store.logIn(t)
		for _, test := range []struct {
			retention time.Duration
			left      int
		}{{0, before + 1}, {48 * time.Hour, before + 1}, {24 * time.Hour, 1}} {
			if err := maintenance.SweepOnce(t.Context(), db, test.retention, clock.now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			if left := count(); left != test.left {
				t.Errorf("after a retention of %v there are %d events, not %d", test.retention, left, test.left)
			}
		}
	})
}
