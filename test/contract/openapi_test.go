// Package contract_test checks the OpenAPI document against the contract and the rules of OpenAPI.
package contract_test

import (
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"github.com/pb33f/go-yaml"
	"github.com/pb33f/libopenapi"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/pb33f/libopenapi/orderedmap"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/openapi"
)

func readDocument(t *testing.T) (libopenapi.Document, *v3.Document) {
	t.Helper()
	doc, err := libopenapi.NewDocument(openapi.Document())
	if err != nil {
		t.Fatalf("read the document: %v", err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatalf("build the model: %v", err)
	}
	return doc, &model.Model
}

// endpoint is an operation and the method of the contract that it is made of.
type endpoint struct {
	op     *v3.Operation
	path   string
	method protoreflect.MethodDescriptor
}

// endpoints pairs every method of the contract that has a REST route with its operation, found by that route.
func endpoints(t *testing.T, doc *v3.Document) map[string]endpoint {
	t.Helper()
	found := map[string]endpoint{}
	for method := range methods() {
		rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
		verb, path := route(t, rule)
		path = pathParameter.ReplaceAllString(path, "{$1}")
		path = strings.ReplaceAll(path, "{user_id}", "{userId}")
		item, ok := doc.Paths.PathItems.Get(path)
		if !ok {
			t.Errorf("%s: the document has no path %s", method.FullName(), path)
			continue
		}
		op, ok := item.GetOperations().Get(verb)
		if !ok {
			t.Errorf("%s: the document has no %s of %s", method.FullName(), verb, path)
			continue
		}
		found[op.OperationId] = endpoint{op, path, method}
	}
	if len(found) == 0 {
		t.Fatal("no endpoint was found")
	}
	return found
}

// pathParameter is a parameter of a route, whose message the document does not name: {user.id} is {id}.
var pathParameter = regexp.MustCompile(`{(?:\w+\.)?(\w+)}`)

func methods() iter.Seq[protoreflect.MethodDescriptor] {
	return func(yield func(protoreflect.MethodDescriptor) bool) {
		protoregistry.GlobalFiles.RangeFilesByPackage("gatehouse.v1", func(file protoreflect.FileDescriptor) bool {
			for i := range file.Services().Len() {
				service := file.Services().Get(i)
				for j := range service.Methods().Len() {
					if !yield(service.Methods().Get(j)) {
						return false
					}
				}
			}
			return true
		})
	}
}

func route(t *testing.T, rule *annotations.HttpRule) (verb, path string) {
	t.Helper()
	switch pattern := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return strings.ToLower(http.MethodGet), pattern.Get
	case *annotations.HttpRule_Put:
		return strings.ToLower(http.MethodPut), pattern.Put
	case *annotations.HttpRule_Post:
		return strings.ToLower(http.MethodPost), pattern.Post
	case *annotations.HttpRule_Patch:
		return strings.ToLower(http.MethodPatch), pattern.Patch
	case *annotations.HttpRule_Delete:
		return strings.ToLower(http.MethodDelete), pattern.Delete
	default:
		t.Fatalf("unknown kind of route: %v", rule)
		return "", ""
	}
}

// TestDocumentVersion checks that the document is valid OpenAPI 3.1.
func TestDocumentVersion(t *testing.T) {
	t.Parallel()
	doc, _ := readDocument(t)
	if version := doc.GetVersion(); !strings.HasPrefix(version, "3.1.") {
		t.Errorf("the version is %s, want 3.1", version)
	}
	_, faults := schema_validation.ValidateOpenAPIDocument(doc)
	for _, fault := range faults {
		t.Error(fault)
		for _, cause := range fault.SchemaValidationErrors {
			t.Error(cause)
		}
	}
}

// TestDocumentEndpoints checks that the document has every operation of the contract, and no other.
func TestDocumentEndpoints(t *testing.T) {
	t.Parallel()
	_, model := readDocument(t)
	known := endpoints(t, model)
	for path, item := range model.Paths.PathItems.FromOldest() {
		for verb, op := range item.GetOperations().FromOldest() {
			if _, ok := known[op.OperationId]; !ok {
				t.Errorf("%s %s (%s) is not in the contract", verb, path, op.OperationId)
			}
		}
	}
	if strings.Contains(string(openapi.Document()), "gatehouse.internal") {
		t.Error("the document speaks of an internal package")
	}
}

// TestDocumentSecurity checks that the security of each operation follows the policy of its method.
func TestDocumentSecurity(t *testing.T) {
	t.Parallel()
	_, model := readDocument(t)
	scheme, ok := model.Components.SecuritySchemes.Get("bearer")
	if !ok || scheme.Type != "http" || scheme.Scheme != "bearer" {
		t.Errorf("the security scheme bearer is %+v, want HTTP bearer", scheme)
	}
	for id, endpoint := range endpoints(t, model) {
		policy, _ := proto.GetExtension(endpoint.method.Options(), gatehousev1.E_Policy).(gatehousev1.Policy)
		if endpoint.op.Security == nil {
			t.Errorf("%s does not say who may call it", id)
			continue
		}
		var schemes []string
		for _, requirement := range endpoint.op.Security {
			schemes = slices.AppendSeq(schemes, requirement.Requirements.KeysFromOldest())
		}
		want := map[gatehousev1.Policy][]string{
			gatehousev1.Policy_POLICY_PUBLIC:        nil,
			gatehousev1.Policy_POLICY_AUTHENTICATED: {"bearer"},
			gatehousev1.Policy_POLICY_ADMIN:         {"bearer"},
		}
		schemesOfPolicy, ok := want[policy]
		if !ok || !slices.Equal(schemes, schemesOfPolicy) {
			t.Errorf("%s wants %q, but its policy is %s", id, schemes, policy)
		}
	}
}

// TestDocumentRequestExamples is what makes "Try it out" work: the example of the body and those of the parameters
// make a request that no rule of the contract refuses.
func TestDocumentRequestExamples(t *testing.T) {
	t.Parallel()
	_, model := readDocument(t)
	for id, endpoint := range endpoints(t, model) {
		members := map[string]any{}
		if body := endpoint.op.RequestBody; body != nil {
			media := jsonBody(t, id, body.Content)
			accepts(t, id, media.Schema, exampleOf(t, id, media.Example))
			sent := members
			rule, _ := proto.GetExtension(endpoint.method.Options(), annotations.E_Http).(*annotations.HttpRule)
			if field := rule.GetBody(); field != "*" {
				sent = map[string]any{}
				members[field] = sent
			}
			if err := media.Example.Decode(&sent); err != nil {
				t.Errorf("%s: read the example of the body: %v", id, err)
			}
		}
		for _, parameter := range endpoint.op.Parameters {
			if parameter.Required == nil || !*parameter.Required {
				if parameter.Example != nil { // Swagger UI would send it, and it is good once, or finds nothing.
					t.Errorf("%s: the optional %s has an example", id, parameter.Name)
				}
				continue
			}
			var value any
			if err := json.Unmarshal(exampleOf(t, id+" "+parameter.Name, parameter.Example), &value); err != nil {
				t.Errorf("%s: read the example of %s: %v", id, parameter.Name, err)
			}
			into := members
			if user, ok := members["user"].(map[string]any); ok {
				into = user
			}
			into[parameter.Name] = value
		}
		raw, err := json.Marshal(members)
		if err != nil {
			t.Fatalf("%s: write the request: %v", id, err)
		}
		if err := protovalidate.Validate(parse(t, endpoint.method.Input(), raw)); err != nil {
			t.Errorf("%s: the example breaks the contract: %v", id, err)
		}
	}
}

// TestDocumentEnumExamples checks that no example has an enum value UNSPECIFIED.
func TestDocumentEnumExamples(t *testing.T) {
	t.Parallel()
	_, model := readDocument(t)
	for id, endpoint := range endpoints(t, model) {
		success, _ := endpoint.op.Responses.Codes.Get("200")
		example := exampleOf(t, id, jsonBody(t, id, success.Content).Example)
		if value := regexp.MustCompile(`"\w+_UNSPECIFIED"`).Find(example); value != nil {
			t.Errorf("%s: the example of the answer has %s", id, value)
		}
	}
}

// TestDocumentBounds sends the shortest and the longest text that the document accepts, and those that are one
// character shorter and longer, through the rules of the contract.
func TestDocumentBounds(t *testing.T) {
	t.Parallel()
	_, model := readDocument(t)
	tried := 0
	for id, endpoint := range endpoints(t, model) {
		for name, schema := range requestTexts(t, id, endpoint) {
			for length, want := range boundsOf(schema.Schema()) {
				raw, err := json.Marshal(map[string]string{name: strings.Repeat("a", length)})
				if err != nil {
					t.Fatal(err)
				}
				tried++
				if got := lengthAccepted(t, parse(t, endpoint.method.Input(), raw), name); got != want {
					t.Errorf("%s: that %s of %d characters is accepted is %t for the document and %t for the rules", id, name, length, want, got)
				}
			}
		}
	}
	if tried == 0 {
		t.Error("no bound was tried")
	}
}

// requestTexts are the fields of a request that are text, by their JSON names, wherever REST has them.
func requestTexts(t *testing.T, id string, endpoint endpoint) map[string]*base.SchemaProxy {
	t.Helper()
	texts := map[string]*base.SchemaProxy{}
	for _, parameter := range endpoint.op.Parameters {
		texts[parameter.Name] = parameter.Schema
	}
	if body := endpoint.op.RequestBody; body != nil {
		maps.Insert(texts, jsonBody(t, id, body.Content).Schema.Schema().Properties.FromOldest())
	}
	for name := range texts {
		field := endpoint.method.Input().Fields().ByJSONName(name)
		if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
			delete(texts, name)
		}
	}
	return texts
}

// boundsOf are lengths at and beyond the bounds of a schema, and whether it accepts them.
func boundsOf(schema *base.Schema) map[int]bool {
	lengths := map[int]bool{}
	if schema.MinLength != nil && *schema.MinLength > 0 {
		lengths[int(*schema.MinLength)-1], lengths[int(*schema.MinLength)] = false, true
	} else {
		lengths[0] = true
	}
	if schema.MaxLength != nil {
		lengths[int(*schema.MaxLength)], lengths[int(*schema.MaxLength)+1] = true, false
	}
	return lengths
}

// lengthAccepted reports whether no rule about the length of a field refuses the message.
func lengthAccepted(t *testing.T, message proto.Message, jsonName string) bool {
	t.Helper()
	var invalid *protovalidate.ValidationError
	if err := protovalidate.Validate(message); !errors.As(err, &invalid) {
		return err == nil
	}
	return !slices.ContainsFunc(invalid.Violations, func(v *protovalidate.Violation) bool {
		rule := v.Proto.GetRuleId()
		return v.FieldDescriptor.JSONName() == jsonName && (rule == "required" || strings.HasPrefix(rule, "string.m"))
	})
}

// TestDocumentAnswerExamples checks that the examples of responses match their schemas.
func TestDocumentAnswerExamples(t *testing.T) {
	t.Parallel()
	_, model := readDocument(t)
	for id, endpoint := range endpoints(t, model) {
		success, ok := endpoint.op.Responses.Codes.Get("200")
		if !ok {
			t.Errorf("%s has no answer", id)
			continue
		}
		media := jsonBody(t, id, success.Content)
		raw := exampleOf(t, id, media.Example)
		accepts(t, id, media.Schema, raw)
		if proto.Size(parse(t, endpoint.method.Output(), raw)) == 0 && endpoint.method.Output().Fields().Len() > 0 {
			t.Errorf("%s: the example of the answer is empty", id)
		}
	}
}

// TestDocumentErrors sends what the funnel makes of errors through the schema of every operation's errors.
func TestDocumentErrors(t *testing.T) {
	t.Parallel()
	_, model := readDocument(t)
	violations := []*errdetails.BadRequest_FieldViolation{{Field: "email", Description: "is wrong", Reason: "WRONG"}}
	for id, endpoint := range endpoints(t, model) {
		failure := endpoint.op.Responses.Default
		if failure == nil {
			t.Errorf("%s does not describe its errors", id)
			continue
		}
		media := jsonBody(t, id, failure.Content)
		for _, failed := range []*apierr.Error{
			apierr.Unavailable(nil), apierr.InvalidFields(violations), apierr.EmailTaken(),
			apierr.Overloaded(1500 * time.Millisecond), apierr.SessionEnded("a session", "a user"),
		} {
			raw, err := protojson.Marshal(failed.GRPCStatus().Proto())
			if err != nil {
				t.Fatalf("write %v: %v", failed, err)
			}
			accepts(t, id, media.Schema, raw)
			describesDetails(t, model, raw)
		}
		if media.Examples.Len() == 0 {
			t.Errorf("%s has no example of an error", id)
		}
		unknown := []byte(`{"code": 5, "message": "no", "details": [
			{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "UNHEARD_OF", "domain": "gatehouse"}]}`)
		accepts(t, id, media.Schema, unknown) // What a later version may answer, an older client reads.
	}
}

// describesDetails checks that the schemas have every member of an error's details: no schema forbids others.
func describesDetails(t *testing.T, model *v3.Document, raw []byte) {
	t.Helper()
	var failure struct {
		Details []map[string]any `json:"details"`
	}
	if err := json.Unmarshal(raw, &failure); err != nil {
		t.Fatal(err)
	}
	for _, detail := range failure.Details {
		url, _ := detail["@type"].(string)
		schema, ok := model.Components.Schemas.Get(strings.TrimPrefix(url, "type.googleapis.com/"))
		if !ok {
			t.Errorf("there is no schema of %s", url)
			continue
		}
		for name := range detail {
			if _, ok := schema.Schema().Properties.Get(name); !ok {
				t.Errorf("the schema of %s has no %s, which is in %s", url, name, raw)
			}
		}
	}
}

func validator() schema_validation.SchemaValidator { return schema_validation.NewSchemaValidator() }

func jsonBody(t *testing.T, what string, content *orderedmap.Map[string, *v3.MediaType]) *v3.MediaType {
	t.Helper()
	media, ok := content.Get("application/json")
	if !ok {
		t.Fatalf("%s: there is no JSON", what)
	}
	return media
}

func exampleOf(t *testing.T, what string, node *yaml.Node) []byte {
	t.Helper()
	var value any
	if node == nil {
		t.Fatalf("%s has no example", what)
	}
	if err := node.Decode(&value); err != nil {
		t.Fatalf("%s: read the example: %v", what, err)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("%s: write the example: %v", what, err)
	}
	return raw
}

func accepts(t *testing.T, what string, schema *base.SchemaProxy, raw []byte) {
	t.Helper()
	ok, faults := validator().ValidateSchemaBytesWithVersion(schema.Schema(), raw, 3.1)
	if ok {
		return
	}
	t.Errorf("%s: the schema refuses %s", what, raw)
	for _, fault := range faults {
		t.Error(fault)
	}
}

func parse(t *testing.T, descriptor protoreflect.MessageDescriptor, raw []byte) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		t.Fatalf("find %s: %v", descriptor.FullName(), err)
	}
	message := kind.New().Interface()
	if err := protojson.Unmarshal(raw, message); err != nil {
		t.Fatalf("%s is no %s: %v", raw, descriptor.FullName(), err)
	}
	return message
}
