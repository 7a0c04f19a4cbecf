package transfer

import (
	"context"
	"io"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// eventRecord is an audit event as a line of JSON, with the names of REST.
type eventRecord struct {
	ID            string            `json:"id"`
	EventTime     string            `json:"eventTime"`
	Kind          string            `json:"kind"`
	Outcome       string            `json:"outcome"`
	Reason        string            `json:"reason,omitempty"`
	Actor         string            `json:"actor,omitempty"`
	UserID        string            `json:"userId,omitempty"`
	SessionID     string            `json:"sessionId,omitempty"`
	ClientAddress string            `json:"clientAddress,omitempty"`
	UserAgent     string            `json:"userAgent,omitempty"`
	RequestID     string            `json:"requestId,omitempty"`
	Details       map[string]string `json:"details,omitempty"`
	Count         int64             `json:"count"`
	LastTime      string            `json:"lastTime"`
}

func newEventRecord(event storage.Event) eventRecord {
	record := eventRecord{
		ID: event.ID, EventTime: event.Time.UTC().Format(recordTime), Kind: string(event.Kind), Outcome: "SUCCESS",
		Reason: event.Reason, Actor: event.Actor, UserID: event.UserID, SessionID: event.SessionID,
		ClientAddress: event.ClientAddress, UserAgent: event.UserAgent, RequestID: event.RequestID, Details: event.Details,
		Count: 1 + event.Repeats, LastTime: event.Last().UTC().Format(recordTime),
	}
	if event.Reason != "" {
		record.Outcome = "FAILURE"
	}
	return record
}

// ExportAuditEvents writes the audit events of a time, from inclusive to exclusive, as lines of JSON, the newest first,
// and returns how many there are. A nil bound does not apply.
func ExportAuditEvents(
	ctx context.Context, db *storage.Storage, from, until *time.Time, to io.Writer,
) (events int, err error) {
	return exportLines(to, func(last *storage.Event) ([]storage.Event, error) {
		filter := storage.EventFilter{From: from, Until: until}
		if last != nil {
			filter.Before = last.ID
		}
		return db.ListEvents(ctx, filter, exportPage)
	}, func(event storage.Event) any { return newEventRecord(event) })
}
