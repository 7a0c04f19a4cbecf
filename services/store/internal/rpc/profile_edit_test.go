package rpc

import (
	"slices"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func TestEditedFields(t *testing.T) {
	fields := editedFields(&gatehousev1.UpdateUserRequest{UpdateMask: &fieldmaskpb.FieldMask{
		Paths: append(slices.Repeat([]string{"metadata"}, 14), "locale", "id"),
	}})
	if want := []string{"metadata", "locale"}; !slices.Equal(fields, want) {
		t.Errorf("fields are %v, want %v", fields, want)
	}
}
