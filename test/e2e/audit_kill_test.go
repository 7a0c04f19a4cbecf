package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// actors do one thing after the other, each with users of their own.
const actors = 4

// deed is a call that has an event if, and only if, it did what it was to do.
type deed struct {
	request string // its id, by which its event is found
	kind    string
	reason  string // of the refusal that it was to get; "" for what was to be done
	unknown bool   // whether its answer was lost, and with it whether it was done
}

// deeds are those of one environment, under kills.
type deeds struct {
	env  *testEnv
	root string // token of an admin

	mu       sync.Mutex
	all      []deed
	sessions []*gatehousev1.CreateSessionResponse
	strike   chan struct{} // takes a value when it is time to kill
	until    atomic.Int64  // how many answers till then
	over     atomic.Bool
}

// auditEvent is a line of the export.
type auditEvent struct{ ID, Kind, Reason, UserID, SessionID, RequestID, Actor string }

// TestAudit kills the store again and again while everything happens that has an
// event.
func TestAudit(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *testEnv{
		"one process":     func(t *testing.T) *testEnv { return startUp(t, t.TempDir(), cheapHashes...) },
		"three processes": func(t *testing.T) *testEnv { return startThree(t, cheapHashes...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := start(t)
			root := logIn(t, env, makeAdmin(t, env, "root@example.com"))
			d := &deeds{env: env, root: root, strike: make(chan struct{}, 1)}
			seed := rand.Uint64()
			t.Log("the seed is ", seed)
			d.live(t, rand.New(rand.NewPCG(seed, 0)))
			d.check(t)
		})
	}
}

// live runs the actors while the store, which is the first process of every environment, is killed.
func (d *deeds) live(t *testing.T, random *rand.Rand) {
	t.Helper()
	var acting sync.WaitGroup
	d.until.Store(150) // So that everything has happened once before.
	for actor := range actors {
		acting.Go(func() {
			for life := 0; !d.over.Load(); life++ {
				d.lead(t, fmt.Sprintf("user%d.%d@example.com", actor, life), life%2 == 0)
			}
		})
	}
	for range kills {
		<-d.strike
		d.env.processes[0].Kill()
		if err := d.env.processes[0].Start(); err != nil {
			t.Error(err)
			break
		}
		d.until.Store(int64(10 + random.IntN(60)))
	}
	<-d.strike // They have come back.
	d.over.Store(true)
	acting.Wait()
}

// do makes a call that has an event of this kind, and tells whether it went as it was to go.
func (d *deeds) do(t *testing.T, token, kind, reason string, call func(context.Context) error) bool {
	t.Helper()
	made := deed{request: uuid.NewString(), kind: kind, reason: reason}
	ctx := metadata.AppendToOutgoingContext(callContext(t), callctx.RequestIDHeader, made.request)
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	err := call(ctx)
	st := status.Convert(err)
	got := ""
	if err != nil {
		got = apierr.ReasonName(apierr.ReasonOf(st))
	}
	made.unknown = slices.Contains([]codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled}, st.Code())
	if !made.unknown && got != reason {
		t.Errorf("%s: %v, want %q", kind, err, reason)
	}
	d.mu.Lock()
	d.all = append(d.all, made)
	d.mu.Unlock()
	if made.unknown {
		d.wait(t)
	} else if d.until.Add(-1) == 0 {
		d.strike <- struct{}{}
	}
	return got == reason
}

// wait waits until the services are back.
func (d *deeds) wait(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, func() error {
		_, err := gatehousev1.NewKeyServiceClient(d.env.conn).ListKeys(callContext(t), &gatehousev1.ListKeysRequest{})
		if err == nil {
			_, err = gatehousev1.NewSessionServiceClient(d.env.conn).ReadSession(bearer(callContext(t), d.root),
				&gatehousev1.ReadSessionRequest{Id: "current"})
		}
		return err
	})
}

// lead is the life of one account, until it has no more to do, is deleted, or an answer is lost.
func (d *deeds) lead(t *testing.T, email string, mortal bool) {
	t.Helper()
	l := &life{deeds: d, t: t, email: email, password: adasPassword}
	users, admins := gatehousev1.NewUserServiceClient(d.env.conn), gatehousev1.NewAdminServiceClient(d.env.conn)
	_ = l.signUp(users) && l.logIn("INVALID_CREDENTIALS") && l.logIn("") && l.reuse() && l.logIn("") && l.rename(users) &&
		l.changePassword("PASSWORD_WRONG") && l.changePassword("") && l.logOut() && l.logIn("") &&
		l.manage("ROLES_SET", func(ctx context.Context) error {
			_, err := admins.SetRoles(ctx, &gatehousev1.SetRolesRequest{Id: l.id, Roles: []string{"admin", "user"}})
			return err
		}) && l.manage("USER_DISABLED", func(ctx context.Context) error {
		_, err := admins.DisableUser(ctx, &gatehousev1.DisableUserRequest{Id: l.id})
		return err
	}) && l.logIn("USER_DISABLED") && l.manage("USER_ENABLED", func(ctx context.Context) error {
		_, err := admins.EnableUser(ctx, &gatehousev1.EnableUserRequest{Id: l.id})
		return err
	}) && l.manage("PASSWORD_RESET", func(ctx context.Context) error {
		_, err := admins.ResetUserPassword(ctx, &gatehousev1.ResetUserPasswordRequest{Id: l.id, NewPassword: "another password"})
		l.password = "another password"
		return err
	}) && l.logIn("") && l.manage("LOGOUT_EVERYWHERE", func(ctx context.Context) error {
		_, err := admins.DeleteUserSessions(ctx, &gatehousev1.DeleteUserSessionsRequest{UserId: l.id})
		return err
	}) && l.logIn("") && mortal && l.manage("USER_DELETED", func(ctx context.Context) error {
		_, err := users.DeleteUser(ctx, &gatehousev1.DeleteUserRequest{Id: l.id})
		return err
	})
}

// life is an account on its way.
type life struct {
	*deeds

	t                   *testing.T
	email, password, id string
	session             *gatehousev1.CreateSessionResponse
}

func (l *life) manage(kind string, call func(context.Context) error) bool {
	return l.do(l.t, l.root, kind, "", call)
}

func (l *life) signUp(users gatehousev1.UserServiceClient) bool {
	return l.do(l.t, "", "USER_CREATED", "", func(ctx context.Context) error {
		response, err := users.CreateUser(ctx,
			&gatehousev1.CreateUserRequest{Email: l.email, FullName: "Ada", Password: l.password, RequestId: l.email})
		l.id = response.GetUser().GetId()
		return err
	})
}

// logIn logs in, or is refused: with a wrong password, or as the account is disabled.
func (l *life) logIn(reason string) bool {
	password := l.password
	if reason == "INVALID_CREDENTIALS" {
		password += "!"
	}
	return l.do(l.t, "", "LOGIN", reason, func(ctx context.Context) error {
		response, err := gatehousev1.NewSessionServiceClient(l.env.conn).CreateSession(ctx,
			&gatehousev1.CreateSessionRequest{Email: l.email, Password: password})
		if err == nil {
			l.session = response
			l.mu.Lock()
			l.sessions = append(l.sessions, response)
			l.mu.Unlock()
		}
		return err
	})
}

// reuse presents a refresh token that is void.
func (l *life) reuse() bool {
	sessions := gatehousev1.NewSessionServiceClient(l.env.conn)
	void, err := voidToken(callContext(l.t), sessions, l.session.GetRefreshToken())
	if err != nil {
		l.wait(l.t)
		return false
	}
	return l.do(l.t, "", "REFRESH_TOKEN_REUSED", "REFRESH_TOKEN_REUSED", func(ctx context.Context) error {
		_, err := sessions.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: void})
		return err
	})
}

func (l *life) rename(users gatehousev1.UserServiceClient) bool {
	return l.do(l.t, l.session.GetAccessToken(), "USER_UPDATED", "", func(ctx context.Context) error {
		_, err := users.UpdateUser(ctx, &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me", FullName: "Ada King"}})
		return err
	})
}

func (l *life) changePassword(reason string) bool {
	present, next := l.password, "the next password"
	if reason != "" {
		present = "no password of mine"
	}
	return l.do(l.t, l.session.GetAccessToken(), "PASSWORD_CHANGED", reason, func(ctx context.Context) error {
		response, err := gatehousev1.NewSessionServiceClient(l.env.conn).ChangePassword(ctx,
			&gatehousev1.ChangePasswordRequest{Id: "me", CurrentPassword: present, NewPassword: next})
		if err == nil {
			l.password = next
			l.session = &gatehousev1.CreateSessionResponse{
				AccessToken: response.GetAccessToken(), RefreshToken: response.GetRefreshToken(),
				SessionId: response.GetSessionId(), Session: response.GetSession(),
			}
		}
		return err
	})
}

func (l *life) logOut() bool {
	return l.do(l.t, l.session.GetAccessToken(), "LOGOUT", "", func(ctx context.Context) error {
		_, err := gatehousev1.NewSessionServiceClient(l.env.conn).DeleteSession(ctx,
			&gatehousev1.DeleteSessionRequest{Id: "current"})
		return err
	})
}

// check compares what the actors know, the events, and what is there.
func (d *deeds) check(t *testing.T) {
	t.Helper()
	export := &importTest{database: []string{cluster.DatabaseSetting(d.env.database)}}
	code, stdout, stderr := export.run(t, "audit", "export")
	if code != 0 {
		t.Fatal(stderr)
	}
	var events []auditEvent
	for line := range strings.Lines(stdout) {
		var event auditEvent
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	d.checkDeeds(t, events)
	checkUsers(t, export, events)
	d.checkSessions(t, events)
}

// checkDeeds requires one event of each deed that was answered, and at most one of the others.
func (d *deeds) checkDeeds(t *testing.T, events []auditEvent) {
	t.Helper()
	byRequest, answered, lost := map[string][]auditEvent{}, map[string]int{}, 0
	for _, event := range events {
		byRequest[event.RequestID] = append(byRequest[event.RequestID], event)
	}
	for _, made := range d.all {
		found := byRequest[made.request]
		right := len(found) == 1 && found[0].Kind == made.kind && (found[0].Reason == made.reason || made.unknown)
		switch {
		case made.unknown:
			if lost++; len(found) > 0 && !right {
				t.Errorf("%+v, whose answer was lost, has the events %+v", made, found)
			}
		case !right:
			t.Errorf("%+v has the events %+v", made, found)
		default:
			answered[made.kind+" "+made.reason]++
		}
	}
	t.Logf("%d deeds, the answers of %d were lost: %v", len(d.all), lost, answered)
	if lost == 0 {
		t.Error("no answer was ever lost")
	}
	for _, want := range []string{
		"USER_CREATED ", "LOGIN ", "LOGIN INVALID_CREDENTIALS", "LOGIN USER_DISABLED",
		"REFRESH_TOKEN_REUSED REFRESH_TOKEN_REUSED", "USER_UPDATED ", "PASSWORD_CHANGED PASSWORD_WRONG",
		"PASSWORD_CHANGED ", "LOGOUT ", "ROLES_SET ", "USER_DISABLED ", "USER_ENABLED ", "PASSWORD_RESET ",
		"LOGOUT_EVERYWHERE ", "USER_DELETED ",
	} {
		if answered[want] == 0 {
			t.Errorf("%s has never been answered", want)
		}
	}
}

// checkUsers requires that the events tell who is there, and in which version: each change makes another one.
func checkUsers(t *testing.T, export *importTest, events []auditEvent) {
	t.Helper()
	changes := []string{
		"USER_CREATED", "USER_UPDATED", "USER_DISABLED", "USER_ENABLED", "ROLES_SET", "LOGOUT_EVERYWHERE", "PASSWORD_CHANGED",
		"PASSWORD_RESET",
	}
	recorded := map[string]int{}
	for _, event := range events {
		if event.Reason == "" && slices.Contains(changes, event.Kind) && recorded[event.UserID] >= 0 {
			recorded[event.UserID]++
		}
		if event.Kind == "USER_DELETED" {
			recorded[event.UserID] = -1 // The newest event comes first.
		}
	}
	code, stdout, stderr := export.run(t, "users", "export")
	if code != 0 {
		t.Fatal(stderr)
	}
	for line := range strings.Lines(stdout) {
		var user struct {
			ID, Email string
			Version   int
		}
		if err := json.Unmarshal([]byte(line), &user); err != nil {
			t.Fatal(err)
		}
		if recorded[user.ID] != user.Version {
			t.Errorf("%s has version %d, and the events tell of %d", user.Email, user.Version, recorded[user.ID])
		}
		delete(recorded, user.ID)
	}
	for id, versions := range recorded {
		if versions >= 0 {
			t.Errorf("the events tell of user %s, who is not there", id)
		}
	}
}

// checkSessions requires that a session is active if and only if no event reports its end.
func (d *deeds) checkSessions(t *testing.T, events []auditEvent) {
	t.Helper()
	active := 0
	for _, session := range d.sessions {
		id, user := session.GetSession().GetId(), session.GetSession().GetUserId()
		begun := slices.IndexFunc(events, func(event auditEvent) bool { return event.Kind == "LOGIN" && event.SessionID == id })
		if begun < 0 {
			t.Errorf("session %s has no event", id)
			continue
		}
		ended := slices.ContainsFunc(events[:begun], func(event auditEvent) bool {
			switch event.Kind {
			case "LOGOUT", "REFRESH_TOKEN_REUSED":
				return event.SessionID == id
			case "PASSWORD_CHANGED":
				return event.UserID == user && event.Reason == ""
			case "PASSWORD_RESET", "USER_DISABLED", "USER_DELETED", "LOGOUT_EVERYWHERE":
				return event.UserID == user
			default:
				return false
			}
		})
		_, err := readMe(t, d.env, session.GetAccessToken())
		if st := status.Code(err); ended != (st == codes.Unauthenticated) || !ended && err != nil {
			t.Errorf("session %s has ended by the events: %v; a call gets %v", id, ended, err)
		}
		if !ended {
			active++
		}
	}
	t.Logf("of %d sessions %d stand", len(d.sessions), active)
	if active == 0 || active == len(d.sessions) {
		t.Error("all sessions are alike")
	}
}

// TestAuditRotation checks that each rotation of the keys has its event. The actors of TestAudit cannot rotate: the
// next key is made once in 10 minutes.
func TestAuditRotation(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	env := startUp(t, data, cheapHashes...)
	root := logIn(t, env, makeAdmin(t, env, "root@example.com"))
	for range 3 {
		_, err := gatehousev1.NewAdminServiceClient(env.conn).RotateKey(bearer(callContext(t), root), &gatehousev1.RotateKeyRequest{})
		if err != nil {
			t.Fatal(err)
		}
	}
	env.processes[0].Kill()
	export := &importTest{database: []string{"GATEHOUSE_DATABASE_URL=sqlite:" + filepath.Join(data, "gatehouse.db")}}
	_, stdout, stderr := export.run(t, "audit", "export")
	if rotated := strings.Count(stdout, `"KEY_ROTATED"`); rotated != 2 { // That of the start, and this one.
		t.Errorf("there are %d events of rotations: %s%s", rotated, stdout, stderr)
	}
}
