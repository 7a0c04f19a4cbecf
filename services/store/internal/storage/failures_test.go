package storage

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

// from is a context of a client at an address.
func from(ctx context.Context, address string) context.Context {
	return callctx.WithClient(ctx, callctx.NewClient(netip.MustParseAddr(address), "agent of "+address))
}

func recordFailure(t *testing.T, s *Storage, address, userID, reason string, at time.Time) {
	t.Helper()
	if err := s.RecordFailure(from(t.Context(), address), Login, userID, reason, at); err != nil {
		t.Fatal(err)
	}
}

// failuresBy counts the failures by the address of their event, and how many events there are.
func failuresBy(t *testing.T, s *Storage, filter EventFilter) (byAddress map[string]int64, events int) {
	t.Helper()
	byAddress = map[string]int64{}
	all := listEvents(t, s, filter)
	for _, event := range all {
		byAddress[event.ClientAddress] += 1 + event.Repeats
	}
	return byAddress, len(all)
}

func sumOf(counts map[string]int64) (sum int64) {
	for _, count := range counts {
		sum += count
	}
	return sum
}

func TestRecordFailure(t *testing.T) {
	ada, grace := newID(), newID()
	at := actTime
	for _, test := range []struct {
		name   string
		run    func(t *testing.T, s *Storage)
		events int
	}{
		{"the_same_failure_is_counted", func(t *testing.T, s *Storage) {
			for i := range 5 {
				recordFailure(t, s, "203.0.113.7", ada, "WRONG", at.Add(time.Duration(i)*time.Minute))
			}
			event := listEvents(t, s, EventFilter{UserID: ada})[0]
			if event.Repeats != 4 || event.Time != at || event.LastTime != at.Add(4*time.Minute) ||
				event.ClientAddress != "203.0.113.7" || event.UserAgent != "agent of 203.0.113.7" {
				t.Errorf("the event is %+v", event)
			}
		}, 1},
		{"a_late_one_does_not_turn_the_time_back", func(t *testing.T, s *Storage) {
			for _, later := range []time.Duration{5 * time.Minute, 9 * time.Minute, 2 * time.Minute} {
				recordFailure(t, s, "203.0.113.7", ada, "WRONG", at.Add(later))
			}
			if event := listEvents(t, s, EventFilter{UserID: ada})[0]; event.LastTime != at.Add(9*time.Minute) {
				t.Errorf("the event is %+v", event)
			}
		}, 1},
		{"other_accounts_reasons_networks_and_hours_have_their_own", func(t *testing.T, s *Storage) {
			recordFailure(t, s, "203.0.113.7", ada, "WRONG", at)
			recordFailure(t, s, "203.0.113.8", ada, "WRONG", at)
			recordFailure(t, s, "203.0.113.7", grace, "WRONG", at)
			recordFailure(t, s, "203.0.113.7", "", "WRONG", at)
			recordFailure(t, s, "203.0.113.7", ada, "DISABLED", at)
			recordFailure(t, s, "203.0.113.7", ada, "WRONG", at.Add(failureWindow))
		}, 6},
		{"a_network_of_IPv6_is_one", func(t *testing.T, s *Storage) {
			recordFailure(t, s, "2001:db8::1", ada, "WRONG", at)
			recordFailure(t, s, "2001:db8::ffff:1", ada, "WRONG", at)
			recordFailure(t, s, "2001:db8:0:1::1", ada, "WRONG", at)
		}, 2},
		{"unknown_addresses_share_an_account", func(t *testing.T, s *Storage) {
			for range 50 { // Whatever was typed.
				recordFailure(t, s, "203.0.113.7", "", "WRONG", at)
			}
		}, 1},
		{"many_networks_share_one_event", func(t *testing.T, s *Storage) {
			recordFailure(t, s, "192.0.2.1", ada, "WRONG", at)
			for i := range 150 {
				recordFailure(t, s, fmt.Sprintf("198.51.100.%d", i), ada, "WRONG", at)
			}
			recordFailure(t, s, "192.0.2.1", ada, "WRONG", at) // Which was there before the flood.
			counts, events := failuresBy(t, s, EventFilter{UserID: ada})
			if sumOf(counts) != 152 || counts["192.0.2.1"] != 2 || counts[""] != 150-maxFailureNetworks+1 {
				t.Errorf("%d events count %v", events, counts)
			}
			recordFailure(t, s, "192.0.2.9", grace, "WRONG", at) // A bystander.
			if counts, _ := failuresBy(t, s, EventFilter{UserID: grace}); counts["192.0.2.9"] != 1 {
				t.Errorf("the failure of another account is in %v", counts)
			}
		}, maxFailureNetworks + 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, config Config) {
				s := openNew(t, config)
				test.run(t, s)
				if events := listEvents(t, s, EventFilter{}); len(events) != test.events {
					t.Errorf("there are %d events, want %d: %+v", len(events), test.events, events)
				}
			})
		})
	}
}

// TestRecordFailureConcurrently makes two stores record failures at once. None is lost, and none counted twice.
func TestRecordFailureConcurrently(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config)}
		const failures, networks = 200, 10
		for _, err := range race(failures, func(i int) error {
			ctx := from(t.Context(), fmt.Sprintf("203.0.113.%d", i%networks))
			return stores[i%2].RecordFailure(ctx, Login, "", "WRONG", actTime)
		}) {
			if err != nil {
				t.Error(err)
			}
		}
		counts, events := failuresBy(t, stores[0], EventFilter{})
		if sumOf(counts) != failures || events != networks {
			t.Errorf("%d events count %d failures: %v", events, sumOf(counts), counts)
		}
	})
}

func TestRecordFailureSQLite(t *testing.T) {
	t.Run("only_the_counter_may_grow", testRecordFailureSQLiteOnlyTheCounterMayGrow)
}

// testRecordFailureSQLiteOnlyTheCounterMayGrow: a trigger rejects any other change.
func testRecordFailureSQLiteOnlyTheCounterMayGrow(t *testing.T) {
	s := openNew(t, newSQLite(t))
	recordFailure(t, s, "203.0.113.7", "", "WRONG", actTime)
	recordFailure(t, s, "203.0.113.7", "", "WRONG", actTime)
	columns := texts(t, s, "SELECT name FROM pragma_table_info('audit_events')")
	if !slices.Contains(columns, "failure_key") || len(columns) < 14 {
		t.Fatalf("columns are %v", columns)
	}
	for _, change := range append(slices.DeleteFunc(columns, func(column string) bool {
		return column == "repeats" || column == "last_time"
	}), "repeats = repeats - 1, id", "repeats = 0, id", "last_time = last_time - 1, id", "last_time = NULL, id") {
		assignment := change + " = id || 'x', repeats = repeats + 1"
		if strings.Contains(change, "repeats") {
			assignment = strings.TrimSuffix(change, ", id")
		} else if before, isTime := strings.CutSuffix(change, ", id"); isTime {
			assignment = before + ", repeats = repeats + 1"
		}
		if _, err := s.pool.ExecContext(t.Context(), "UPDATE audit_events SET "+assignment); err == nil ||
			!strings.Contains(err.Error(), "never changed") {
			t.Errorf("SET %s: error is %v", assignment, err)
		}
	}
}
