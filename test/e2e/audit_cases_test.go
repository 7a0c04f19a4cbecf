package e2e

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

func listsEvents(name, caller string, change func(*fixtures, *gatehousev1.ListAuditEventsRequest)) corpusCase {
	return administers("audit events, "+name, "ListAuditEvents", caller, func(r *fixtures) proto.Message {
		request := &gatehousev1.ListAuditEventsRequest{PageSize: 100}
		change(r, request)
		return request
	})
}

func everyEvent(*fixtures, *gatehousev1.ListAuditEventsRequest) {}

// events requires at least one event, and of each that it is as asked for.
func events(fits func(*fixtures, *gatehousev1.AuditEvent) bool) func(*testing.T, *fixtures, proto.Message) {
	return func(t *testing.T, r *fixtures, message proto.Message) {
		page := message.(*gatehousev1.ListAuditEventsResponse)
		if len(page.GetAuditEvents()) == 0 {
			t.Error("there is no event")
		}
		for i, event := range page.GetAuditEvents() {
			if !fits(r, event) {
				t.Errorf("there is the event %v", event)
			}
			if i > 0 && event.GetEventTime().AsTime().After(page.GetAuditEvents()[i-1].GetEventTime().AsTime()) {
				t.Errorf("event %d is newer than the one before", i)
			}
		}
	}
}

func eventPage(r *fixtures) string {
	page, err := gatehousev1.NewAdminServiceClient(r.env.conn).ListAuditEvents(
		withTokens(callContext(r.t), callsAs(r.root)), &gatehousev1.ListAuditEventsRequest{PageSize: 1})
	if err != nil {
		r.t.Fatal(err)
	}
	return page.GetNextPageToken()
}

func noEvents(t *testing.T, _ *fixtures, message proto.Message) {
	if page := message.(*gatehousev1.ListAuditEventsResponse); len(page.GetAuditEvents()) > 0 {
		t.Errorf("there are %v", page)
	}
}

var auditCases = []corpusCase{
	ok(checked(listsEvents("of a user", "root", func(r *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.UserId = strings.ToUpper(r.ada.GetId())
	}), events(func(r *fixtures, event *gatehousev1.AuditEvent) bool { return event.GetUserId() == r.ada.GetId() }))),
	ok(checked(listsEvents("by an operator", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.Actor = "operator"
	}), events(func(_ *fixtures, event *gatehousev1.AuditEvent) bool { return event.GetActor() == "operator" }))),
	ok(checked(listsEvents("log-ins that failed and did not", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.Kind = gatehousev1.AuditEventKind_AUDIT_EVENT_KIND_LOGIN
	}), events(func(_ *fixtures, event *gatehousev1.AuditEvent) bool {
		failed := event.GetOutcome() == gatehousev1.AuditOutcome_AUDIT_OUTCOME_FAILURE
		return event.GetKind() == gatehousev1.AuditEventKind_AUDIT_EVENT_KIND_LOGIN && failed == (event.GetReason() != "") &&
			event.GetRequestId() != "" && event.GetClientAddress() == "127.0.0.1"
	}))),
	ok(checked(listsEvents("of the last hour", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.StartTime = timestamppb.New(time.Now().Add(-time.Hour))
		request.EndTime = timestamppb.New(time.Now().Add(time.Hour))
	}), events(func(*fixtures, *gatehousev1.AuditEvent) bool { return true }))),
	ok(checked(listsEvents("of tomorrow", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.StartTime = timestamppb.New(time.Now().Add(24 * time.Hour))
	}), noEvents)),
	// A time that is given is a bound, though it is zero, in Go or in protobuf.
	ok(checked(listsEvents("until before the year 1", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.EndTime = timestamppb.New(time.Time{})
	}), noEvents)),
	ok(checked(listsEvents("until before 1970", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.EndTime = &timestamppb.Timestamp{}
	}), noEvents)),
	ok(checked(listsEvents("of the year 1 and later", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.StartTime = timestamppb.New(time.Time{})
	}), events(func(*fixtures, *gatehousev1.AuditEvent) bool { return true }))),
	ok(listsEvents("the second page", "root", func(r *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.PageSize, request.PageToken = 1, eventPage(r)
	})),
	noPageToken(listsEvents("a page token of other filters", "root", func(r *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.PageToken, request.Actor = eventPage(r), "system"
	})),
	noPageToken(listsEvents("a page token of the users", "root", func(r *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.PageToken = secondPage(r)
	})),
	invalid(listsEvents("an actor that cannot be", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.Actor = "root"
	}), "actor ACTOR"),
	invalid(listsEvents("a user id that is no UUID", "root", func(_ *fixtures, request *gatehousev1.ListAuditEventsRequest) {
		request.UserId = "me"
	}), "user_id UUID"),
	roleRequired(listsEvents("by a user", "ada", everyEvent)),
	unauthenticated(listsEvents("without a token", "nobody", everyEvent), "ACCESS_TOKEN_MISSING"),
}
