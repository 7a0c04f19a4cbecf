package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// adminsOnly is omitted from examples, because other callers must not send it.
const adminsOnly protoreflect.FullName = contract + ".User.app_metadata"

// knownExample returns the example of a message of google.protobuf, or nil for other messages.
func knownExample(message protoreflect.MessageDescriptor) protoreflect.Message {
	for _, known := range []proto.Message{
		timestamppb.New(time.Date(2026, time.January, 2, 15, 4, 5, 678901000, time.UTC)),
		&fieldmaskpb.FieldMask{Paths: []string{"full_name", "locale"}},
		&structpb.Struct{Fields: map[string]*structpb.Value{"theme": structpb.NewStringValue("dark")}},
	} {
		if known.ProtoReflect().Descriptor().FullName() == message.FullName() {
			return known.ProtoReflect()
		}
	}
	return nil
}

// exampleRequest returns a message as a client sends it.
func exampleRequest(message protoreflect.MessageDescriptor) (json.RawMessage, error) {
	return exampleJSON(message, annotations.FieldBehavior_OUTPUT_ONLY, protojson.MarshalOptions{})
}

// exampleResponse returns a message as the gateway writes it.
func exampleResponse(message protoreflect.MessageDescriptor) (json.RawMessage, error) {
	return exampleJSON(message, annotations.FieldBehavior_INPUT_ONLY, protojson.MarshalOptions{EmitDefaultValues: true})
}

// exampleMembers returns the examples of a message's fields by JSON name.
func exampleMembers(message protoreflect.MessageDescriptor) (map[string]json.RawMessage, error) {
	raw, err := exampleJSON(message, annotations.FieldBehavior_FIELD_BEHAVIOR_UNSPECIFIED, protojson.MarshalOptions{})
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	return members, json.Unmarshal(raw, &members)
}

func exampleJSON(
	message protoreflect.MessageDescriptor, without annotations.FieldBehavior, options protojson.MarshalOptions,
) (json.RawMessage, error) {
	filled, err := exampleMessage(message, without)
	if err != nil {
		return nil, err
	}
	raw, err := options.Marshal(filled.Interface())
	if err != nil {
		return nil, fmt.Errorf("example of %s: %w", message.FullName(), err)
	}
	return raw, nil
}

// exampleMessage returns a message with the examples of its fields, except fields with the given behavior.
func exampleMessage(
	descriptor protoreflect.MessageDescriptor, without annotations.FieldBehavior,
) (protoreflect.Message, error) {
	if known := knownExample(descriptor); known != nil {
		return known, nil
	}
	message := dynamicpb.NewMessage(descriptor)
	for i := range descriptor.Fields().Len() {
		field := descriptor.Fields().Get(i)
		if field.FullName() == adminsOnly || hasBehavior(field, without) || field.IsMap() {
			continue
		}
		value, err := exampleValue(field, without)
		switch {
		case err != nil:
			return nil, err
		case !value.IsValid():
		case field.IsList():
			message.Mutable(field).List().Append(value)
		default:
			message.Set(field, value)
		}
	}
	return message, nil
}

// exampleValue returns a value of the field or of an item of the list, or an invalid value if the contract contains no
// example.
func exampleValue(
	field protoreflect.FieldDescriptor, without annotations.FieldBehavior,
) (protoreflect.Value, error) {
	value, err := ruleExample(field)
	switch {
	case err != nil || value.IsValid():
		return value, err
	case field.Enum() != nil: // The value 0 is unspecified.
		return protoreflect.ValueOfEnum(field.Enum().Values().Get(1).Number()), nil
	case field.Message() != nil:
		message, err := exampleMessage(field.Message(), without)
		return protoreflect.ValueOfMessage(message), err
	default:
		return value, nil
	}
}

// ruleExample returns the first `example` of the field's protovalidate rules, of any type.
func ruleExample(field protoreflect.FieldDescriptor) (protoreflect.Value, error) {
	var none protoreflect.Value
	rules, err := protovalidate.ResolveFieldRules(field)
	if err != nil {
		return none, fmt.Errorf("rules of %s: %w", field.FullName(), err)
	}
	if field.IsList() {
		rules = rules.GetRepeated().GetItems()
	}
	reflected := rules.ProtoReflect()
	typed := reflected.WhichOneof(reflected.Descriptor().Oneofs().ByName("type"))
	if typed == nil {
		return none, nil
	}
	ofType := reflected.Get(typed).Message()
	examples := ofType.Descriptor().Fields().ByName("example")
	if examples == nil || ofType.Get(examples).List().Len() == 0 {
		return none, nil
	}
	value := ofType.Get(examples).List().Get(0)
	if number, ok := value.Interface().(int32); ok && field.Enum() != nil { // The rules of enums contain numbers.
		value = protoreflect.ValueOfEnum(protoreflect.EnumNumber(number))
	}
	return value, nil
}

func hasBehavior(field protoreflect.FieldDescriptor, behavior annotations.FieldBehavior) bool {
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behaviors, behavior)
}
