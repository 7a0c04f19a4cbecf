package edge

import (
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

func TestReservation(t *testing.T) {
	budget := NewRequestBudget()
	usage := func(t *testing.T, small, large int64) {
		t.Helper()
		gotSmall, _ := budget.Small.Usage()
		gotLarge, _ := budget.Large.Usage()
		if gotSmall != small || gotLarge != large {
			t.Errorf("reserved are %d and %d bytes, want %d and %d", gotSmall, gotLarge, small, large)
		}
	}
	r := budget.NewReservation(clientOf("192.0.2.1"))
	for _, step := range []struct{ bytes, small, large int64 }{
		{100, 100, 0},
		{MaxSmallRequest, MaxSmallRequest, 0},
		{MaxLargeRequest, MaxSmallRequest, MaxLargeRequest - MaxSmallRequest},
		{MaxSmallRequest + 1, MaxSmallRequest, 1},
		{7, 7, 0},
	} {
		if err := r.Reserve(step.bytes); err != nil {
			t.Fatal(err)
		}
		usage(t, step.small, step.large)
	}
	t.Run("without_room_nothing_changes", func(t *testing.T) {
		for _, bytes := range []int64{MaxSmallRequest + MaxLargeBytesPerClient + 1, maxLargeBytes * 2} {
			if err := r.Reserve(bytes); apierr.ReasonOf(apierr.Status(err)) != gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED {
				t.Errorf("%d bytes: %v", bytes, err)
			}
			usage(t, 7, 0)
		}
	})
	t.Run("after_release_nothing_is_reserved", func(t *testing.T) {
		r.Release()
		usage(t, 0, 0)
		if err := r.Reserve(7); err != nil {
			t.Error(err)
		}
		r.Release()
		usage(t, 0, 0)
	})
}
