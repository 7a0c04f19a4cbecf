package storage

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

// EventKind is what was done, as the contract's AuditEventKind names it.
type EventKind string

// The kinds of audit events.
const (
	UserCreated       EventKind = "USER_CREATED"
	UserImported      EventKind = "USER_IMPORTED"
	UserUpdated       EventKind = "USER_UPDATED"
	UserDisabled      EventKind = "USER_DISABLED"
	UserEnabled       EventKind = "USER_ENABLED"
	UserDeleted       EventKind = "USER_DELETED"
	RolesSet          EventKind = "ROLES_SET"
	Login             EventKind = "LOGIN"
	Logout            EventKind = "LOGOUT"
	LogoutEverywhere  EventKind = "LOGOUT_EVERYWHERE"
	RefreshReused     EventKind = "REFRESH_TOKEN_REUSED"
	RefreshRepeated   EventKind = "REFRESH_TOKEN_REPEATED"
	PasswordChanged   EventKind = "PASSWORD_CHANGED"
	PasswordReset     EventKind = "PASSWORD_RESET"
	SigningKeyRotated EventKind = "KEY_ROTATED"
	SigningKeyRevoked EventKind = "KEY_REVOKED"
)

// Event is an action that was done, or refused, perhaps repeatedly.
type Event struct {
	audit.Origin

	ID      string    // a UUIDv7 of Time; set when the event is appended
	Time    time.Time // UTC with microseconds
	Kind    EventKind
	Reason  string            // why it was refused; "" if it was done
	UserID  string            // whose account, session or password it is, or ""
	Details map[string]string // by the kind; together at most 1,024 bytes as JSON

	Repeats  int64     // how often the action was refused for the same reason after Time
	LastTime time.Time // of the last of these; zero if there is none
}

// Last returns the time of the last action that the event counts.
func (e Event) Last() time.Time {
	if e.LastTime.After(e.Time) {
		return e.LastTime
	}
	return e.Time
}

type eventRow struct {
	ID            string `gorm:"primaryKey"`
	EventTime     time.Time
	Kind          string
	Reason        string
	Actor         string
	UserID        string
	SessionID     string
	ClientAddress string
	UserAgent     string
	RequestID     string
	Details       string
	FailureKey    []byte // nil except for a failure
	Repeats       int64
	LastTime      *time.Time
}

func (eventRow) TableName() string { return "audit_events" }

func (r eventRow) event() (Event, error) {
	event := Event{
		Origin: audit.Origin{
			Actor: r.Actor, SessionID: r.SessionID, ClientAddress: r.ClientAddress, UserAgent: r.UserAgent,
			RequestID: r.RequestID,
		},
		ID: r.ID, Time: r.EventTime, Kind: EventKind(r.Kind), Reason: r.Reason, UserID: r.UserID,
		Repeats: r.Repeats,
	}
	if r.LastTime != nil {
		event.LastTime = *r.LastTime
	}
	if r.Details == "" {
		return event, nil
	}
	return event, json.Unmarshal([]byte(r.Details), &event.Details)
}

// appendEvent writes an event with the origin of ctx, in the transaction of the action. Only RecordFailure writes
// events elsewhere. Events are never changed otherwise.
func appendEvent(ctx context.Context, tx *gorm.DB, event Event) error {
	row, err := newEventRow(ctx, event)
	if err != nil {
		return err
	}
	return gorm.G[eventRow](tx).Create(ctx, &row)
}

func newEventRow(ctx context.Context, event Event) (eventRow, error) {
	origin := audit.OriginOf(ctx)
	row := eventRow{
		ID: eventID(event.Time), EventTime: toMicros(event.Time), Kind: string(event.Kind), Reason: event.Reason,
		Actor: origin.Actor, UserID: event.UserID, SessionID: origin.SessionID, ClientAddress: origin.ClientAddress,
		UserAgent: origin.UserAgent, RequestID: origin.RequestID,
	}
	if event.SessionID != "" {
		row.SessionID = event.SessionID
	}
	if len(event.Details) > 0 {
		details, err := json.Marshal(event.Details)
		if err != nil {
			return row, err
		}
		row.Details = string(details)
	}
	return row, nil
}

// EventFilter selects audit events. A field that is empty or nil selects all. The zero time is a time like any other.
type EventFilter struct {
	UserID string
	Actor  string
	Kind   EventKind
	From   *time.Time // inclusive
	Until  *time.Time // exclusive
	Before string     // only events older than the one of this id
}

// ListEvents returns events, newest first: at most limit.
func (s *Storage) ListEvents(ctx context.Context, filter EventFilter, limit int) ([]Event, error) {
	// By the ids, which begin with the time and are the last part of every index.
	query := gorm.G[eventRow](s.db).Where("id > ?", "")
	if filter.From != nil {
		query = query.Where("id >= ?", firstEventID(*filter.From))
	}
	if filter.Until != nil {
		query = query.Where("id < ?", firstEventID(*filter.Until))
	}
	if filter.Before != "" {
		query = query.Where("id < ?", filter.Before)
	}
	for i, condition := range filter.conditions() {
		query = query.Where(condition.text(i == 0), condition.value)
	}
	rows, err := query.Order("id DESC").Limit(limit).Find(ctx)
	if err != nil {
		return nil, s.wrap(ctx, "list audit events", err, nil)
	}
	events := make([]Event, 0, len(rows))
	for _, row := range rows {
		event, err := row.event()
		if err != nil {
			return nil, fmt.Errorf("read audit event %s: %w", row.ID, err)
		}
		events = append(events, event)
	}
	return events, nil
}

// eventCondition is that a column has a value.
type eventCondition struct{ column, value string }

// conditions returns the conditions of the filter. The first one selects the fewest events.
func (f EventFilter) conditions() []eventCondition {
	all := []eventCondition{{"user_id", f.UserID}, {"actor", f.Actor}, {"kind", string(f.Kind)}}
	return slices.DeleteFunc(all, func(condition eventCondition) bool { return condition.value == "" })
}

// text returns the condition as SQL. A condition that is not indexed must not be able to use an index: SQLite, which
// has no statistics, would use any, and MariaDB would intersect two and sort the result.
func (c eventCondition) text(indexed bool) string {
	if indexed {
		return c.column + " = ?"
	}
	return "COALESCE(" + c.column + ", '') = ?"
}

// DeleteEvents deletes the events before a time: at most limit. It returns how many.
func (s *Storage) DeleteEvents(ctx context.Context, before time.Time, limit int) (int64, error) {
	return s.deleteOldest(ctx, "audit_events", "id", "id", firstEventID(before), limit)
}

// eventID returns a UUIDv7 whose first part is the time to a quarter of a microsecond (RFC 9562, section 6.2, method
// 3), so that events are in the order of their times.
func eventID(at time.Time) string {
	id := uuidOfTime(at)
	_, _ = rand.Read(id[8:]) // It never fails.
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// firstEventID returns an id before every id of that time and after every id of earlier times.
func firstEventID(at time.Time) string {
	id := uuidOfTime(at)
	id[8] = 0x80
	return id.String()
}

func uuidOfTime(at time.Time) (id uuid.UUID) {
	at = toMicros(at)
	const parts = 1 << 12 // of a millisecond
	fraction := at.Nanosecond() / int(time.Microsecond) % 1000 * parts / 1000
	millis := max(at.UnixMilli(), 0)
	binary.BigEndian.PutUint64(id[:8], uint64(millis)<<16|7<<12|uint64(fraction)) //nolint:gosec // neither is negative
	return id
}
