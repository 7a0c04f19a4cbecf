package signing

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// at is a time that is so many minutes after noon.
func at(minutes float64) time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(minutes * float64(time.Minute)))
}

// activateAt makes keys that activate at these minutes after noon, the newest first, for tokens of 15 minutes.
func activateAt(minutes ...float64) []account.SigningKey {
	var keys []account.SigningKey
	for i, minute := range minutes {
		keys = append(keys, account.SigningKey{
			Generation: int64(len(minutes) - i), ActivateTime: at(minute), TokenLifetime: 15 * time.Minute,
		})
	}
	return keys
}

func TestStates(t *testing.T) {
	const nanosecond = 1.0 / 60e9
	for _, test := range []struct {
		name   string
		keys   []account.SigningKey
		now    float64
		states []State
	}{
		{"no key", nil, 0, nil},
		{"the first key", activateAt(0), 0, []State{Active}},
		{"the first key, much later", activateAt(0), 1e6, []State{Active}},
		{"the first key, on a clock that is behind", activateAt(0), -1, []State{Active}},
		{"the next is published", activateAt(60, 0), 50, []State{Pending, Active}},
		{"just before it signs", activateAt(60, 0), 60 - nanosecond, []State{Pending, Active}},
		{"it signs", activateAt(60, 0), 60, []State{Active, Retiring}},
		{"just before the last token has expired, and a minute", activateAt(60, 0), 76 - nanosecond, []State{Active, Retiring}},
		{"the last token has expired, and a minute", activateAt(60, 0), 76, []State{Active, Expired}},
		{"four at once", activateAt(80, 70, 60, 0), 76, []State{Pending, Active, Retiring, Expired}},
		{"two are pending", activateAt(65, 60, 0), 50, []State{Pending, Pending, Active}},
		{"a key that the next overtook never signed", activateAt(50, 60, 0), 55, []State{Active, Retiring, Retiring}},
		{"such a key leaves with those before it", activateAt(50, 60, 0), 66, []State{Active, Expired, Expired}},
		{"no time has come: the one whose time comes first", activateAt(60, 0, 5), -1, []State{Pending, Active, Retiring}},
		{"two at the same time: the newer", activateAt(60, 60), 60, []State{Active, Retiring}},
		{"two at the same time, on a clock that is behind", activateAt(60, 60), 59, []State{Active, Retiring}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var states []State
			for _, status := range Statuses(test.keys, at(test.now)) {
				states = append(states, status.State)
			}
			if !slices.Equal(states, test.states) {
				t.Errorf("states are %v, want %v", states, test.states)
			}
		})
	}
}

func TestStatusesUnpublishTime(t *testing.T) {
	keys := activateAt(120, 60, 0)
	keys[2].TokenLifetime = 3 * time.Hour
	statuses := Statuses(keys, at(100))
	for i, want := range []time.Time{{}, at(120 + 15 + 1), at(60 + 180 + 1)} {
		if got := statuses[i].UnpublishTime; !got.Equal(want) {
			t.Errorf("key %d leaves at %v, want %v", i, got, want)
		}
	}
}

// TestPublishLead checks that keys are published early enough: verifiers cache the set for 5 min.
func TestPublishLead(t *testing.T) {
	const verifiersKeepTheSet, clocksDiffer = 5 * time.Minute, time.Minute
	if publishLead < verifiersKeepTheSet+2*clocksDiffer {
		t.Errorf("keys are published for %v before they sign", publishLead)
	}
}
