package gateway

import (
	"maps"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const (
	// sentPerAccepted is how many calls of a flow are sent for each that is accepted, while others are refused as
	// overload: enough to fill the queues behind, also where they are not equally long.
	sentPerAccepted = 2

	// sentAnyway is how many more calls of a method are sent, in a flowMemory: where few are accepted, chance must not
	// end all. The flows of the method share them.
	sentAnyway = 10

	// flowMemory is for how long calls count, and for how long after a refusal others are refused here. It is shorter
	// than the queue of the store, which is not empty again within it.
	flowMemory = time.Second

	// flowLifetime is for how long after its last refusal a flow is remembered: by then next to nothing counts.
	flowLifetime = 10 * flowMemory

	// maxFlows bounds the flows of a method that are remembered.
	maxFlows = 4096
)

// throttle keeps from the services behind what they would refuse as overload: a refusal there costs three processes a
// call, and those that are accepted, and the reads, want the cores. It is the client-side throttling of Google's book
// on Site Reliability Engineering, chapter "Handling Overload", for each client by itself: the refusals of one are no
// reason to refuse another. It is safe for concurrent use.
type throttle struct {
	now func() time.Time

	mutex   sync.Mutex
	methods map[string]map[shares.Key]*flow // flows that were refused; the contract bounds the methods
	swept   time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, methods: map[string]map[shares.Key]*flow{}}
}

// flow is what became of the calls of a method that a client made. A call counts for less the longer ago it was.
type flow struct {
	sent, accepted float64
	counted        time.Time // when those were right
	refused        time.Time // when a call was refused last
	refusal        error     // and with what
}

// check returns the last refusal if a call is not to be sent now.
func (t *throttle) check(method string, client shares.Key) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	flows := t.methods[method]
	known := flows[client]
	if known == nil {
		return nil
	}
	now := t.now()
	known.fade(now)
	share := max(1, sentAnyway/float64(len(flows)))
	if now.Sub(known.refused) < flowMemory && known.sent >= sentPerAccepted*known.accepted+share {
		return known.refusal
	}
	known.sent++
	return nil
}

// observe records how a call that was sent has ended.
func (t *throttle) observe(method string, client shares.Key, err error) {
	overloaded := err != nil && apierr.ReasonOf(status.Convert(err)) == gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED
	t.mutex.Lock()
	defer t.mutex.Unlock()
	known := t.methods[method][client]
	switch {
	case overloaded && known == nil:
		now := t.now()
		t.makeRoom(method, now)
		t.methods[method][client] = &flow{counted: now, refused: now, refusal: err}
	case overloaded:
		known.refused, known.refusal = t.now(), err
	case known != nil: // It was accepted, however it ended; also if the caller has gone.
		known.fade(t.now())
		known.accepted++
	}
}

// makeRoom makes room for one more flow of a method. It forgets flows that are over, and any other if the table is full
// of clients without number: one that is forgotten is refused by the services behind once more.
func (t *throttle) makeRoom(method string, now time.Time) {
	if t.methods[method] == nil {
		t.methods[method] = map[shares.Key]*flow{}
	}
	if now.Sub(t.swept) >= flowMemory {
		t.swept = now
		for _, flows := range t.methods {
			maps.DeleteFunc(flows, func(_ shares.Key, f *flow) bool { return now.Sub(f.refused) >= flowLifetime })
		}
	}
	for client := range t.methods[method] {
		if len(t.methods[method]) < maxFlows {
			break
		}
		delete(t.methods[method], client)
	}
}

// fade makes the counts be of now.
func (f *flow) fade(now time.Time) {
	part := math.Exp(-float64(now.Sub(f.counted)) / float64(flowMemory))
	f.sent, f.accepted, f.counted = f.sent*part, f.accepted*part, now
}
