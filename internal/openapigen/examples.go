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
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// knownExample stands for messages of google.protobuf that have no example of their own, and is nil for others.
func knownExample(field protoreflect.FieldDescriptor) protoreflect.Message {
	for _, known := range []proto.Message{
		timestamppb.New(time.Date(2026, time.January, 2, 15, 4, 5, 678901000, time.UTC)),
		&fieldmaskpb.FieldMask{Paths: []string{"full_name", "locale"}},
		&structpb.Struct{Fields: map[string]*structpb.Value{"theme": structpb.NewStringValue("dark")}},
	} {
		if reflected := known.ProtoReflect(); reflected.Descriptor().FullName() == field.Message().FullName() {
			return reflected
		}
	}
	return nil
}

// adminsOnly is what others may not send: an example is for everybody.
const adminsOnly protoreflect.FullName = contract + ".User.app_metadata"

// exampleRequest is a message as a client sends it, made of the examples of its fields.
func exampleRequest(message protoreflect.MessageDescriptor) (json.RawMessage, error) {
	return exampleJSON(message, annotations.FieldBehavior_OUTPUT_ONLY, protojson.MarshalOptions{})
}

// exampleAnswer is a message as the gateway writes it.
func exampleAnswer(message protoreflect.MessageDescriptor) (json.RawMessage, error) {
	return exampleJSON(message, annotations.FieldBehavior_INPUT_ONLY, protojson.MarshalOptions{EmitDefaultValues: true})
}

// exampleMembers are the examples of a message's fields by their JSON names.
func exampleMembers(message protoreflect.MessageDescriptor) (ordered[json.RawMessage], error) {
	raw, err := exampleJSON(message, annotations.FieldBehavior_FIELD_BEHAVIOR_UNSPECIFIED, protojson.MarshalOptions{})
	if err != nil {
		return nil, err
	}
	var members ordered[json.RawMessage]
	return members, decode(raw, &members)
}

func exampleJSON(
	message protoreflect.MessageDescriptor, without annotations.FieldBehavior, as protojson.MarshalOptions,
) (json.RawMessage, error) {
	filled, err := exampleMessage(message, without, nil)
	if err != nil {
		return nil, err
	}
	raw, err := as.Marshal(filled.Interface())
	if err != nil {
		return nil, fmt.Errorf("example of %s: %w", message.FullName(), err)
	}
	return raw, nil
}

// exampleMessage fills a message, but not inside of itself and not the fields with the behavior to leave out.
func exampleMessage(
	descriptor protoreflect.MessageDescriptor, without annotations.FieldBehavior, outer []protoreflect.FullName,
) (protoreflect.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", descriptor.FullName(), err)
	}
	message := kind.New()
	outer = append(slices.Clone(outer), descriptor.FullName())
	for i := range descriptor.Fields().Len() {
		field := descriptor.Fields().Get(i)
		oneof := field.ContainingOneof()
		switch {
		case field.FullName() == adminsOnly, hasBehavior(field, without), oneof != nil && message.WhichOneof(oneof) != nil:
			continue
		case field.Message() != nil && slices.Contains(outer, field.Message().FullName()):
			continue
		}
		value, err := exampleValue(field, without, outer)
		if err != nil {
			return nil, err
		}
		setExample(message, field, value)
	}
	return message, nil
}

func setExample(message protoreflect.Message, field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch {
	case !value.IsValid():
	case field.IsList():
		message.Mutable(field).List().Append(value)
	default:
		message.Set(field, value)
	}
}

// exampleValue is one value of the field, or none if the contract gives no example. Maps have none.
func exampleValue(
	field protoreflect.FieldDescriptor, without annotations.FieldBehavior, outer []protoreflect.FullName,
) (protoreflect.Value, error) {
	var none protoreflect.Value
	if field.IsMap() {
		return none, nil
	}
	value, err := ruleExample(field)
	if err != nil || value.IsValid() {
		return value, err
	}
	if enum := field.Enum(); enum != nil { // The value at 0 is none.
		return protoreflect.ValueOfEnum(enum.Values().Get(1).Number()), nil
	}
	if field.Message() == nil {
		return none, nil
	}
	if known := knownExample(field); known != nil {
		return protoreflect.ValueOfMessage(known), nil
	}
	message, err := exampleMessage(field.Message(), without, outer)
	if err != nil {
		return none, err
	}
	return protoreflect.ValueOfMessage(message), nil
}

// ruleExample is the first `example` of the field's protovalidate rules, whatever their type.
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
	if number, ok := value.Interface().(int32); ok && field.Enum() != nil { // The rules of enums speak of numbers.
		value = protoreflect.ValueOfEnum(protoreflect.EnumNumber(number))
	}
	return value, nil
}

func hasBehavior(field protoreflect.FieldDescriptor, behavior annotations.FieldBehavior) bool {
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behaviors, behavior)
}
