package gateway

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

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
	if !utf8.Valid(raw) {
		return apierr.MalformedRequest("the body is not valid UTF-8", nil)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return apierr.MalformedRequest("the body is not a JSON object", nil)
	}
	var faults []*errdetails.BadRequest_FieldViolation
	seen := map[string]bool{}
	for len(faults) < maxFaultsTold && decoder.More() {
		name, value, err := member(decoder)
		if err != nil {
			break
		}
		fault := faultOf(name, value, message)
		if seen[name] {
			fault = "appears more than once"
		}
		seen[name] = true
		if fault != "" {
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

// faultOf tells what is wrong with a member, or "" if nothing is.
func faultOf(name string, value json.RawMessage, message protoreflect.MessageDescriptor) string {
	field := message.Fields().ByJSONName(name)
	if field == nil {
		field = message.Fields().ByTextName(name)
	}
	switch {
	case field == nil:
		return "is not a field of the request"
	case field.Kind() == protoreflect.StringKind && !field.IsList() && value[0] != '"' && string(value) != "null":
		return "must be a string"
	}
	alone := slices.Concat([]byte(`{"`+field.JSONName()+`":`), value, []byte("}"))
	if protojson.Unmarshal(alone, dynamicpb.NewMessage(message)) != nil {
		return "is not a valid value of the field"
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
