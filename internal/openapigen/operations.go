package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	// contract is the protobuf package that the document describes.
	contract = "gatehouse.v1"
	// jsonType is the only media type of the REST API.
	jsonType = "application/json"
	// schemaRef is how a document refers to a schema.
	schemaRef = "#/components/schemas/"
	// bearer is the name of the security scheme, given by the head of the document in the contract.
	bearer = "bearer"
)

func completeOperations(doc *document) error {
	for _, path := range doc.Paths {
		for _, op := range path.value.operations() {
			method, err := methodOf(op)
			if err == nil {
				err = completeOperation(doc, op, method)
			}
			if err != nil {
				return fmt.Errorf("operation %s of %s: %w", op.OperationID, path.name, err)
			}
		}
	}
	return nil
}

// methodOf finds the method by the operation's id, which is SERVICE_METHOD.
func methodOf(op *operation) (protoreflect.MethodDescriptor, error) {
	service, method, _ := strings.Cut(op.OperationID, "_")
	name := protoreflect.FullName(contract + "." + service + "." + method)
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, fmt.Errorf("find method %s: %w", name, err)
	}
	descriptor, ok := found.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is not a method", name)
	}
	return descriptor, nil
}

func completeOperation(doc *document, op *operation, method protoreflect.MethodDescriptor) error {
	var err error
	if op.Security, err = security(method); err != nil {
		return err
	}
	for _, param := range op.Parameters {
		if err := completeParameter(param, method.Input()); err != nil {
			return fmt.Errorf("parameter %s: %w", param.Name, err)
		}
	}
	if err := completeRequest(doc, op.RequestBody, method); err != nil {
		return fmt.Errorf("request body: %w", err)
	}
	if err := completeAnswer(op.Responses, method.Output()); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return addHeaders(op, method)
}

func security(method protoreflect.MethodDescriptor) ([]map[string][]string, error) {
	policy, _ := proto.GetExtension(method.Options(), gatehousev1.E_Policy).(gatehousev1.Policy)
	switch policy {
	case gatehousev1.Policy_POLICY_PUBLIC:
		return []map[string][]string{}, nil
	case gatehousev1.Policy_POLICY_AUTHENTICATED, gatehousev1.Policy_POLICY_ADMIN:
		return []map[string][]string{{bearer: {}}}, nil
	case gatehousev1.Policy_POLICY_UNSPECIFIED:
		fallthrough
	default:
		return nil, fmt.Errorf("the policy %s has no security requirement yet", policy)
	}
}

// completeParameter finds the field by the parameter's name, in which dots lead into messages.
func completeParameter(param *parameter, message protoreflect.MessageDescriptor) error {
	outer, inner, nested := strings.Cut(param.Name, ".")
	field := message.Fields().ByJSONName(outer)
	if field == nil {
		field = message.Fields().ByTextName(outer) // In a path, names are as the contract writes them.
	}
	switch {
	case field == nil:
		return fmt.Errorf("%s has no such field", message.FullName())
	case nested && field.Message() != nil:
		rest := *param
		rest.Name = inner
		err := completeParameter(&rest, field.Message())
		param.Example = rest.Example
		return err
	}
	examples, err := exampleMembers(message)
	if err != nil {
		return err
	}
	if err := completeField(param.Schema, field, examples); err != nil {
		return err
	}
	if len(param.Schema.Examples) > 0 {
		param.Example, param.Schema.Examples = param.Schema.Examples[0], nil
	} else if field.Enum() != nil { // Its schema is shared, and has no example of this field.
		param.Example, _ = examples.get(field.JSONName())
	}
	return nil
}

// completeRequest gives the body an example that can be sent as it stands: Swagger UI offers it for editing.
func completeRequest(doc *document, body *requestBody, method protoreflect.MethodDescriptor) error {
	if body == nil {
		return nil
	}
	media, ok := body.Content.get(jsonType)
	if !ok {
		return fmt.Errorf("it has no %s", jsonType)
	}
	message, err := completeBody(doc, media, method.Input())
	if err != nil {
		return err
	}
	whole, err := exampleRequest(message)
	if err != nil {
		return err
	}
	media.Example = whole
	if media.Schema.Ref == "" {
		media.Example, err = only(whole, media.Schema.Properties)
	}
	return err
}

// completeBody completes the schema of a body, and gives the message that the body is or is a part of.
func completeBody(
	doc *document, media *mediaType, input protoreflect.MessageDescriptor,
) (protoreflect.MessageDescriptor, error) {
	if media.Schema.Ref == "" {
		return input, completeObject(media.Schema, input)
	}
	message, err := messageOf(media.Schema.Ref)
	if err == nil && message != input { // The body is one field: a resource, of which the server alone says a part.
		media.Schema, err = writable(doc, media.Schema.Ref, message)
	}
	return message, err
}

// writable is the schema of what clients may send of a resource: of its schema those properties that are not
// output-only, none of which is required.
func writable(doc *document, ref string, message protoreflect.MessageDescriptor) (*schema, error) {
	whole, ok := doc.Components.Schemas.get(strings.TrimPrefix(ref, schemaRef))
	if !ok {
		return nil, fmt.Errorf("there is no schema %s", ref)
	}
	part := *whole
	part.Properties, part.Required = nil, nil
	for _, property := range whole.Properties {
		if !hasBehavior(message.Fields().ByJSONName(property.name), annotations.FieldBehavior_OUTPUT_ONLY) {
			part.Properties.set(property.name, property.value)
		}
	}
	return &part, nil
}

// only leaves out the members that the body does not have, because they are in the path.
func only(whole json.RawMessage, properties ordered[*schema]) (json.RawMessage, error) {
	var all, kept ordered[json.RawMessage]
	if err := decode(whole, &all); err != nil {
		return nil, err
	}
	for _, m := range all {
		if _, ok := properties.get(m.name); ok {
			kept.set(m.name, m.value)
		}
	}
	return encode(kept)
}

func completeAnswer(responses ordered[*response], message protoreflect.MessageDescriptor) error {
	success, ok := responses.get("200")
	if !ok {
		return fmt.Errorf("there is none for %s", message.FullName())
	}
	media, ok := success.Content.get(jsonType)
	if !ok || media.Schema.Ref != schemaRef+string(message.FullName()) {
		return fmt.Errorf("it is not %s as %s", message.FullName(), jsonType)
	}
	var err error
	media.Example, err = exampleAnswer(message)
	return err
}

func messageOf(ref string) (protoreflect.MessageDescriptor, error) {
	name := strings.TrimPrefix(ref, schemaRef)
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("find message %s: %w", name, err)
	}
	return kind.Descriptor(), nil
}
