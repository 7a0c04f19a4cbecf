package account

import (
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/sessionrule"
)

// ErrSessionExpired reports a session that has expired.
var ErrSessionExpired = errors.New("the session has expired")

// SessionEndedError reports a session that has ended. The ids are empty if the session may act again later, or if the
// store does not know it.
type SessionEndedError struct{ SessionID, UserID string }

// Error implements error.
func (e *SessionEndedError) Error() string {
	if e.SessionID == "" {
		return "the session has ended"
	}
	return fmt.Sprintf("session %s has ended", e.SessionID)
}

// CheckActive reports an error unless the session may act: a SessionEndedError or ErrSessionExpired.
func (s UserSession) CheckActive(now time.Time) error {
	state := sessionrule.State{
		Ended: !s.Session.EndTime.IsZero(), Generation: s.Session.Generation,
		UserGeneration: s.User.SessionGeneration, UserDisabled: s.User.State != Active, ExpireTime: s.Session.ExpireTime,
	}
	switch state.Judge(now) {
	case sessionrule.Active:
		return nil
	case sessionrule.Expired:
		return ErrSessionExpired
	case sessionrule.Suspended:
		return &SessionEndedError{}
	default:
		return &SessionEndedError{SessionID: s.Session.ID, UserID: s.User.ID}
	}
}
