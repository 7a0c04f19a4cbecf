// Package sessionrule holds the rule of whether a session may act. The store applies it to what the database holds, and
// the cache to the entries that it serves. It imports no other package of Gatehouse.
package sessionrule

import "time"

// State is what decides whether a session may act.
type State struct {
	Ended          bool  // the session was ended individually
	Generation     int64 // of the session
	UserGeneration int64 // of the user's sessions: those of an older generation have ended
	UserDisabled   bool
	ExpireTime     time.Time
}

// Verdict is whether a session may act, and if not, why.
type Verdict int

// The verdicts. The zero Verdict refuses.
const (
	Ended Verdict = iota // for good
	// Suspended is a session of a disabled user. To disable a user ends all sessions, so that their generation is past.
	// The state is checked all the same, in case it was changed in another way. The session has not ended for good.
	Suspended
	Expired
	Active
)

// Judge returns the verdict on a session at a time.
func (s State) Judge(now time.Time) Verdict {
	switch {
	case s.Ended || s.Generation < s.UserGeneration:
		return Ended
	case s.UserDisabled:
		return Suspended
	case !now.Before(s.ExpireTime):
		return Expired
	default:
		return Active
	}
}
