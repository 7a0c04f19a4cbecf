package main

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// conventionHeader is a header that stands for a field of a request, as docs/adr/0009-http-header-mapping.md
// says.
type conventionHeader struct {
	field             string // JSON name
	name, description string
}

func conventionHeaders() []conventionHeader {
	return []conventionHeader{
		{
			"version", "If-Match",
			"The `ETag` of the expected version, as an alternative to the field `version`. If the version differs, the " +
				"call fails with 412 and the reason `VERSION_MISMATCH`.",
		},
		{
			"requestId", "Idempotency-Key",
			"Identifies this request, so that it can be repeated, as an alternative to the field `requestId`.",
		},
	}
}

// hasHeader reports whether a header can stand for the field with this JSON name.
func hasHeader(name string) bool {
	return slices.ContainsFunc(conventionHeaders(), func(h conventionHeader) bool { return h.field == name })
}

// addHeaders tells which headers a call takes for fields of its request, and which its answer has.
func addHeaders(op *operation, method protoreflect.MethodDescriptor) error {
	text, err := encode("string")
	if err != nil {
		return err
	}
	for _, known := range conventionHeaders() {
		if method.Input().Fields().ByJSONName(known.field) != nil {
			op.Parameters = append(op.Parameters, &parameter{
				Name: known.name, In: "header", Description: prose(known.description), Schema: &schema{Type: text},
			})
		}
	}
	success, ok := op.Responses.get("200")
	if fields := method.Output().Fields(); ok && fields.Len() == 1 && versioned(fields.Get(0)) {
		success.Headers.set("ETag", &header{
			Description: "The version of the resource, in quotes. Send it as `If-Match`.", Schema: &schema{Type: text},
		})
	}
	return nil
}

// versioned tells whether a field is one resource with a version.
func versioned(field protoreflect.FieldDescriptor) bool {
	return !field.IsList() && field.Message() != nil && field.Message().Fields().ByName("version") != nil
}
