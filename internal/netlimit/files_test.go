package netlimit

import (
	"math"
	"testing"
)

func TestFitFiles(t *testing.T) {
	for _, test := range []struct{ files, total, perClient int }{
		{math.MaxInt, 16384, 512},
		{2*16384 + reservedFiles, 16384, 512},
		{20_000, 9872, 512},
		{1024, 384, 96},
		{reservedFiles, 1, 1},
		{0, 1, 1},
	} {
		got := Limits{Total: 16384, PerClient: 512}.fit(test.files, 2)
		if got.Total != test.total || got.PerClient != test.perClient {
			t.Errorf("with %d files: %d in total, %d of a client; want %d, %d",
				test.files, got.Total, got.PerClient, test.total, test.perClient)
		}
	}
	if own := (Limits{Total: math.MaxInt, PerClient: 1}).FitFiles(1); own.Total <= 1 {
		t.Errorf("this process has room for %d connections", own.Total)
	}
}
