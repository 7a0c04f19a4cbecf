package redisbackend

import (
	"fmt"
	"strings"
	"testing"
)

// Where keys are is said by the specification of Redis Cluster, and by a server that was asked.
func TestSlot(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]int{"123456789": 0x31c3, "": 0, "foo": 12182, "user1000": 3443} {
		if got := slot(tag); got != want {
			t.Errorf("the slot of %q is %d, want %d", tag, got, want)
		}
	}
}

func line(address, flags string, epoch int, slots string) string {
	return fmt.Sprintf("07c37dfeb235213a872192d90877d0cd55635b91 %s@31000 %s - 0 0 %d connected %s\n", address, flags, epoch, slots)
}

func TestMerge(t *testing.T) {
	t.Parallel()
	a, b := "10.0.0.1:1", "10.0.0.2:1"
	before := line(a, "myself,master", 5, "0-16383") + line(b, "slave", 5, "")
	for name, test := range map[string]struct {
		views []view
		want  string // address, epoch and number of slots of each shard
	}{
		"one view":         {[]view{{a, before}}, "10.0.0.1:1 5 16384"},
		"a view that lags": {[]view{{a, before}, {b, line(a, "master,fail", 5, "") + line(b, "myself,master", 6, "0-16383")}}, "10.0.0.2:1 6 16384"},
		"in any order":     {[]view{{b, line(b, "myself,master", 6, "0-16383")}, {a, before}}, "10.0.0.2:1 6 16384"},
		"slots that move":  {[]view{{a, line(a, "master", 5, "0-9 11 [10->-x]") + line(b, "master", 6, "12-16383 [10-<-x]")}}, "10.0.0.1:1 5 11, 10.0.0.2:1 6 16372"},
		"what is said of an older epoch is nobody's": {
			[]view{{a, line(a, "myself,master", 7, "0-9")}, {b, line(a, "master", 5, "0-19") + line(b, "myself,master", 6, "20-29")}},
			"10.0.0.1:1 7 10, 10.0.0.2:1 6 10",
		},
		"a node without an address of its own": {[]view{{"10.0.0.9:7", line(":7", "myself,master", 1, "3")}}, "10.0.0.9:7 1 1"},
		"IPv6":                                 {[]view{{a, line("::1:7", "master", 1, "3")}}, "[::1]:7 1 1"},
		"who is not there yet":                 {[]view{{a, line(a, "master,noaddr", 1, "3") + line(b, "handshake", 1, "3")}}, ""},
		"nonsense":                             {[]view{{a, "\n\nx\n" + line(a, "master", 1, "-3 5-99999 x")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shards, _ := merge(test.views, false)
			var got []string
			for _, s := range shards {
				got = append(got, fmt.Sprintf("%s %d %d", s.address, s.epoch, len(s.slots)))
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestMergeNamesForTLS(t *testing.T) {
	t.Parallel()
	text := "07c37dfeb235213a872192d90877d0cd55635b91 10.0.0.1:1@31000,one.example myself,master - 0 0 1 connected 0-16383\n"
	for preferNames, want := range map[bool]string{false: "10.0.0.1:1", true: "one.example:1"} {
		if shards, _ := merge([]view{{"10.0.0.1:1", text}}, preferNames); len(shards) != 1 || shards[0].address != want {
			t.Errorf("names preferred %v: %v, want %s", preferNames, shards, want)
		}
	}
}
