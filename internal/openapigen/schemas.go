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

// completeSchemas completes the schema of every message of the contract.
func completeSchemas(doc *document) error {
	for _, component := range doc.Components.Schemas {
		if !strings.HasPrefix(component.name, contract+".") {
			continue
		}
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(component.name))
		if err != nil {
			return fmt.Errorf("schema %s: %w", component.name, err)
		}
		message, ok := found.(protoreflect.MessageDescriptor)
		if !ok {
			continue // An enum has neither bounds nor an example.
		}
		if err := completeObject(component.value, message); err != nil {
			return fmt.Errorf("schema %s: %w", component.name, err)
		}
	}
	return nil
}

// completeObject completes the schema of a message, or of those of its fields that it has.
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
		if alwaysAnswered(field) && !slices.Contains(s.Required, property.name) {
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

// completeField adds what a field's rules say. A message or an enum has a schema of its own, which says it all.
func completeField(s *schema, field protoreflect.FieldDescriptor, examples ordered[json.RawMessage]) error {
	rules, err := protovalidate.ResolveFieldRules(field)
	if err != nil {
		return fmt.Errorf("rules of %s: %w", field.FullName(), err)
	}
	applyBounds(s, rules, field)
	own := s.Ref == "" && s.AllOf == nil && !field.IsList() && !field.IsMap()
	if value, ok := examples.get(field.JSONName()); ok && own {
		s.Examples = []json.RawMessage{value}
	}
	return nil
}

// alwaysAnswered tells whether every answer has the field: the gateway writes fields that are at their default, if
// they have one. It does not hold for a field that clients send, since they may leave it out.
func alwaysAnswered(field protoreflect.FieldDescriptor) bool {
	return !field.HasPresence() && hasBehavior(field, annotations.FieldBehavior_OUTPUT_ONLY)
}
