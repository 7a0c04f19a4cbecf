package edge

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// MaxNesting bounds how deeply the objects and lists of a request are nested, the request itself included: code behind
// the gateway may recurse. Only the metadata of a user nests freely; if it exceeds its own limit of 16, the store names
// the field.
const MaxNesting = 32

func nestedTooDeeply() error {
	return apierr.MalformedRequest("the request is nested too deeply", nil)
}

// CheckJSONNesting returns an error if the objects and lists of a text, which need not be JSON, are nested deeper than
// MaxNesting, those around it included. It reads only strings and brackets, so that it costs less than a parser.
func CheckJSONNesting(raw []byte, around int) error {
	depth, inString, escaped := around, false, false
	for _, char := range raw {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = char == '\\'
			inString = char != '"'
		case char == '"':
			inString = true
		case char == '{' || char == '[':
			depth++
		case char == '}' || char == ']':
			depth--
		}
		if depth > MaxNesting {
			return nestedTooDeeply()
		}
	}
	return nil
}

// checkMessageNesting is CheckJSONNesting for a protobuf message: it counts the levels that the message has as JSON. It
// accepts bytes that are no such message: the service that decodes them reports the error.
func checkMessageNesting(raw []byte, message protoreflect.MessageDescriptor, around int) error {
	depth := around
	if isJSONLevel(message) {
		depth++
	}
	if depth > MaxNesting {
		return nestedTooDeeply()
	}
	for len(raw) > 0 {
		number, wireType, tagSize := protowire.ConsumeTag(raw)
		if tagSize < 0 {
			return nil
		}
		valueSize := protowire.ConsumeFieldValue(number, wireType, raw[tagSize:])
		if valueSize < 0 {
			return nil
		}
		value := raw[tagSize : tagSize+valueSize]
		raw = raw[tagSize+valueSize:]
		field := message.Fields().ByNumber(number)
		if wireType != protowire.BytesType || field == nil || field.Message() == nil {
			continue
		}
		inner, _ := protowire.ConsumeBytes(value)
		if err := checkMessageNesting(inner, field.Message(), depth+listLevels(field)); err != nil {
			return err
		}
	}
	return nil
}

// isJSONLevel reports whether the message is an object or a list in JSON. An entry of a map is a member of one, and a
// google.protobuf.Value is written as its content.
func isJSONLevel(message protoreflect.MessageDescriptor) bool {
	return !message.IsMapEntry() && message.FullName() != "google.protobuf.Value"
}

// listLevels returns 1 for a field that is a list in JSON, around its elements, and 0 otherwise. In
// google.protobuf.ListValue the message is the list.
func listLevels(field protoreflect.FieldDescriptor) int {
	if field.IsList() && field.ContainingMessage().FullName() != "google.protobuf.ListValue" {
		return 1
	}
	return 0
}
