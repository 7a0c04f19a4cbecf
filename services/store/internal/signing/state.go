package signing

import (
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

const (
	// publishLead is how long a key is published before it signs. It is longer than the 5 min for which verifiers keep
	// the set (the max-age that the gateway publishes it with) by as much again: for clocks that differ, for proxies
	// that add to its age, and for stores that are slow to load it.
	publishLead = 10 * time.Minute
	// retireMargin is added to the life of a key that no longer signs: for a store whose clock is behind, or which
	// loads its successor late and signs a last time.
	retireMargin = time.Minute
)

// State is where a key is in its life.
type State string

// The states in their order. They follow from times alone, so that all stores agree without asking each other.
const (
	Pending  State = "pending"  // published, and does not sign yet
	Active   State = "active"   // signs
	Retiring State = "retiring" // signs no more; tokens that it signed may still be good
	Expired  State = "expired"  // no token that it signed is good: it is not published, and is to be deleted
)

// KeyStatus is the state of a key at some time.
type KeyStatus struct {
	State State
	// UnpublishTime is when the key will be gone. It is the zero time as long as no later key is to take over.
	UnpublishTime time.Time
}

// Statuses returns the state of each key, in the order of the keys: the newest generation first.
func Statuses(keys []account.SigningKey, at time.Time) []KeyStatus {
	statuses := make([]KeyStatus, len(keys))
	active := activeIndex(keys, at)
	var takeOver time.Time // of the first later key to sign
	for i, key := range keys {
		if i > 0 && (takeOver.IsZero() || keys[i-1].ActivateTime.Before(takeOver)) {
			takeOver = keys[i-1].ActivateTime
		}
		if !takeOver.IsZero() {
			statuses[i].UnpublishTime = takeOver.Add(key.TokenLifetime + retireMargin)
		}
		switch {
		case i < active:
			statuses[i].State = Pending
		case i == active:
			statuses[i].State = Active
		case at.Before(statuses[i].UnpublishTime):
			statuses[i].State = Retiring
		default:
			statuses[i].State = Expired
		}
	}
	return statuses
}

// activeIndex finds the key that signs: the newest of those whose time has come. Where none has come, as on a clock
// behind that of the store which made the first key, it is the one whose time comes first. It is -1 without keys.
func activeIndex(keys []account.SigningKey, at time.Time) int {
	first := -1
	for i, key := range keys {
		if !key.ActivateTime.After(at) {
			return i
		}
		if first < 0 || key.ActivateTime.Before(keys[first].ActivateTime) {
			first = i
		}
	}
	return first
}
