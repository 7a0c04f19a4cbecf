package sessionrule

import (
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	valid := State{Generation: 3, UserGeneration: 3, ExpireTime: now.Add(time.Nanosecond)}
	for name, test := range map[string]struct {
		change func(*State)
		want   Verdict
	}{
		"a_session_within_its_lifetime_may_act": {func(*State) {}, Active},
		"a_session_ends_individually":           {func(s *State) { s.Ended = true }, Ended},
		"a_session_ends_with_its_generation":    {func(s *State) { s.UserGeneration++ }, Ended},
		"a_session_expires_at_its_expire_time":  {func(s *State) { s.ExpireTime = now }, Expired},
		"a_disabled_user_has_no_session":        {func(s *State) { s.UserDisabled = true }, Suspended},
		"the_end_of_a_session_is_final_while_its_user_is_disabled": {
			func(s *State) { s.Ended, s.UserDisabled = true, true }, Ended,
		},
		"an_expired_session_that_ended_has_ended": {func(s *State) { s.Ended, s.ExpireTime = true, now }, Ended},
	} {
		t.Run(name, func(t *testing.T) {
			state := valid
			test.change(&state)
			if got := state.Judge(now); got != test.want {
				t.Errorf("verdict is %v, want %v", got, test.want)
			}
		})
	}
	if verdict := (State{}).Judge(now); verdict == Active {
		t.Error("the zero State may act")
	}
}
