package rpc

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

func TestEditedFields(t *testing.T) {
	fields := editedFields(&gatehousev1.UpdateUserRequest{UpdateMask: &fieldmaskpb.FieldMask{
		Paths: append(slices.Repeat([]string{"metadata"}, 14), "locale", "id"),
	}})
	if want := []string{"metadata", "locale"}; !slices.Equal(fields, want) {
		t.Errorf("fields are %v, want %v", fields, want)
	}
}
