package store

import (
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

func metadataOf(value *structpb.Value) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{"m": value}}
}

func listOf(count int, value *structpb.Value) *structpb.Value {
	return structpb.NewListValue(&structpb.ListValue{Values: slices.Repeat([]*structpb.Value{value}, count)})
}

func TestWriteMetadata(t *testing.T) {
	t.Run("what_is_largest_as_protobuf_is_accepted", func(t *testing.T) {
		const around = len(`{"m":[]}`)
		digits := (maxMetadata - around + 1) / len("1,")
		written, fault := writeMetadata(metadataOf(listOf(digits, structpb.NewNumberValue(1))))
		if fault != nil || len(written) < maxMetadata-1 {
			t.Errorf("%d bytes, fault %v", len(written), fault)
		}
	})
	t.Run("the_size_is_judged_before_anything_is_read", func(t *testing.T) {
		for name, large := range map[string]*structpb.Value{
			"text":    structpb.NewStringValue(strings.Repeat("x", 1<<20)),
			"numbers": listOf(100_000, structpb.NewNumberValue(math.NaN())), // Which is a fault for who reads it.
		} {
			if _, fault := writeMetadata(metadataOf(large)); fault == nil || fault.rule != "METADATA_TOO_LARGE" {
				t.Errorf("fault of %s is %v", name, fault)
			}
		}
	})
}

func TestEditedFields(t *testing.T) {
	fields := editedFields(&gatehousev1.UpdateUserRequest{UpdateMask: &fieldmaskpb.FieldMask{
		Paths: append(slices.Repeat([]string{"metadata"}, 14), "locale", "id"),
	}})
	if want := []string{"metadata", "locale"}; !slices.Equal(fields, want) {
		t.Errorf("fields are %v, want %v", fields, want)
	}
}
