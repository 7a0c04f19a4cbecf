package password

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// TestOutdatedHashesLeaveCoresToOthers: while as many are verified as may be, the others are refused in time, and who
// has a hash of the current parameters notices nothing.
func TestOutdatedHashesLeaveCoresToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher, err := New(t.Context(), Params{MemoryKiB: 7168, Iterations: 1, Parallelism: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		current, err := hasher.Hash(t.Context(), "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		const outdated = "$2b$04$vFg1dPzkGnLy.J7LdGb2U.eC3qmQX3zCzb5P/nTnEuzyRcKmIDZ2a"
		if _, err := hasher.Verify(t.Context(), outdated, "correct horse"); err != nil {
			t.Fatal(err)
		}
		for range cap(hasher.outdated) {
			hasher.outdated <- struct{}{}
		}
		if matches, err := hasher.Verify(t.Context(), current, "correct horse"); err != nil || !matches {
			t.Errorf("a current hash: %v, %v", matches, err)
		}
		_, err = hasher.Verify(t.Context(), outdated, "correct horse")
		wantOverloaded(t, err)
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := hasher.Verify(gone, outdated, "correct horse"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who is gone: %v", err)
		}
		for range cap(hasher.queued) {
			hasher.queued <- struct{}{}
		}
		_, err = hasher.Verify(t.Context(), outdated, "correct horse")
		wantOverloaded(t, err)
		if len(hasher.cores.working) != 0 || len(hasher.cores.inside) != 0 {
			t.Error("a slot is not given back")
		}
	})
}

func wantOverloaded(t *testing.T, err error) {
	t.Helper()
	var refusal *apierr.Error
	if !errors.As(err, &refusal) || refusal.Reason() != gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED {
		t.Errorf("error is %v", err)
	}
}
