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
	// inPath is where a parameter is that is a part of the path.
	inPath = "path"
	// caller is the id of whoever calls, as JSON.
	caller = `"me"`
	// bearer is the name of the security scheme, which base.json describes.
	bearer = "bearer"
)

// completeOperations completes every operation, and merges paths that differ only in the names of their parameters:
// for OpenAPI they are one path.
func completeOperations(doc *document) error {
	var merged ordered[pathItem]
	for _, path := range doc.Paths {
		for _, verb := range path.value {
			op := verb.value
			name, err := completeOperation(doc, op, path.name)
			if err != nil {
				return fmt.Errorf("operation %s of %s: %w", op.OperationID, path.name, err)
			}
			item, _ := merged.get(name)
			if _, taken := item.get(verb.name); taken {
				return fmt.Errorf("operation %s: there is another for %s %s", op.OperationID, verb.name, name)
			}
			item.set(verb.name, op)
			merged.set(name, item)
		}
	}
	doc.Paths = merged
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

// completeOperation completes an operation, and returns its path with the names that its parameters have then.
func completeOperation(doc *document, op *operation, path string) (string, error) {
	method, err := methodOf(op)
	if err != nil {
		return "", err
	}
	if op.Security, err = security(method); err != nil {
		return "", err
	}
	for _, param := range op.Parameters {
		name := param.Name
		if err := completeParameter(param, method.Input()); err != nil {
			return "", fmt.Errorf("parameter %s: %w", name, err)
		}
		path = strings.Replace(path, "{"+name+"}", "{"+param.Name+"}", 1)
	}
	if err := completeRequest(doc, op.RequestBody, method); err != nil {
		return "", fmt.Errorf("request body: %w", err)
	}
	if err := completeAnswer(op.Responses, method.Output()); err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	if err := addErrors(op, method); err != nil {
		return "", err
	}
	return path, addHeaders(op, method)
}

func security(method protoreflect.MethodDescriptor) ([]map[string][]string, error) {
	switch policy := policyOf(method); policy {
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

func policyOf(method protoreflect.MethodDescriptor) gatehousev1.Policy {
	policy, _ := proto.GetExtension(method.Options(), gatehousev1.E_Policy).(gatehousev1.Policy)
	return policy
}

// completeParameter finds the field by the parameter's name, in which dots lead into messages. A parameter of the path
// is named by the field alone from then on, and in the spelling of the query: the path /users/{user.id} is /users/{id}.
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
		param.Name = inner
		err := completeParameter(param, field.Message())
		param.Example = json.RawMessage(caller) // The field's own example is somebody's id, whom the caller may not change.
		return err
	}
	examples, err := exampleMembers(message)
	if err != nil {
		return err
	}
	if err := completeField(param.Schema, field, examples); err != nil {
		return err
	}
	param.Schema.Examples = nil
	if param.In == inPath {
		param.Name = field.JSONName()
		param.Schema.MinLength = max(param.Schema.MinLength, 1) // A segment of a path is not empty.
		param.Example, _ = examples.get(field.JSONName())
	}
	return nil
}

// completeRequest names the schema of the body after the request, and gives the body an example that can be sent as it
// stands: Swagger UI offers it for editing.
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
	body.Required = len(media.Schema.Properties) > 0
	if media.Example, err = only(whole, media.Schema.Properties); err != nil {
		return err
	}
	name := string(method.Input().FullName())
	doc.Components.Schemas.set(name, media.Schema)
	media.Schema = &schema{Ref: schemaRef + name}
	return nil
}

// completeBody completes the schema of a body, and returns the message that the body is or is a part of.
func completeBody(
	doc *document, media *mediaType, input protoreflect.MessageDescriptor,
) (protoreflect.MessageDescriptor, error) {
	if media.Schema.Ref == "" {
		return input, completeObject(media.Schema, input)
	}
	message, err := messageOf(media.Schema.Ref)
	if err == nil { // The body is one field: a resource, of which the server alone says a part.
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
	part.Description, part.Properties, part.Required = "The new values.", nil, nil
	for _, property := range whole.Properties {
		if !hasBehavior(message.Fields().ByJSONName(property.name), annotations.FieldBehavior_OUTPUT_ONLY) {
			part.Properties.set(property.name, property.value)
		}
	}
	return &part, nil
}

// only leaves out the members that the body does not have, because they are in the path, and those that a header can
// stand for: they name one request or one version, and an example is sent again and again.
func only(whole json.RawMessage, properties ordered[*schema]) (json.RawMessage, error) {
	var all, example ordered[json.RawMessage]
	if err := decode(whole, &all); err != nil {
		return nil, err
	}
	for _, m := range all {
		if _, ok := properties.get(m.name); ok && !hasHeader(m.name) {
			example.set(m.name, m.value)
		}
	}
	return encode(example)
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
