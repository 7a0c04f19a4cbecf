//go:build long

package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// figures count what happens.
type figures struct {
	mu                                  sync.Mutex
	operations, writes, reads, refusals int
	unknown                             map[string]int
	reached                             []int // acknowledged writes and reads by gateway
	faults, histories, findings         int
}

func newFigures(gateways int) *figures {
	return &figures{unknown: map[string]int{}, reached: make([]int, gateways)}
}

func (f *figures) count(o *operation, gateway int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.operations++
	switch {
	case o.outcome == unknown:
		f.unknown[o.reason[:min(len(o.reason), 60)]]++
	case o.outcome == refused:
		f.refusals++
	case o.writes():
		f.writes++
		f.reached[gateway]++
	default:
		f.reads++
	}
}

// written returns how many writes each gateway has acknowledged.
func (f *figures) written() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reached)
}

// total returns how many calls have ended.
func (f *figures) total() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.operations
}

// served returns how many reads were answered, and how many calls were not as something was not available.
func (f *figures) served() (reads, unavailable int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads, f.unknown["UNAVAILABLE"]
}

// add counts what the nemesis and the checker did.
func (f *figures) add(faults, histories, findings int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults, f.histories, f.findings = f.faults+faults, f.histories+histories, f.findings+findings
}

func (f *figures) line(seed uint64, since time.Duration) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	lost := 0
	var reasons strings.Builder
	for _, reason := range slices.Sorted(maps.Keys(f.unknown)) {
		lost += f.unknown[reason]
		fmt.Fprintf(&reasons, "; %s: %d", reason, f.unknown[reason])
	}
	return fmt.Sprintf("seed %d, %v: %d operations (%d writes acknowledged, %d reads and log-ins, %d refused, %d unknown), "+
		"%d faults, %d histories checked, %d VIOLATIONS\n    unknown%s", seed, since.Round(time.Second), f.operations, f.writes, f.reads,
		f.refusals, lost, f.faults, f.histories, f.findings, reasons.String())
}
