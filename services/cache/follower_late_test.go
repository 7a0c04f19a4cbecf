package cache

import (
	"testing"
	"time"
)

// TestFollower: that it cannot follow is news once it lasts.
func TestFollower(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		began, last time.Duration // ago
		late        bool
	}{
		"begins":                            {0, time.Hour, false},
		"began_long_ago_and_never_followed": {silenceTimeout + 1, time.Hour, true},
		"followed_a_moment_ago":             {time.Hour, time.Second, false},
		"has_not_followed_for_too_long":     {time.Hour, silenceTimeout + 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &Follower{now: func() time.Time { return now }}
			f.current.Store(new(now.Add(-test.last)))
			if got := f.isLate(now.Add(-test.began)); got != test.late {
				t.Errorf("isLate = %v", got)
			}
		})
	}
}
