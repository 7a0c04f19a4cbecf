package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// find returns the descriptor with a full name.
func find[D protoreflect.Descriptor](name string) (D, error) {
	var none D
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return none, fmt.Errorf("find %q: %w", name, err)
	}
	descriptor, ok := found.(D)
	if !ok {
		return none, fmt.Errorf("%s is a %T", name, found)
	}
	return descriptor, nil
}

// completeSchemas completes the schema of every message of the contract. Those of enums are complete.
func completeSchemas(doc *document) error {
	for name, s := range doc.Components.Schemas {
		if !strings.HasPrefix(name, contract+".") || s.Enum != nil {
			continue
		}
		message, err := find[protoreflect.MessageDescriptor](name)
		if err != nil {
			return err
		}
		if err := completeObject(s, message); err != nil {
			return fmt.Errorf("schema %s: %w", name, err)
		}
	}
	return nil
}

// completeObject completes the schema of a message, which may omit fields.
func completeObject(s *schema, message protoreflect.MessageDescriptor) error {
	examples, err := exampleMembers(message)
	if err != nil {
		return err
	}
	for _, property := range s.Properties {
		field := message.Fields().ByJSONName(property.name)
		if field == nil {
			return fmt.Errorf("%s has no field for the property %s", message.FullName(), property.name)
		}
		if err := completeField(property.value, field, examples); err != nil {
			return err
		}
		if alwaysPresent(field) && !slices.Contains(s.Required, property.name) {
			s.Required = append(s.Required, property.name)
		}
	}
	position := func(name string) int { return message.Fields().ByJSONName(name).Index() }
	slices.SortFunc(s.Properties, func(a, b member[*schema]) int {
		return cmp.Compare(position(a.name), position(b.name))
	})
	slices.SortFunc(s.Required, func(a, b string) int { return cmp.Compare(position(a), position(b)) })
	return nil
}

// completeField adds the bounds and the example of a field. Messages and enums have separate schemas.
func completeField(s *schema, field protoreflect.FieldDescriptor, examples map[string]json.RawMessage) error {
	rules, err := protovalidate.ResolveFieldRules(field)
	if err != nil {
		return fmt.Errorf("rules of %s: %w", field.FullName(), err)
	}
	applyBounds(s, rules, field)
	inline := s.Ref == "" && s.AllOf == nil && !field.IsList() && !field.IsMap()
	if value, ok := examples[field.JSONName()]; ok && inline {
		s.Examples = []json.RawMessage{value}
	}
	return nil
}

// alwaysPresent reports whether every response contains the field. The gateway writes unset fields that have a default.
// Clients may omit the fields that they send.
func alwaysPresent(field protoreflect.FieldDescriptor) bool {
	return !field.HasPresence() && hasBehavior(field, annotations.FieldBehavior_OUTPUT_ONLY)
}
