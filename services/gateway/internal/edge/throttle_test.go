package edge

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const logInMethod = "/gatehouse.v1.SessionService/CreateSession"

// stepClock is a time that only the test makes pass.
type stepClock struct{ time.Time }

func (c *stepClock) now() time.Time { return c.Time }

// testThrottle is a throttle before a service that accepts so many calls in a second.
type testThrottle struct {
	*throttle

	clock     *stepClock
	perSecond float64
	room      float64
}

func newTestThrottle(perSecond float64) *testThrottle {
	clock := &stepClock{time.Unix(1, 0)}
	return &testThrottle{throttle: newThrottle(clock.now), clock: clock, perSecond: perSecond}
}

// offer offers so many calls of each client within a second, and returns how many of each are sent and accepted.
func (t *testThrottle) offer(calls int, clients ...shares.Key) (sent, accepted map[shares.Key]int) {
	sent, accepted = map[shares.Key]int{}, map[shares.Key]int{}
	for range calls {
		t.clock.Time = t.clock.Add(time.Second / time.Duration(calls))
		t.room = min(t.room+t.perSecond/float64(calls), 10)
		for _, client := range clients {
			if t.check(logInMethod, client) != nil {
				continue
			}
			sent[client]++
			if t.room < 1 {
				t.observe(logInMethod, client, apierr.Overloaded(2*time.Second))
				continue
			}
			t.room--
			accepted[client]++
			t.observe(logInMethod, client, nil)
		}
	}
	return sent, accepted
}

func clientOf(address string) shares.Key { return shares.KeyOf(netip.MustParseAddr(address)) }

func TestThrottle(t *testing.T) {
	const capacity, offered = 50, 500
	flooder, bystander := clientOf("192.0.2.1"), clientOf("192.0.2.2")
	t.Run("a_flood_is_sent_as_far_as_it_is_accepted_and_a_little_more", func(t *testing.T) {
		throttle := newTestThrottle(capacity)
		var sent, accepted map[shares.Key]int
		for range 5 {
			sent, accepted = throttle.offer(offered, flooder)
		}
		if accepted[flooder] < capacity*95/100 || sent[flooder] > sentPerAccepted*capacity+2*sentAnyway {
			t.Errorf("%d are sent, and %d are accepted", sent[flooder], accepted[flooder])
		}
		throttle.offer(capacity, flooder)
		for range 3 {
			if sent, _ := throttle.offer(capacity/2, flooder); sent[flooder] != capacity/2 {
				t.Errorf("after the flood %d of %d are sent", sent[flooder], capacity/2)
			}
		}
		throttle.clock.Time = throttle.clock.Add(flowMemory)
		throttle.perSecond = 200
		if sent, _ := throttle.offer(200, flooder); sent[flooder] != 200 {
			t.Errorf("long after the flood %d of 200 are sent", sent[flooder])
		}
	})
	t.Run("the_refusals_of_a_client_are_no_reason_to_refuse_another", func(t *testing.T) {
		throttle := newTestThrottle(0)
		throttle.offer(offered, flooder)
		if err := throttle.check(logInMethod, flooder); err == nil {
			t.Fatal("the flooder is not refused")
		}
		if err := throttle.check(logInMethod, bystander); err != nil {
			t.Errorf("a bystander: %v", err)
		}
		if err := throttle.check("/another/Method", flooder); err != nil {
			t.Errorf("another method: %v", err)
		}
	})
	t.Run("many_clients_share_what_is_sent_without_being_accepted", func(t *testing.T) {
		throttle := newTestThrottle(0)
		var clients []shares.Key
		for n := range 100 {
			clients = append(clients, shares.KeyOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})))
		}
		throttle.offer(offered, clients...)
		sent, _ := throttle.offer(offered, clients...)
		total := 0
		for _, n := range sent {
			total += n
		}
		if total > 2*len(clients) {
			t.Errorf("%d calls are sent of which none is accepted", total)
		}
	})
	t.Run("the_table_is_bounded", func(t *testing.T) {
		throttle := newTestThrottle(0)
		for n := range 2 * maxFlows {
			address := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0, byte(n >> 8), byte(n)}
			throttle.observe(logInMethod, shares.KeyOf(netip.AddrFrom16(address)), apierr.Overloaded(time.Second))
		}
		if got := len(throttle.methods[logInMethod]); got != maxFlows {
			t.Errorf("%d flows are remembered", got)
		}
		throttle.clock.Time = throttle.clock.Add(flowLifetime)
		throttle.observe(logInMethod, flooder, apierr.Overloaded(time.Second))
		if got := len(throttle.methods[logInMethod]); got != 1 {
			t.Errorf("%d flows are remembered when all but one are over", got)
		}
	})
}
