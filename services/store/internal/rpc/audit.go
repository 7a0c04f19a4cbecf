package rpc

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// eventKindPrefix begins the contract's names of kinds, before those of storage.
const eventKindPrefix = "AUDIT_EVENT_KIND_"

// ListAuditEvents lists audit events, newest first.
func (s *adminService) ListAuditEvents(
	ctx context.Context, req *gatehousev1.ListAuditEventsRequest,
) (*gatehousev1.ListAuditEventsResponse, error) {
	filter, err := eventFilter(req)
	if err != nil {
		return nil, err
	}
	list := strings.Join([]string{
		"audit events", filter.UserID, filter.Actor, string(filter.Kind), boundText(filter.From), boundText(filter.Until),
	}, "\x00")
	if filter.Before, err = s.Pages.Read(list, req.GetPageToken()); err != nil {
		return nil, apierr.PageTokenInvalid(err)
	}
	size := pageSize(req.GetPageSize())
	events, err := s.Storage.ListEvents(ctx, filter, size+1) // One more: is there a next page?
	if err != nil {
		return nil, apiError(err)
	}
	response := &gatehousev1.ListAuditEventsResponse{}
	if len(events) > size {
		events = events[:size]
		response.NextPageToken = s.Pages.Make(list, events[size-1].ID)
	}
	for _, event := range events {
		response.AuditEvents = append(response.AuditEvents, eventResource(event))
	}
	return response, nil
}

func eventFilter(req *gatehousev1.ListAuditEventsRequest) (storage.EventFilter, error) {
	filter := storage.EventFilter{
		UserID: strings.ToLower(req.GetUserId()), Actor: strings.ToLower(req.GetActor()),
	}
	if req.GetKind() != gatehousev1.AuditEventKind_AUDIT_EVENT_KIND_UNSPECIFIED {
		filter.Kind = storage.EventKind(strings.TrimPrefix(req.GetKind().String(), eventKindPrefix))
	}
	for _, bound := range []struct {
		field string
		given *timestamppb.Timestamp
		into  **time.Time
	}{{"start_time", req.GetStartTime(), &filter.From}, {"end_time", req.GetEndTime(), &filter.Until}} {
		if bound.given == nil {
			continue
		}
		if err := bound.given.CheckValid(); err != nil {
			return filter, invalidFields(field.Violation{
				Field: bound.field, Reason: "TIMESTAMP", Description: "must be in the years 1 to 9999",
			})
		}
		at := bound.given.AsTime()
		*bound.into = &at
	}
	return filter, nil
}

// boundText returns a bound as a page token has it.
func boundText(bound *time.Time) string {
	if bound == nil {
		return ""
	}
	return bound.String()
}

func eventResource(event storage.Event) *gatehousev1.AuditEvent {
	resource := &gatehousev1.AuditEvent{
		Id: event.ID, EventTime: timestamppb.New(event.Time),
		Kind:    gatehousev1.AuditEventKind(gatehousev1.AuditEventKind_value[eventKindPrefix+string(event.Kind)]),
		Outcome: gatehousev1.AuditOutcome_AUDIT_OUTCOME_SUCCESS, Reason: event.Reason,
		Actor: event.Actor, UserId: event.UserID, SessionId: event.SessionID, ClientAddress: event.ClientAddress,
		UserAgent: event.UserAgent, RequestId: event.RequestID, Details: event.Details,
		Count: 1 + event.Repeats, LastTime: timestamppb.New(event.Last()),
	}
	if event.Reason != "" {
		resource.Outcome = gatehousev1.AuditOutcome_AUDIT_OUTCOME_FAILURE
	}
	return resource
}
