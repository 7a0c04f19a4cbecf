package edge

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
	// sentPerAccepted is how many calls of a flow are sent for each accepted one while the services refuse others as
	// overload: enough to fill their queues, even if these are not equally long.
	sentPerAccepted = 2

	// sentAnyway is how many more calls of a method are sent in each flowMemory, so that a method with few accepted calls
	// does not stop by chance. The flows of the method share them.
	sentAnyway = 10

	// flowMemory is how long calls count, and how long after a refusal others are refused here. The queue of the store
	// does not drain within this time.
	flowMemory = time.Second

	// flowLifetime is how long a flow is stored after its last refusal: by then its counts have decayed.
	flowLifetime = 10 * flowMemory

	// maxFlows bounds the stored flows of a method.
	maxFlows = 4096
)

// throttle rejects calls that the services behind the gateway would reject as overload: a rejection there costs work in
// three processes, which accepted calls and reads need. It is the client-side throttling of Google's book on Site
// Reliability Engineering, chapter "Handling Overload", applied to each client separately, so that refusals of one do
// not affect another. It is safe for concurrent use.
type throttle struct {
	now func() time.Time

	mutex   sync.Mutex
	methods map[string]map[shares.Key]*flow // flows with refusals; the contract bounds the methods
	swept   time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, methods: map[string]map[shares.Key]*flow{}}
}

// flow counts the calls of a method by one client. A call counts for less the longer ago it was.
type flow struct {
	sent, accepted float64
	counted        time.Time // the time that sent and accepted refer to
	refused        time.Time // of the last refusal
	refusal        error     // the last one
}

// check returns the last refusal if the call must not be sent now.
func (t *throttle) check(method string, client shares.Key) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	flows := t.methods[method]
	known := flows[client]
	if known == nil {
		return nil
	}
	now := t.now()
	known.decay(now)
	share := max(1, sentAnyway/float64(len(flows)))
	if now.Sub(known.refused) < flowMemory && known.sent >= sentPerAccepted*known.accepted+share {
		return known.refusal
	}
	known.sent++
	return nil
}

// observe records the result of a call that was sent.
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
	case known != nil: // The call was accepted, whatever its result; even if the caller has gone.
		known.decay(t.now())
		known.accepted++
	}
}

// makeRoom makes room for one more flow of a method. It deletes expired flows and, if the table is full, any others:
// the services refuse the clients of these once more.
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

// decay reduces the counts by their age at now.
func (f *flow) decay(now time.Time) {
	part := math.Exp(-float64(now.Sub(f.counted)) / float64(flowMemory))
	f.sent, f.accepted, f.counted = f.sent*part, f.accepted*part, now
}
