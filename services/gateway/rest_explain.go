package gateway

import (
	"bytes"
	"encoding/json"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// maxFaultsTold bounds how many fields an error names.
const maxFaultsTold = 16

// maxNameShown bounds how much of an unknown field's name is told back, in bytes.
const maxNameShown = 64

// explain says why a JSON value is not the message. It names the fields at fault, but never repeats a value: errors go
// to logs, and a value may be a password. It stops at maxFaultsTold, so that a body of a hundred thousand faults costs
// no more than one of a few.
func explain(raw []byte, message protoreflect.MessageDescriptor) *apierr.Error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return apierr.MalformedRequest("the body must be a JSON object", nil)
	}
	var faults []*errdetails.BadRequest_FieldViolation
	for len(faults) < maxFaultsTold && decoder.More() {
		name, value, err := member(decoder)
		if err != nil {
			break
		}
		if fault := faultOf(name, value, message.Fields()); fault != "" {
			faults = append(faults, &errdetails.BadRequest_FieldViolation{Field: shown(name), Description: fault})
		}
	}
	return apierr.MalformedFields(faults)
}

// member reads the next member of an object.
func member(decoder *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := decoder.Token()
	if err != nil {
		return "", nil, err
	}
	name, _ = token.(string)
	err = decoder.Decode(&value)
	return name, value, err
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
