package contract

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"

	"google.golang.org/protobuf/types/known/structpb"
)

func metadataOf(value *structpb.Value) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{"m": value}}
}

func listOf(count int, value *structpb.Value) *structpb.Value {
	return structpb.NewListValue(&structpb.ListValue{Values: slices.Repeat([]*structpb.Value{value}, count)})
}

func TestEncodeMetadata(t *testing.T) {
	t.Run("what_is_largest_as_protobuf_is_accepted", func(t *testing.T) {
		const around = len(`{"m":[]}`)
		digits := (account.MaxMetadata - around + 1) / len("1,")
		written, violation := EncodeMetadata(metadataOf(listOf(digits, structpb.NewNumberValue(1))))
		if violation != nil || len(written) < account.MaxMetadata-1 {
			t.Errorf("%d bytes, violation %v", len(written), violation)
		}
	})
	t.Run("the_size_is_judged_before_anything_is_read", func(t *testing.T) {
		for name, large := range map[string]*structpb.Value{
			"text":    structpb.NewStringValue(strings.Repeat("x", 1<<20)),
			"numbers": listOf(100_000, structpb.NewNumberValue(math.NaN())), // Which breaks another rule, once it is read.
		} {
			if _, violation := EncodeMetadata(metadataOf(large)); violation == nil || violation.Reason != "METADATA_TOO_LARGE" {
				t.Errorf("violation of %s is %v", name, violation)
			}
		}
	})
}
