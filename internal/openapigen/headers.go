package main

import (
	"encoding/json"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// headerOf returns the header that is an alternative to the field of a request with this JSON name, if there is one.
// See docs/adr/0009-http-header-mapping.md.
func headerOf(field string) (name string, description prose) {
	switch field {
	case "version":
		return "If-Match", "The `ETag` of the expected version, as an alternative to the field `version`. If the version " +
			"differs, the call fails with 412 and the reason `VERSION_MISMATCH`."
	case "requestId":
		return "Idempotency-Key",
			"Identifies this request, so that it can be repeated, as an alternative to the field `requestId`."
	default:
		return "", ""
	}
}

// addHeaders adds the headers that a request may have instead of fields, and the ETag of the response.
func addHeaders(op *operation, method protoreflect.MethodDescriptor) {
	text := &schema{Type: json.RawMessage(`"string"`)}
	fields := method.Input().Fields()
	for i := range fields.Len() {
		if name, description := headerOf(fields.Get(i).JSONName()); name != "" {
			op.Parameters = append(op.Parameters, &parameter{Name: name, In: "header", Description: description, Schema: text})
		}
	}
	if fields := method.Output().Fields(); fields.Len() == 1 && versioned(fields.Get(0)) {
		op.Responses["200"].Headers = map[string]*header{
			"ETag": {Description: "The version of the resource, in quotes. Send it as `If-Match`.", Schema: text},
		}
	}
}

// versioned reports whether a field is a single resource with a version.
func versioned(field protoreflect.FieldDescriptor) bool {
	return !field.IsList() && field.Message() != nil && field.Message().Fields().ByName("version") != nil
}
