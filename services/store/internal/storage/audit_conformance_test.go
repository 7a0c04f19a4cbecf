package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

// auditConformance is what every database must do for audit events.
var auditConformance = []conformanceCase{
	{"every act writes its events", everyActWritesItsEvents},
	{"who is not logged in is nobody", eventsOfNobody},
	{"events are kept as they were written", anyEvent},
	{"events are listed newest first, page by page", eventsByPage},
	{"events are picked by what they say", eventsPicked},
	{"events are picked to the microsecond", eventsByTime},
	{"retention deletes what is older", eventsDeleted},
	{"nothing else removes events", eventsStay},
}

// origin is who does something, and withOrigin a context that says so.
var origin = audit.Origin{
	Actor: "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21", SessionID: "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c22",
	ClientAddress: "2001:db8::7", UserAgent: "curl/8 \U0001F9D1", RequestID: "request-1",
}

func withOrigin(ctx context.Context) context.Context {
	ctx = authn.WithCaller(ctx, authn.Caller{UserID: origin.Actor, SessionID: origin.SessionID})
	ctx = callctx.WithClient(ctx, callctx.NewClient(netip.MustParseAddr(origin.ClientAddress), origin.UserAgent))
	return callctx.WithRequestID(ctx, origin.RequestID)
}

// listEvents lists the events that a filter picks, newest first.
func listEvents(t *testing.T, s *Storage, filter EventFilter) []Event {
	t.Helper()
	events, err := s.ListEvents(t.Context(), filter, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// newEvents are those that are not among the previous ones, ordered by their kinds.
func newEvents(t *testing.T, s *Storage, before []Event) []Event {
	t.Helper()
	events := slices.DeleteFunc(listEvents(t, s, EventFilter{}), func(event Event) bool {
		return slices.ContainsFunc(before, func(other Event) bool { return other.ID == event.ID })
	})
	slices.SortFunc(events, func(a, b Event) int { return cmp.Compare(a.Kind, b.Kind) })
	return events
}

// clearTables empties all tables.
func clearTables(t *testing.T, s *Storage) {
	t.Helper()
	for _, table := range tables {
		exec(t, s, "DELETE FROM "+table)
	}
}

// tables are those that acts write to, children first.
var tables = []string{
	"audit_events", "sessions", "credentials", "sign_up_requests", "user_tombstones", "users", "signing_keys", "changes",
}

func everyActWritesItsEvents(t *testing.T, s *Storage) {
	kinds := map[string]bool{}
	for name, prepare := range acts {
		clearTables(t, s)
		act := prepare(t, s)
		before := listEvents(t, s, EventFilter{})
		if err := act.do(withOrigin(t.Context())); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantEvents(t, name, newEvents(t, s, before), act.wanted)
		for _, event := range act.wanted {
			kinds["AUDIT_EVENT_KIND_"+string(event.Kind)] = true
		}
	}
	for _, kind := range gatehousev1.AuditEventKind_name {
		if !kinds[kind] && kind != "AUDIT_EVENT_KIND_UNSPECIFIED" && kind != "AUDIT_EVENT_KIND_"+string(UserImported) {
			t.Errorf("no act writes %s", kind)
		}
	}
}

// wantEvents requires these events, in any order, by the origin.
func wantEvents(t *testing.T, name string, got, wanted []Event) {
	t.Helper()
	wanted = slices.Clone(wanted)
	slices.SortFunc(wanted, func(a, b Event) int { return cmp.Compare(a.Kind, b.Kind) })
	if len(got) != len(wanted) {
		t.Errorf("%s: the events are %+v\nwant %+v", name, got, wanted)
		return
	}
	for i := range wanted {
		event, session := wanted[i], wanted[i].SessionID
		event.Origin, event.ID = origin, got[i].ID
		if session != "" {
			event.SessionID = session
		}
		if event.Time.IsZero() {
			event.Time = got[i].Time
		}
		if !reflect.DeepEqual(got[i], event) || got[i].ID < firstEventID(event.Time) {
			t.Errorf("%s: the event is %+v\nwant %+v", name, got[i], event)
		}
	}
}

func eventsOfNobody(t *testing.T, s *Storage) {
	if err := s.RecordFailure(t.Context(), Login, "", "INVALID_CREDENTIALS", actTime); err != nil {
		t.Fatal(err)
	}
	if err := s.RecordFailure(audit.WithActor(withOrigin(t.Context()), audit.Operator), Login, "", "", actTime); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]audit.Origin{"INVALID_CREDENTIALS": {}, "": origin}
	for _, event := range listEvents(t, s, EventFilter{}) {
		if by := wanted[event.Reason]; by.Actor != "" {
			by.Actor = "operator"
			wanted[event.Reason] = by
		}
		if !reflect.DeepEqual(event, Event{ID: event.ID, Time: actTime, Kind: Login, Reason: event.Reason, Origin: wanted[event.Reason]}) {
			t.Errorf("the event is %+v", event)
		}
	}
}

// anyEvent writes the longest texts, and odd ones.
func anyEvent(t *testing.T, s *Storage) {
	wanted := Event{Kind: UserUpdated, Time: actTime.Add(999 * time.Nanosecond), UserID: newID(), Reason: strings.Repeat("R", 64), Details: map[string]string{
		`"; DROP TABLE users; --`: "王小明 \U0001F9D1", "": strings.Repeat("x", 900),
	}}
	ctx := callctx.WithClient(callctx.WithRequestID(t.Context(), strings.Repeat("i", 128)), callctx.Client{
		Address: "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", UserAgent: strings.Repeat("\U0001D160", 64),
	})
	if err := appendEvent(ctx, s.db.WithContext(ctx), wanted); err != nil {
		t.Fatal(err)
	}
	got := listEvents(t, s, EventFilter{})
	wanted.ID, wanted.Time, wanted.Origin = got[0].ID, actTime, audit.OriginOf(ctx)
	if len(got) != 1 || !reflect.DeepEqual(got[0], wanted) {
		t.Errorf("wrote %+v\nread %+v", wanted, got)
	}
}

// addEvents appends an event of each time.
func addEvents(t *testing.T, s *Storage, times ...time.Time) {
	t.Helper()
	for _, at := range times {
		if err := s.RecordFailure(t.Context(), Login, newID(), "", at); err != nil {
			t.Fatal(err)
		}
	}
}

func eventsByPage(t *testing.T, s *Storage) {
	var times []time.Time
	for i := range 40 { // Microseconds, of which some are of the same one, over the turn of a millisecond and of a second.
		times = append(times, time.Date(2026, 7, 1, 11, 59, 59, 999_985_000+i/2*2000, time.UTC))
	}
	addEvents(t, s, times[20:]...)
	addEvents(t, s, times[:20]...)
	var listed []Event
	before := ""
	for {
		page, err := s.ListEvents(t.Context(), EventFilter{Before: before}, 7)
		if err != nil || len(page) > 7 {
			t.Fatalf("a page has %d events, %v", len(page), err)
		}
		if len(page) == 0 {
			break
		}
		listed, before = append(listed, page...), page[len(page)-1].ID
		addEvents(t, s, actTime.Add(time.Hour)) // What is newer does not come between.
	}
	if len(listed) != len(times) {
		t.Fatalf("%d of %d events are listed", len(listed), len(times))
	}
	for i, event := range listed {
		if wanted := times[len(times)-1-i]; event.Time != wanted {
			t.Errorf("event %d is of %v, not of %v", i, event.Time, wanted)
		}
		if i > 0 && event.ID >= listed[i-1].ID {
			t.Errorf("the id %s is not before %s", event.ID, listed[i-1].ID)
		}
	}
}

func eventsPicked(t *testing.T, s *Storage) {
	actors, users, kinds := []string{newID(), "operator"}, []string{newID(), newID()}, []EventKind{Login, Logout}
	for _, actor := range actors {
		for _, user := range users {
			for _, kind := range kinds {
				if err := s.RecordFailure(audit.WithActor(t.Context(), actor), kind, user, "", actTime); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, actor := range append(actors, "", newID()) {
		for _, user := range append(users, "", newID()) {
			for _, kind := range append(kinds, "", UserDeleted) {
				filter := EventFilter{UserID: user, Actor: actor, Kind: kind}
				wanted := matches(actors, actor) * matches(users, user) * matches(kinds, kind)
				got := listEvents(t, s, filter)
				for _, event := range got {
					if (actor != "" && event.Actor != actor) || (user != "" && event.UserID != user) || (kind != "" && event.Kind != kind) {
						t.Errorf("%+v picks %+v", filter, event)
					}
				}
				if len(got) != wanted {
					t.Errorf("%+v picks %d events, not %d", filter, len(got), wanted)
				}
			}
		}
	}
}

// matches counts those whom a filter picks.
func matches[T comparable](all []T, picked T) int {
	var zero T
	switch {
	case picked == zero:
		return len(all)
	case slices.Contains(all, picked):
		return 1
	default:
		return 0
	}
}

func eventsByTime(t *testing.T, s *Storage) {
	var times []time.Time
	for i := range 2001 { // Every microsecond around the turn of a millisecond: each is told from the next.
		if i%97 == 0 || i < 3 || i > 1997 || (i > 995 && i < 1005) {
			times = append(times, actTime.Truncate(time.Second).Add(time.Duration(i)*time.Microsecond))
		}
	}
	times = append(times, time.Unix(0, 0).UTC(), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	addEvents(t, s, times...)
	for i, at := range times {
		next := at.Add(time.Microsecond)
		for _, bounds := range [][2]time.Time{{at, next}, {at.Add(999 * time.Nanosecond), next.Add(999 * time.Nanosecond)}} {
			got := listEvents(t, s, EventFilter{From: &bounds[0], Until: &bounds[1]})
			if len(got) != 1 || got[0].Time != at {
				t.Errorf("at time %d, %v, there are %+v", i, at, got)
			}
		}
		if got := listEvents(t, s, EventFilter{From: &at, Until: &at}); len(got) != 0 {
			t.Errorf("in no time there are %+v", got)
		}
		from, until := listEvents(t, s, EventFilter{From: &at}), listEvents(t, s, EventFilter{Until: &at})
		if len(from)+len(until) != len(times) {
			t.Errorf("%d events are of %v and later, %d are older", len(from), at, len(until))
		}
	}
}

func eventsDeleted(t *testing.T, s *Storage) {
	var times []time.Time
	for i := range 6 {
		times = append(times, actTime.Add(time.Duration(i)*time.Microsecond))
	}
	addEvents(t, s, times...)
	for _, step := range []struct{ deleted, left int64 }{{2, 4}, {1, 3}, {0, 3}} { // The fourth is not older than itself.
		deleted, err := s.DeleteEvents(t.Context(), times[3].Add(time.Nanosecond), 2)
		if err != nil || deleted != step.deleted {
			t.Errorf("deleted %d, %v, want %d", deleted, err, step.deleted)
		}
		left := listEvents(t, s, EventFilter{})
		for i, event := range left { // The oldest first.
			if event.Time != times[len(times)-1-i] {
				t.Errorf("event %d is of %v", i, event.Time)
			}
		}
		if int64(len(left)) != step.left {
			t.Errorf("%d events are left, not %d", len(left), step.left)
		}
	}
}

// eventsStay does everything that can be done, and looks after each whether the previous events are unchanged.
func eventsStay(t *testing.T, s *Storage) {
	user := addAdmin(t, s, "ada@example.com")
	addAdmin(t, s, "root@example.com")
	session := addSession(t, s, user)
	if err := s.CreateSigningKey(t.Context(), newSigningKey(1)); err != nil {
		t.Fatal(err)
	}
	far := time.Now().Add(1000 * time.Hour)
	for name, do := range map[string]func() error{
		"DeleteExpiredSessions": func() error { _, err := s.DeleteExpiredSessions(t.Context(), far, 1000); return err },
		"DeleteSignUps":         func() error { _, err := s.DeleteSignUps(t.Context(), far, 1000); return err },
		"DeleteSigningKey":      func() error { _, err := s.DeleteSigningKey(t.Context(), newID()); return err },
		"EndSession":            func() error { return s.EndSession(t.Context(), user.ID, session.ID, actTime) },
		"ChangeUser":            func() error { return change(s, user, func(c *UserChange) { c.Delete = true })(t.Context()) },
	} {
		before := listEvents(t, s, EventFilter{})
		if err := do(); err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		after := listEvents(t, s, EventFilter{})
		for _, event := range before {
			if !slices.ContainsFunc(after, func(other Event) bool { return reflect.DeepEqual(other, event) }) {
				t.Errorf("%s removed or changed %+v", name, event)
			}
		}
	}
	if users := count(t, s, "users WHERE id = ?", user.ID); users != 0 {
		t.Errorf("the user whom the events are about is there")
	}
}

func TestEvents(t *testing.T) {
	t.Run("sqlite_rejects_changes", testEventsSqliteRejectsChanges)
	t.Run("ids_are_UUIDs_of_their_time", testEventsIDsAreUUIDsOfTheirTime)
	t.Run("an_act_that_changes_nothing_has_none", testEventsAnActThatChangesNothingHasNone)
}

// testEventsSqliteRejectsChanges: neither updates nor deletions.
func testEventsSqliteRejectsChanges(t *testing.T) {
	s := openNew(t, newSQLite(t))
	addUser(t, s, "ada@example.com")
	before := listEvents(t, s, EventFilter{})
	_, err := s.pool.ExecContext(t.Context(), "UPDATE audit_events SET actor = 'somebody else'")
	if err == nil || !strings.Contains(err.Error(), "never changed") {
		t.Errorf("error is %v", err)
	}
	if after := listEvents(t, s, EventFilter{}); !reflect.DeepEqual(before, after) || len(after) != 1 {
		t.Errorf("the events are %+v, and were %+v", after, before)
	}
}

func testEventsIDsAreUUIDsOfTheirTime(t *testing.T) {
	last := ""
	for i := range 5000 {
		at := actTime.Add(time.Duration(i) * time.Microsecond)
		id := eventID(at)
		if id <= last || id < firstEventID(at) || id >= firstEventID(at.Add(time.Microsecond)) || id[14] != '7' || strings.IndexByte("89ab", id[19]) < 0 {
			t.Fatalf("the id %s of %v comes after %s", id, at, last)
		}
		last = id
	}
	if id := eventID(time.Time{}); id >= firstEventID(time.UnixMilli(1)) {
		t.Errorf("a time before 1970 has the id %s", id)
	}
}

func testEventsAnActThatChangesNothingHasNone(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		admin := addAdmin(t, s, "root@example.com")
		user := addUser(t, s, "ada@example.com")
		session, ended := addSession(t, s, user), addSession(t, s, user)
		if err := s.EndSession(t.Context(), user.ID, ended.ID, actTime); err != nil {
			t.Fatal(err)
		}
		refusal := errors.New("refused")
		nothings := map[string]func() error{
			"ended before": func() error { return s.EndSession(t.Context(), user.ID, ended.ID, actTime) },
			"a refresh": func() error {
				_, err := s.ChangeSession(t.Context(), session.ID, func(current account.UserSession) (account.Session, error) {
					current.Session.Lineage.Current++
					return current.Session, nil
				})
				return err
			},
			"no change": func() error { return change(s, user, func(*UserChange) {})(t.Context()) },
			"the same state": func() error {
				return change(s, user, func(c *UserChange) { c.User.State = account.Active })(t.Context())
			},
			"nothing that a change is about": func() error {
				return change(s, user, func(c *UserChange) { c.User.Email, c.User.Version = "other@example.com", 9 })(t.Context())
			},
			"a new hash": func() error { return s.Rehash(t.Context(), user.ID, hash, hash+"2") },
			"refused by the caller": func() error {
				_, err := s.ChangeUser(t.Context(), user.ID, actTime, func(before account.User) (UserChange, error) {
					return deleted(before), refusal
				})
				return swallow(t, err, refusal)
			},
			"the last admin": func() error { _, err := changeUser(t, s, admin.ID, deleted); return swallow(t, err, ErrLastAdmin) },
			"nobody":         func() error { _, err := changeUser(t, s, newID(), deleted); return swallow(t, err, ErrNotFound) },
			"address taken": func() error {
				return swallow(t, s.CreateUser(t.Context(), newUser("ADA@example.com"), hash), ErrEmailTaken)
			},
			"generation past": func() error {
				return swallow(t, s.CreateSession(t.Context(), newSession(newUser("x"))), ErrStaleGeneration)
			},
			"another password": func() error {
				_, err := s.ChangePassword(t.Context(), user.ID, "x", "y", Replacement{session.ID, newSession(user)}, actTime)
				return swallow(t, err, ErrNotFound)
			},
			"spared and ended": func() error {
				_, err := s.EndAllSessions(t.Context(), user.ID, Replacement{ended.ID, newSession(user)}, actTime)
				return swallow(t, err, ErrSessionEnded)
			},
			"no such key": func() error { return swallow(t, s.RevokeSigningKey(t.Context(), newID(), nil), ErrNotFound) },
		}
		for _, name := range slices.Sorted(maps.Keys(nothings)) {
			before := listEvents(t, s, EventFilter{})
			if err := nothings[name](); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if events := newEvents(t, s, before); len(events) > 0 {
				t.Errorf("%s: there are the events %+v", name, events)
			}
		}
		if got, err := s.ReadUser(t.Context(), user.ID); err != nil || got != user {
			t.Errorf("the user is %+v, %v\nwas %+v", got, err, user)
		}
	})
}

// swallow returns nil for the error that is wanted.
func swallow(t *testing.T, err, wanted error) error {
	t.Helper()
	if errors.Is(err, wanted) {
		return nil
	}
	return fmt.Errorf("error is %w, want %w", err, wanted)
}
