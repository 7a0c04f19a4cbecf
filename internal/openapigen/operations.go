package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	// contract is the protobuf package that the document describes.
	contract = "gatehouse.v1"
	// jsonType is the only media type of the REST API.
	jsonType = "application/json"
	// schemaRef is the prefix of references to schemas.
	schemaRef = "#/components/schemas/"
	// inPath is the location of path parameters.
	inPath = "path"
	// caller is the JSON string that stands for the id of the caller.
	caller = `"me"`
	// bearer is the name of the security scheme in base.json.
	bearer = "bearer"
)

// completeOperations completes every operation, and merges paths that differ only in the names of their parameters,
// which OpenAPI does not distinguish.
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
				return fmt.Errorf("operation %s: duplicate of %s %s", op.OperationID, verb.name, name)
			}
			item.set(verb.name, op)
			merged.set(name, item)
		}
	}
	doc.Paths = merged
	return nil
}

// methodOf returns the method with the operation's id, which is SERVICE_METHOD.
func methodOf(op *operation) (protoreflect.MethodDescriptor, error) {
	return find[protoreflect.MethodDescriptor](contract + "." + strings.Replace(op.OperationID, "_", ".", 1))
}

// completeOperation completes an operation, and returns its path with the new names of its parameters.
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
	if op.RequestBody != nil {
		if err := completeRequest(doc, op.RequestBody, method.Input()); err != nil {
			return "", fmt.Errorf("request body: %w", err)
		}
	}
	if err := completeResponse(op.Responses["200"], method.Output()); err != nil {
		return "", fmt.Errorf("response: %w", err)
	}
	addHeaders(op, method)
	return path, addErrors(op, method)
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
		return nil, fmt.Errorf("the policy %s has no security requirement", policy)
	}
}

func policyOf(method protoreflect.MethodDescriptor) gatehousev1.Policy {
	policy, _ := proto.GetExtension(method.Options(), gatehousev1.E_Policy).(gatehousev1.Policy)
	return policy
}

// completeParameter completes the parameter of a field, whose name is a path of fields. It renames path parameters to
// the JSON name of the innermost field: /users/{user.id} becomes /users/{id}.
func completeParameter(param *parameter, message protoreflect.MessageDescriptor) error {
	outer, inner, nested := strings.Cut(param.Name, ".")
	field := message.Fields().ByJSONName(outer)
	if field == nil {
		field = message.Fields().ByTextName(outer) // Path parameters have the names of the contract.
	}
	switch {
	case field == nil:
		return fmt.Errorf("%s has no such field", message.FullName())
	case nested && field.Message() != nil:
		param.Name = inner
		err := completeParameter(param, field.Message())
		param.Example = json.RawMessage(caller) // The example of the field is the id of another user.
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
		param.Schema.MinLength = max(param.Schema.MinLength, 1) // A path segment is not empty.
		param.Example = examples[field.JSONName()]
	}
	return nil
}

// completeRequest names the schema of the body after the request, and adds an example that can be sent unchanged, which
// Swagger UI offers for editing.
func completeRequest(doc *document, body *requestBody, input protoreflect.MessageDescriptor) error {
	media, ok := body.Content[jsonType]
	if !ok {
		return fmt.Errorf("no %s", jsonType)
	}
	message := input
	if whole, isRef := strings.CutPrefix(media.Schema.Ref, schemaRef); isRef { // The body is one field: a resource.
		var err error
		if message, err = find[protoreflect.MessageDescriptor](whole); err != nil {
			return err
		}
		media.Schema = writable(doc.Components.Schemas[whole], message)
	} else if err := completeObject(media.Schema, input); err != nil {
		return err
	}
	example, err := exampleRequest(message)
	if err != nil {
		return err
	}
	if media.Example, err = sendable(example, media.Schema.Properties); err != nil {
		return err
	}
	body.Required = len(media.Schema.Properties) > 0
	doc.Components.Schemas[string(input.FullName())] = media.Schema
	media.Schema = &schema{Ref: schemaRef + string(input.FullName())}
	return nil
}

// writable returns the schema of an update of a resource: its properties except the output-only ones, all optional.
func writable(resource *schema, message protoreflect.MessageDescriptor) *schema {
	part := *resource
	part.Description, part.Properties, part.Required = "The new values.", nil, nil
	for _, property := range resource.Properties {
		if !hasBehavior(message.Fields().ByJSONName(property.name), annotations.FieldBehavior_OUTPUT_ONLY) {
			part.Properties.set(property.name, property.value)
		}
	}
	return &part
}

// sendable returns the members of an example that are properties of the body, without fields for which a header exists:
// those identify one request or one version, and an example is sent repeatedly.
func sendable(whole json.RawMessage, properties ordered[*schema]) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(whole, &members); err != nil {
		return nil, fmt.Errorf("read the example: %w", err)
	}
	var example ordered[json.RawMessage]
	for _, property := range properties {
		value, ok := members[property.name]
		if header, _ := headerOf(property.name); ok && header == "" {
			example.set(property.name, value)
		}
	}
	return encode(example)
}

func completeResponse(success *response, message protoreflect.MessageDescriptor) error {
	if success == nil {
		return fmt.Errorf("no response %s", message.FullName())
	}
	media, ok := success.Content[jsonType]
	if !ok || media.Schema.Ref != schemaRef+string(message.FullName()) {
		return fmt.Errorf("not %s as %s", message.FullName(), jsonType)
	}
	var err error
	media.Example, err = exampleResponse(message)
	return err
}
