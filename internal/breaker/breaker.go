// Package breaker stops calls to a dependency that fails, and tries with single calls whether it works again. It is the
// only circuit breaker (ADR 0029); what counts as a failure is decided where the dependency is called.
package breaker

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// ErrOpen is returned instead of a call while the breaker is open.
var ErrOpen = errors.New("the circuit breaker is open")

// Outcome is what a call shows about the dependency.
type Outcome int

// The outcomes of a call. A call that its caller gave up early is neither a success nor a failure.
const (
	Success Outcome = iota
	Failure
	Ignored
)

// windowBucket is the precision of Settings.Window.
const windowBucket = time.Second

// Settings define when a breaker opens, and for how long.
type Settings struct {
	// Failures in a row open the breaker.
	Failures uint32

	// OpenTimeout is how long the breaker is open before it lets one call through. If that succeeds, the breaker closes.
	OpenTimeout time.Duration

	// A breaker with a Window also opens if of at least MinCalls calls within it this ratio has failed.
	Window       time.Duration
	MinCalls     uint32
	FailureRatio float64

	// OnChange, if it is not nil, is called when the breaker opens, and when it closes again; not when a single call was
	// let through and has failed. It must not call the breaker.
	OnChange func(open bool)
}

// Breaker is a circuit breaker. It is safe for concurrent use.
type Breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// New returns a closed Breaker.
func New(settings Settings) *Breaker {
	circuit := gobreaker.Settings{
		Timeout:     settings.OpenTimeout,
		Interval:    settings.Window,
		ReadyToTrip: settings.trips,
		IsExcluded:  func(err error) bool { return errors.Is(err, errIgnored) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if settings.OnChange != nil && (from == gobreaker.StateClosed || to == gobreaker.StateClosed) {
				settings.OnChange(to != gobreaker.StateClosed)
			}
		},
	}
	if settings.Window > 0 {
		circuit.BucketPeriod = windowBucket
	}
	return &Breaker{gobreaker.NewTwoStepCircuitBreaker[struct{}](circuit)}
}

func (s Settings) trips(counts gobreaker.Counts) bool {
	if counts.ConsecutiveFailures >= s.Failures {
		return true
	}
	ended := counts.TotalFailures + counts.TotalSuccesses
	return s.Window > 0 && ended >= s.MinCalls && float64(counts.TotalFailures) >= s.FailureRatio*float64(ended)
}

// How the outcomes are reported to gobreaker, which knows errors only.
var (
	errFailed  = errors.New("failed")
	errIgnored = errors.New("ignored")
)

// Do calls f, counts its outcome, and returns its error. While the breaker is open, it returns ErrOpen without calling
// f. A panic in f counts as a failure.
func (b *Breaker) Do(f func() (Outcome, error)) error {
	done, err := b.circuit.Allow()
	if err != nil {
		return ErrOpen
	}
	outcome := Failure
	defer func() { done([]error{Success: nil, Failure: errFailed, Ignored: errIgnored}[outcome]) }()
	outcome, err = f()
	return err
}

// Fail counts a failure that was found otherwise than by a call of Do.
func (b *Breaker) Fail() {
	_ = b.Do(func() (Outcome, error) { return Failure, nil })
}

// IsClosed reports whether all calls pass.
func (b *Breaker) IsClosed() bool { return b.circuit.State() == gobreaker.StateClosed }
