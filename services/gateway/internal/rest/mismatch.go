package rest

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

// maxViolations bounds how many fields an error names.
const maxViolations = 16

// maxNameShown bounds how much of an unknown field's name an error contains, in bytes.
const maxNameShown = 64

// mismatchError returns the error for a JSON value that is not the message. It names the invalid fields, but never
// contains a value: errors are logged, and a value may be a password. It stops at maxViolations, so that a body with a
// hundred thousand of them costs no more than one with a few.
func mismatchError(raw []byte, message protoreflect.MessageDescriptor) *apierr.Error {
	if !utf8.Valid(raw) {
		return apierr.MalformedRequest("the body is not valid UTF-8", nil)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return apierr.MalformedRequest("the body is not a JSON object", nil)
	}
	var violations []*errdetails.BadRequest_FieldViolation
	seen := map[string]bool{}
	for len(violations) < maxViolations && decoder.More() {
		name, value, err := member(decoder)
		if err != nil {
			break
		}
		problem := problemOf(name, value, message)
		if seen[name] {
			problem = "appears more than once"
		}
		seen[name] = true
		if problem != "" {
			violations = append(violations,
				&errdetails.BadRequest_FieldViolation{Field: truncatedName(name), Description: problem})
		}
	}
	return apierr.MalformedFields(violations)
}

// member returns the next member of an object.
func member(decoder *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := decoder.Token()
	if err != nil {
		return "", nil, err
	}
	name, _ = token.(string)
	err = decoder.Decode(&value)
	return name, value, err
}

// problemOf returns the description of a violation by a member, or "" if it is valid.
func problemOf(name string, value json.RawMessage, message protoreflect.MessageDescriptor) string {
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

// truncatedName returns at most maxNameShown bytes of a name. It cuts between characters, as an answer must be UTF-8.
func truncatedName(name string) string {
	if len(name) > maxNameShown {
		return strings.ToValidUTF8(name[:maxNameShown], "") + "…"
	}
	return name
}
