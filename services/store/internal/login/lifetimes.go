package login

import (
	"errors"
	"fmt"
	"time"
)

// maxRefreshGrace bounds for how long a refresh token that was traded is taken for a retry.
const maxRefreshGrace = 5 * time.Minute

// Lifetimes bound how long sessions last.
type Lifetimes struct {
	RefreshGrace time.Duration // how long the token just traded gets the same successor: 0 to 5 min
	IdleLifetime time.Duration // a session ends when it is not refreshed for so long
	Lifetime     time.Duration // a session ends at this age
}

// Validate reports all problems at once.
func (l Lifetimes) Validate() error {
	var problems []error
	if l.RefreshGrace < 0 || l.RefreshGrace > maxRefreshGrace {
		problems = append(problems, fmt.Errorf("refresh grace is %v, not 0s to %v", l.RefreshGrace, maxRefreshGrace))
	}
	if l.IdleLifetime < time.Second {
		problems = append(problems, fmt.Errorf("session idle lifetime is %v, not at least 1s", l.IdleLifetime))
	}
	if l.Lifetime < l.IdleLifetime {
		problems = append(problems, fmt.Errorf("session lifetime is %v, less than the idle lifetime of %v",
			l.Lifetime, l.IdleLifetime))
	}
	return errors.Join(problems...)
}

// expiry returns when a session expires that was created at one time and is used at another.
func (l Lifetimes) expiry(created, used time.Time) time.Time {
	idle, oldest := used.Add(l.IdleLifetime), created.Add(l.Lifetime)
	if oldest.Before(idle) {
		return oldest
	}
	return idle
}
