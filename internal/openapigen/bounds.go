package main

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
)

// applyBounds states in JSON Schema what the rules of a field demand. Where JSON Schema cannot say a rule exactly, it
// says less, never more: no client may refuse what a service accepts. Patterns and CEL are left out, because JSON
// Schema knows neither RE2 nor CEL; the comments of the fields say them in words.
func applyBounds(s *schema, rules *validate.FieldRules, field protoreflect.FieldDescriptor) {
	if rules.GetIgnore() != validate.Ignore_IGNORE_UNSPECIFIED {
		return // The rules do not hold for every value.
	}
	switch {
	case field.IsMap():
	case field.IsList():
		s.MinItems = rules.GetRepeated().GetMinItems()
		if rules.GetRepeated().HasMaxItems() {
			s.MaxItems = new(rules.GetRepeated().GetMaxItems())
		}
		s.UniqueItems = rules.GetRepeated().GetUnique()
		if s.Items != nil && s.Items.Ref == "" {
			applyScalarBounds(s.Items, rules.GetRepeated().GetItems(), field.Kind())
		}
	default:
		applyScalarBounds(s, rules, field.Kind())
		required := rules.GetRequired() || hasBehavior(field, annotations.FieldBehavior_REQUIRED)
		if required && !field.HasPresence() && field.Kind() == protoreflect.StringKind {
			s.MinLength = max(s.MinLength, 1) // Without presence, to be set is not to be empty.
		}
	}
}

func applyScalarBounds(s *schema, rules *validate.FieldRules, kind protoreflect.Kind) {
	switch kind { //nolint:exhaustive // 64-bit integers are strings in JSON; the rest has no rules in the contract
	case protoreflect.StringKind:
		applyStringBounds(s, rules.GetString())
	case protoreflect.Int32Kind:
		applyNumberBounds(s, rules.GetInt32())
	}
}

// applyStringBounds counts in characters, as JSON Schema does. A string of n bytes has at most n characters, and at
// least n/4: no character has more than four bytes.
func applyStringBounds(s *schema, rules *validate.StringRules) {
	s.MinLength = max(rules.GetMinLen(), rules.GetLen(),
		ceilDiv(max(rules.GetMinBytes(), rules.GetLenBytes()), utf8.UTFMax))
	for _, value := range rules.GetIn() {
		s.Enum = append(s.Enum, json.RawMessage(strconv.Quote(value)))
	}
	for _, upper := range []struct {
		isSet bool
		value uint64
	}{
		{rules.HasMaxLen(), rules.GetMaxLen()},
		{rules.HasLen(), rules.GetLen()},
		{rules.HasMaxBytes(), rules.GetMaxBytes()},
		{rules.HasLenBytes(), rules.GetLenBytes()},
	} {
		if upper.isSet && (s.MaxLength == nil || upper.value < *s.MaxLength) {
			s.MaxLength = new(upper.value)
		}
	}
}

func ceilDiv(n, by uint64) uint64 { return (n + by - 1) / by }

func applyNumberBounds(s *schema, rules *validate.Int32Rules) {
	var lower, upper *int64
	switch {
	case rules.HasGte():
		lower = new(int64(rules.GetGte()))
	case rules.HasGt():
		lower = new(int64(rules.GetGt()) + 1)
	}
	switch {
	case rules.HasLte():
		upper = new(int64(rules.GetLte()))
	case rules.HasLt():
		upper = new(int64(rules.GetLt()) - 1)
	}
	if lower != nil && upper != nil && *lower > *upper {
		return // That means "outside of them", which has no keyword.
	}
	s.Minimum, s.Maximum = lower, upper
}
