package gateway

import (
	"encoding/json"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// maxNameShown bounds how much of an unknown field's name is told back, in bytes.
const maxNameShown = 64

// explain says why a JSON value is not the message. It names the fields at fault, but never repeats a value: errors go
// to logs, and a value may be a password.
func explain(raw []byte, message protoreflect.MessageDescriptor) *apierr.Error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return apierr.MalformedRequest("the body must be a JSON object", nil)
	}
	var faults []*errdetails.BadRequest_FieldViolation
	for name, value := range members {
		if fault := faultOf(name, value, message.Fields()); fault != "" {
			faults = append(faults, &errdetails.BadRequest_FieldViolation{Field: shown(name), Description: fault})
		}
	}
	slices.SortFunc(faults, func(a, b *errdetails.BadRequest_FieldViolation) int {
		if a.GetField() < b.GetField() {
			return -1
		}
		return 1
	})
	return apierr.MalformedFields(faults)
}

// faultOf tells what is wrong with a member, or "" if nothing is seen.
func faultOf(name string, value json.RawMessage, fields protoreflect.FieldDescriptors) string {
	field := fields.ByJSONName(name)
	if field == nil {
		field = fields.ByTextName(name)
	}
	if field == nil {
		return "is not a field of the request"
	}
	if field.Kind() == protoreflect.StringKind && !field.IsList() && value[0] != '"' && string(value) != "null" {
		return "must be a string"
	}
	return ""
}

// shown cuts a name between characters: half of one is no UTF-8, and an answer cannot hold it.
func shown(name string) string {
	if len(name) > maxNameShown {
		return strings.ToValidUTF8(name[:maxNameShown], "") + "…"
	}
	return name
}
