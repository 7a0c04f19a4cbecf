package maintenance

import "testing"

func TestMemoryRelease(t *testing.T) {
	released := 0
	memory := memoryRelease{release: func() { released++ }}
	for i, step := range []struct {
		computed uint64
		want     int
		why      string
	}{
		{0, 0, "nothing was hashed"},
		{1, 0, "a hash was computed a moment ago"},
		{2, 0, "another one was"},
		{2, 1, "no more were"},
		{2, 1, "it was released already"},
		{3, 1, "a hash was computed a moment ago"},
		{3, 2, "no more were"},
	} {
		if memory.check(step.computed); released != step.want {
			t.Errorf("step %d: released %d times, want %d: %s", i, released, step.want, step.why)
		}
	}
}
