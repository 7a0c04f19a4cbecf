package main

import (
	"encoding/json"
	"strconv"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
)

// applyBounds adds the rules of a field to its schema. If JSON Schema cannot express a rule exactly, the schema is less
// strict, never stricter, so that no client rejects what a service accepts. Patterns and CEL are omitted, because JSON
// Schema supports neither RE2 nor CEL; the comments of the fields describe them.
func applyBounds(s *schema, rules *validate.FieldRules, field protoreflect.FieldDescriptor) {
	switch {
	case rules.GetIgnore() != validate.Ignore_IGNORE_UNSPECIFIED: // The rules do not apply to every value.
	case field.IsMap():
	case field.IsList():
		s.MinItems = rules.GetRepeated().GetMinItems()
		if rules.GetRepeated().HasMaxItems() {
			s.MaxItems = new(rules.GetRepeated().GetMaxItems())
		}
		s.UniqueItems = rules.GetRepeated().GetUnique()
		if s.Items != nil && s.Items.Ref == "" {
			applyScalarBounds(s.Items, rules.GetRepeated().GetItems())
		}
	default:
		applyScalarBounds(s, rules)
		required := rules.GetRequired() || hasBehavior(field, annotations.FieldBehavior_REQUIRED)
		if required && !field.HasPresence() && field.Kind() == protoreflect.StringKind {
			s.MinLength = max(s.MinLength, 1) // A string without presence is unset if it is empty.
		}
	}
}

// applyScalarBounds adds the rules that the contract uses. JSON Schema counts characters: a string of n bytes has at
// most n characters.
func applyScalarBounds(s *schema, rules *validate.FieldRules) {
	text, number := rules.GetString(), rules.GetInt32()
	s.MinLength = text.GetMinLen()
	if text.HasMaxLen() {
		s.MaxLength = new(text.GetMaxLen())
	}
	if text.HasMaxBytes() && (s.MaxLength == nil || text.GetMaxBytes() < *s.MaxLength) {
		s.MaxLength = new(text.GetMaxBytes())
	}
	for _, value := range text.GetIn() {
		s.Enum = append(s.Enum, json.RawMessage(strconv.Quote(value)))
	}
	if number.HasGte() {
		s.Minimum = new(number.GetGte())
	}
	if number.HasLte() {
		s.Maximum = new(number.GetLte())
	}
}
