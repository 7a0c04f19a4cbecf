package gateway

import (
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	// sentPerTaken is how many calls of a method are sent for each that is taken, while others are refused as overload:
	// enough to fill the queues behind, also where they are not equally long.
	sentPerTaken = 2

	// sentAnyway is how many more are sent, in a flowMemory: where few are taken, chance must not end all.
	sentAnyway = 10

	// flowMemory is for how long calls count, and for how long after a refusal others are refused here. It is shorter
	// than the queue of the store, which is not empty again within it.
	flowMemory = time.Second
)

// throttle keeps from the services behind what they would refuse as overload: a refusal there costs three processes a
// call, and those that are taken, and the reads, want the cores. It is the client-side throttling of Google's book on
// Site Reliability Engineering, chapter "Handling Overload". It is safe for concurrent use.
type throttle struct {
	now func() time.Time

	mutex sync.Mutex
	flows map[string]*flow // by method, of those that were ever refused: no more than the contract has
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, flows: map[string]*flow{}}
}

// flow is what became of the calls of a method. A call counts for less the longer ago it was.
type flow struct {
	sent, taken float64
	counted     time.Time // when those were right
	refused     time.Time // when a call was refused last
	refusal     error     // and with what
}

// check fails with the last refusal if a call is not to be sent now.
func (t *throttle) check(method string) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	flow, everRefused := t.flows[method]
	if !everRefused {
		return nil
	}
	now := t.now()
	flow.fade(now)
	if now.Sub(flow.refused) < flowMemory && flow.sent >= sentPerTaken*flow.taken+sentAnyway {
		return flow.refusal
	}
	flow.sent++
	return nil
}

// learn takes note of how a call that was sent has ended.
func (t *throttle) learn(method string, err error) {
	overloaded := err != nil && apierr.ReasonOf(status.Convert(err)) == gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED
	t.mutex.Lock()
	defer t.mutex.Unlock()
	known := t.flows[method]
	switch {
	case overloaded && known == nil:
		now := t.now()
		t.flows[method] = &flow{counted: now, refused: now, refusal: err}
	case overloaded:
		known.refused, known.refusal = t.now(), err
	case known != nil: // It was taken, however it ended; also if the caller has gone.
		known.fade(t.now())
		known.taken++
	}
}

// fade makes what was counted be of now.
func (f *flow) fade(now time.Time) {
	part := math.Exp(-float64(now.Sub(f.counted)) / float64(flowMemory))
	f.sent, f.taken, f.counted = f.sent*part, f.taken*part, now
}
