package storage

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

// query is something that is asked often, or of large tables, and the indexes by which the database may find it: the
// primary key is "PRIMARY".
type query struct {
	name    string
	ask     func(context.Context, *Storage) error
	indexes []string
}

// queries are asked of a database as fill leaves it.
func queries() []query {
	all := []query{
		{"ReadUser", func(ctx context.Context, s *Storage) error {
			_, err := s.ReadUser(ctx, filledID(7))
			return err
		}, []string{"PRIMARY"}},
		{"ReadCredential", func(ctx context.Context, s *Storage) error {
			_, err := s.ReadCredential(ctx, "user00007@example.com")
			return err
		}, []string{"users_canonical_email", "PRIMARY"}},
		{"ReadCredentialOf", func(ctx context.Context, s *Storage) error {
			_, err := s.ReadCredentialOf(ctx, filledID(7))
			return err
		}, []string{"PRIMARY"}},
		{"SamplePasswordHashes", func(ctx context.Context, s *Storage) error {
			_, err := s.SamplePasswordHashes(ctx)
			return err
		}, []string{"users_canonical_email", "PRIMARY"}},
		{"ReadAccount", func(ctx context.Context, s *Storage) error {
			_, err := s.ReadSession(ctx, filledID(7))
			return err
		}, []string{"PRIMARY"}},
		{"ReadSignUp", func(ctx context.Context, s *Storage) error {
			_, err := s.ReadSignUp(ctx, digestOf(7), time.Unix(0, 0))
			return err
		}, []string{"PRIMARY"}},
		{"ConfirmSignUp", func(ctx context.Context, s *Storage) error {
			signUp, err := s.ReadSignUp(ctx, digestOf(7), time.Unix(0, 0))
			if err != nil {
				return err
			}
			return s.ConfirmSignUp(ctx, signUp)
		}, []string{"PRIMARY"}},
		{"VoidSignUp", func(ctx context.Context, s *Storage) error {
			return s.VoidSignUp(ctx, SignUp{RequestID: digestOf(8)}, "REQUEST_ID_REUSED", actTime)
		}, []string{"PRIMARY"}},
		{"ListSessions", func(ctx context.Context, s *Storage) error {
			_, err := s.ListSessions(ctx, filledID(7), actTime, "", 20)
			return err
		}, []string{"sessions_user_id", "PRIMARY"}},
		{"ListSessions, the second page", func(ctx context.Context, s *Storage) error {
			_, err := s.ListSessions(ctx, filledID(7), actTime, filledID(filledUsers), 20)
			return err
		}, []string{"sessions_user_id", "PRIMARY"}},
		{"CreateSession", func(ctx context.Context, s *Storage) error {
			session := newSessionWithID(newID())
			session.UserID = filledID(7)
			return s.CreateSession(ctx, session)
		}, []string{"PRIMARY", "sessions_user_id"}},
		{"RepeatToken", func(ctx context.Context, s *Storage) error {
			_, err := s.RepeatToken(ctx, newSessionWithID(filledID(7)), actTime)
			return err
		}, []string{"PRIMARY"}},
		{"RefuseToken", func(ctx context.Context, s *Storage) error {
			return s.RefuseToken(ctx, newSessionWithID(filledID(7)), "REFRESH_TOKEN_INVALID", actTime)
		}, []string{"PRIMARY"}},
		{"EndAllSessions", func(ctx context.Context, s *Storage) error {
			_, err := s.EndAllSessions(ctx, filledID(7), Replacement{Old: filledID(7), New: newSessionWithID(newID())}, actTime)
			return err
		}, []string{"PRIMARY", "sessions_user_id"}},
		{"RecordFailure", func(ctx context.Context, s *Storage) error {
			return s.RecordFailure(ctx, Login, filledID(7), "INVALID_CREDENTIALS", actTime)
		}, []string{"audit_events_failure_key"}},
		{"ChangeUser of oneself", func(ctx context.Context, s *Storage) error {
			s.LimitOwnChanges(1000)
			defer s.LimitOwnChanges(0)
			ctx = audit.WithActor(ctx, filledID(8))
			_, err := s.ChangeUser(ctx, filledID(8), actTime.Add(filledUsers*time.Second), func(before account.User) (UserChange, error) {
				before.FullName = "Ada King"
				return UserChange{User: before}, nil
			})
			return err
		}, []string{"PRIMARY", "audit_events_actor"}},
		{"ChangeUser of an admin", func(ctx context.Context, s *Storage) error {
			_, err := s.ChangeUser(ctx, filledID(100), actTime, func(before account.User) (UserChange, error) { return demoted(before), nil })
			return err
		}, []string{"PRIMARY", "users_admin", "users_state"}},
		{"ChangeUser that deletes", func(ctx context.Context, s *Storage) error {
			_, err := s.ChangeUser(ctx, filledID(9), actTime, func(before account.User) (UserChange, error) { return deleted(before), nil })
			return err
		}, []string{"PRIMARY", "sessions_user_id", "sign_up_requests_user_id"}},
	}
	return slices.Concat(all, userLists(), eventLists(), feedQueries(), deletions())
}

// feedQueries are asked many times a second. Those who write changes wait for none of them.
func feedQueries() []query {
	return []query{
		{"readOldestChange", func(ctx context.Context, s *Storage) error {
			_, _, err := s.readOldestChange(ctx)
			return err
		}, []string{"PRIMARY"}},
		{"SequenceChanges", func(ctx context.Context, s *Storage) error {
			_, err := s.SequenceChanges(ctx, 500)
			return err
		}, []string{"PRIMARY"}},
		{"ListChanges", func(ctx context.Context, s *Storage) error {
			_, err := s.ListChanges(ctx, 7, 501)
			return err
		}, []string{"PRIMARY"}},
		{"ListChanges, the last ones", func(ctx context.Context, s *Storage) error {
			_, err := s.ListChanges(ctx, filledUsers-3, 501)
			return err
		}, []string{"PRIMARY"}},
	}
}

// deletions are those of what is old: of a few, and of most, which would be read as well without an index.
func deletions() []query {
	var all []query
	for _, until := range []time.Duration{2 * time.Second, filledUsers * time.Second} {
		before := actTime.Add(until)
		all = append(all,
			query{fmt.Sprint("DeleteExpiredSessions of ", until), func(ctx context.Context, s *Storage) error {
				_, err := s.DeleteExpiredSessions(ctx, before.Add(time.Hour), 3)
				return err
			}, []string{"sessions_expire_time", "PRIMARY"}},
			query{fmt.Sprint("DeleteSignUps of ", until), func(ctx context.Context, s *Storage) error {
				_, err := s.DeleteSignUps(ctx, before, 3)
				return err
			}, []string{"sign_up_requests_create_time", "PRIMARY"}},
			query{fmt.Sprint("DeleteChanges of ", until), func(ctx context.Context, s *Storage) error {
				_, err := s.DeleteChanges(ctx, before, 3)
				return err
			}, []string{"feed_sequence_time", "PRIMARY"}},
			query{fmt.Sprint("DeleteEvents of ", until), func(ctx context.Context, s *Storage) error {
				_, err := s.DeleteEvents(ctx, before, 3)
				return err
			}, []string{"PRIMARY"}})
	}
	return all
}

// userLists are lists of users by every combination of filters.
func userLists() []query {
	var all []query
	for _, after := range []string{"", "user02000@example.com"} {
		for _, prefix := range []string{"", "user", "user03"} {
			for _, state := range []account.UserState{"", account.Active, account.Disabled} {
				for _, admins := range []bool{false, true} {
					filter := UserFilter{After: after, EmailPrefix: prefix, State: state, Admins: admins}
					all = append(all, query{fmt.Sprintf("ListUsers %+v", filter), func(ctx context.Context, s *Storage) error {
						_, err := s.ListUsers(ctx, filter, 20)
						return err
					}, userIndexes(filter)})
				}
			}
		}
	}
	return all
}

// userIndexes are those in whose order the list is. Where all that is read is given, there is one.
func userIndexes(filter UserFilter) []string {
	switch {
	case filter.Admins && filter.State == account.Disabled:
		return []string{"users_admin", "users_state"}
	case filter.Admins:
		return []string{"users_admin"}
	case filter.State == account.Disabled:
		return []string{"users_state"}
	case filter.State == account.Active: // Nearly all are.
		return []string{"users_state", "users_canonical_email"}
	default:
		return []string{"users_canonical_email"}
	}
}

// eventLists are lists of events by every combination of filters.
func eventLists() []query {
	var all []query
	later := actTime.Add(time.Hour)
	for _, user := range []string{"", filledID(7)} {
		for _, actor := range []string{"", filledID(7)} {
			for _, kind := range []EventKind{"", Login, UserDeleted} {
				for _, bounds := range [][2]*time.Time{{}, {&actTime, nil}, {nil, &later}, {&actTime, &later}} {
					for _, before := range []string{"", eventID(actTime.Add(time.Minute))} {
						filter := EventFilter{UserID: user, Actor: actor, Kind: kind, From: bounds[0], Until: bounds[1], Before: before}
						name := fmt.Sprintf("ListEvents user=%q actor=%q kind=%q from=%t until=%t before=%q",
							user, actor, kind, bounds[0] != nil, bounds[1] != nil, before)
						all = append(all, query{name, func(ctx context.Context, s *Storage) error {
							_, err := s.ListEvents(ctx, filter, 20)
							return err
						}, eventIndexes(filter)})
					}
				}
			}
		}
	}
	return all
}

func eventIndexes(filter EventFilter) []string {
	switch {
	case filter.UserID != "":
		return []string{"audit_events_user_id"}
	case filter.Actor != "":
		return []string{"audit_events_actor"}
	case filter.Kind == Login && filter.Before != "": // Most are: MariaDB reads the few events of that time.
		return []string{"audit_events_kind", "PRIMARY"}
	case filter.Kind != "":
		return []string{"audit_events_kind"}
	default:
		return []string{"PRIMARY"}
	}
}

const filledUsers = 4000

func filledID(i int) string { return fmt.Sprintf("01970e2c-6f3a-7c41-9d1b-%012d", i) }

func newSessionWithID(id string) account.Session {
	session := newSession(newUser("ada@example.com"))
	session.ID = id
	return session
}

func digestOf(i int) []byte { return fmt.Appendf(nil, "%032d", i) }

// fill writes some thousand rows into each table: each hundredth user is disabled, each hundredth another one an admin;
// some events are by others than they are about, most are log-ins, and a few are of deletions.
func fill(t *testing.T, s *Storage) {
	t.Helper()
	var users []userRow
	var credentials []credentialRow
	var sessions []sessionRow
	var events []eventRow
	var signUps []signUpRow
	var changes []changeRow
	var feed []Change
	for i := range filledUsers {
		at := actTime.Add(time.Duration(i) * time.Second)
		user := newUser(fmt.Sprintf("user%05d@example.com", i))
		user.ID, user.Admin, user.CreateTime, user.UpdateTime = filledID(i), i%100 == 0, at, at
		if i%100 == 1 {
			user.State = account.Disabled
		}
		users = append(users, userRowOf(user))
		credentials = append(credentials, credentialRow{user.ID, hash})
		session := newSession(user)
		session.ID = user.ID
		sessions = append(sessions, sessionRowOf(session))
		kind := Login
		switch {
		case i%1000 == 5:
			kind = UserDeleted
		case i%10 == 0:
			kind = UserCreated
		}
		origin := audit.Origin{Actor: filledID(i % 50)}
		events = append(events, eventRow{
			ID: eventID(at), EventTime: at, Kind: string(kind), Actor: origin.Actor, UserID: filledID(i % 200),
		})
		changes = append(changes, changeRow{UserID: user.ID, Version: 2, CreateTime: at})
		feed = append(feed, Change{int64(i + 1), user.ID, "", 2, false, at})
		signUps = append(signUps, signUpRow{digestOf(i), digestOf(i), user.ID, "", at})
	}
	for range 40 { // Somebody has many.
		session := newSession(users[7].user())
		sessions = append(sessions, sessionRowOf(session))
	}
	for _, rows := range []any{users, credentials, sessions, events, signUps, changes, feed} {
		if err := s.db.WithContext(t.Context()).CreateInBatches(rows, 500).Error; err != nil {
			t.Fatal(err)
		}
	}
	exec(t, s, "UPDATE feed_head SET sequence = ?", filledUsers)
	for i := range filledUsers {
		exec(t, s, "UPDATE feed SET sequence_time = ? WHERE sequence = ?", toMicros(actTime.Add(time.Duration(i)*time.Second)), i+1)
	}
	if s.writer == nil {
		for _, table := range append(slices.Clone(tables), "feed") {
			exec(t, s, "ANALYZE TABLE "+table)
		}
	}
}

// statement is one that gorm has made.
type statement struct {
	text   string
	values []any
}

// record stores the statements of gorm.
func record(t *testing.T, s *Storage) *[]statement {
	t.Helper()
	var statements []statement
	keep := func(db *gorm.DB) {
		statements = append(statements, statement{db.Statement.SQL.String(), slices.Clone(db.Statement.Vars)})
	}
	callbacks := s.db.Callback()
	for _, err := range []error{
		callbacks.Query().After("gorm:query").Register("record", keep),
		callbacks.Row().After("gorm:row").Register("record", keep),
		callbacks.Raw().After("gorm:raw").Register("record", keep),
		callbacks.Update().After("gorm:update").Register("record", keep),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return &statements
}

func TestQueryPlans(t *testing.T) {
	t.Run("no_query_scans_a_table", testQueryPlansNoQueryScansATable)
}

// testQueryPlansNoQueryScansATable explains every statement that the queries make, on tables of some thousand rows.
func testQueryPlansNoQueryScansATable(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		fill(t, s)
		statements := record(t, s)
		for _, query := range queries() {
			*statements = nil
			if err := query.ask(t.Context(), s); err != nil {
				t.Errorf("%s: %v", query.name, err)
			}
			if len(*statements) == 0 {
				t.Errorf("%s: it asked nothing", query.name)
			}
			for _, statement := range *statements {
				if strings.HasPrefix(statement.text, "INSERT") || strings.Contains(statement.text, "guards") || strings.Contains(statement.text, "feed_head") {
					continue
				}
				wantIndex(t, s, query, statement)
			}
		}
	})
}

func wantIndex(t *testing.T, s *Storage, query query, statement statement) {
	t.Helper()
	explain, steps := "EXPLAIN QUERY PLAN ", sqliteSteps
	if s.writer == nil {
		explain, steps = "EXPLAIN ", mysqlSteps
	}
	rows, err := s.pool.QueryContext(t.Context(), explain+statement.text, statement.values...)
	if err != nil {
		t.Fatalf("%s: %s: %v", query.name, statement.text, err)
	}
	defer rows.Close()
	for _, step := range steps(t, rows) {
		if step.fault != "" || !slices.Contains(query.indexes, step.index) {
			t.Errorf("%s\n%s %v\nby %q, want %v: %s\n%s", query.name, statement.text, statement.values, step.index,
				query.indexes, step.fault, step.text)
		}
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}

// planStep is how a database reads one table.
type planStep struct {
	index string
	fault string // why that is bad, or ""
	text  string
}

var (
	sqliteRow    = regexp.MustCompile(`^SEARCH \S+ USING INTEGER PRIMARY KEY `)
	sqliteSearch = regexp.MustCompile(`^SEARCH \S+ USING (?:COVERING )?INDEX (\S+) `)
	sqliteOwn    = regexp.MustCompile(`^sqlite_autoindex_\w+_1$`)
)

// sqliteSteps reads what EXPLAIN QUERY PLAN gives: https://www.sqlite.org/eqp.html.
func sqliteSteps(t *testing.T, rows *sql.Rows) []planStep {
	t.Helper()
	var steps []planStep
	for rows.Next() {
		var id, parent, unused int
		var text string
		if err := rows.Scan(&id, &parent, &unused, &text); err != nil {
			t.Fatal(err)
		}
		found := sqliteSearch.FindStringSubmatch(text)
		switch {
		case sqliteRow.MatchString(text), found != nil && sqliteOwn.MatchString(found[1]):
			steps = append(steps, planStep{index: "PRIMARY", text: text})
		case found != nil:
			steps = append(steps, planStep{index: found[1], text: text})
		case strings.HasPrefix(text, "SCAN"), strings.Contains(text, "TEMP B-TREE"), strings.HasPrefix(text, "SEARCH"):
			steps = append(steps, planStep{fault: "a scan, or a sort", text: text})
		}
	}
	return steps
}

// mysqlSteps reads what EXPLAIN gives: https://mariadb.com/kb/en/explain.
func mysqlSteps(t *testing.T, rows *sql.Rows) []planStep {
	t.Helper()
	var steps []planStep
	for rows.Next() {
		var id, rowCount sql.NullInt64
		var kind, table, access, possible, key, length, ref, extra sql.NullString
		if err := rows.Scan(&id, &kind, &table, &access, &possible, &key, &length, &ref, &rowCount, &extra); err != nil {
			t.Fatal(err)
		}
		step := planStep{index: key.String, text: fmt.Sprintf("%s %s %s by %s (%s) of %s, %d rows: %s", kind.String,
			table.String, access.String, key.String, length.String, possible.String, rowCount.Int64, extra.String)}
		switch {
		case !table.Valid, strings.HasPrefix(table.String, "<"): // Nothing to read, or what was just picked.
			continue
		case access.String == "ALL", access.String == "index", strings.HasPrefix(access.String, "index_merge"):
			step.fault = "a scan"
		case strings.Contains(extra.String, "filesort"), strings.Contains(extra.String, "temporary"):
			step.fault = "a sort"
		}
		steps = append(steps, step)
	}
	return steps
}
