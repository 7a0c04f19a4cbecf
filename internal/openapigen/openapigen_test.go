package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// TestApplyBounds compares the schema with the rules for the shortest and the longest text, in characters, that the
// rules of a field in bytes accept.
func TestApplyBounds(t *testing.T) {
	t.Parallel()
	request := &gatehousev1.CreateUserRequest{Email: "ada@example.com", FullName: "Ada"}
	field := request.ProtoReflect().Descriptor().Fields().ByName("password")
	rules, err := protovalidate.ResolveFieldRules(field)
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	applyBounds(&s, rules, field)

	for characters, password := range map[uint64]string{8: strings.Repeat("🔑", 8), 1024: strings.Repeat("a", 1024)} {
		request.Password = password
		if err := protovalidate.Validate(request); err != nil {
			t.Fatalf("the rules reject %d characters: %v", characters, err)
		}
		if characters < s.MinLength || s.MaxLength == nil || characters > *s.MaxLength {
			t.Errorf("the schema with %d to %v characters rejects %d", s.MinLength, s.MaxLength, characters)
		}
	}
	if s.MinLength < 8 || *s.MaxLength > 1024 {
		t.Errorf("the schema with %d to %d characters is less strict than possible", s.MinLength, *s.MaxLength)
	}
}

func TestApplyScalarBounds(t *testing.T) {
	t.Parallel()
	rules := &validate.FieldRules{Type: &validate.FieldRules_Int32{Int32: &validate.Int32Rules{
		GreaterThan: &validate.Int32Rules_Gte{Gte: 1}, LessThan: &validate.Int32Rules_Lte{Lte: 100},
	}}}
	var s schema
	applyScalarBounds(&s, rules)
	if s.Minimum == nil || *s.Minimum != 1 || s.Maximum == nil || *s.Maximum != 100 {
		t.Errorf("bounds are %v to %v, want 1 to 100", s.Minimum, s.Maximum)
	}
}

func TestSecurityOfMethodWithoutPolicy(t *testing.T) {
	t.Parallel()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("open.proto"), Package: new("open"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: new("Nothing")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: new("OpenService"),
			Method: []*descriptorpb.MethodDescriptorProto{{
				Name: new("Open"), InputType: new(".open.Nothing"), OutputType: new(".open.Nothing"),
			}},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := security(file.Services().Get(0).Methods().Get(0)); err == nil {
		t.Error("a method without a policy got a security requirement")
	}
}

func TestMethodOfUnknownOperation(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"UserService_DropTable", "UserService", "User_id", ""} {
		if _, err := methodOf(&operation{OperationID: id}); err == nil {
			t.Errorf("the operation %q has a method", id)
		}
	}
}

func TestDecodeDocumentWithUnknownMember(t *testing.T) {
	t.Parallel()
	const document = `{"openapi": "3.1.0", "info": {}, "components": {"schemas": {"A": {"multipleOf": 2}}}}`
	if _, err := decodeDocument([]byte(document)); err == nil {
		t.Error("an unknown member was accepted and lost")
	}
}

func TestProse(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]string{
		"Answers `A` /\n`B`, then\nmore.\n\nNext.": "Answers `A` / `B`, then more.\n\nNext.",
		"Either:\n- one\n- two":                    "Either:\n- one\n- two",
		"For example:\n\n    {\n      1\n    }":    "For example:\n\n    {\n      1\n    }",
	} {
		var p prose
		if err := p.UnmarshalText([]byte(comment)); err != nil || string(p) != want {
			t.Errorf("%q became %q (%v), want %q", comment, p, err, want)
		}
	}
}

func TestEncodeDocument(t *testing.T) {
	t.Parallel()
	const source = `{"openapi":"3.1.0","info":{"title":"<&>"},"paths":{"/b":{},"/a":{}},"components":{"schemas":{}}}`
	doc, err := decodeDocument([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	first, err := encodeDocument(doc)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := decodeDocument(first); err != nil {
		t.Error(err)
	} else if second, err := encodeDocument(again); err != nil || string(second) != string(first) {
		t.Errorf("%s became %s (%v)", first, second, err)
	}
	for _, want := range []string{`"<&>"`, "}\n"} {
		if !strings.Contains(string(first), want) {
			t.Errorf("%s has no %q", first, want)
		}
	}
	if strings.Index(string(first), "/b") > strings.Index(string(first), "/a") {
		t.Errorf("the paths of %s changed their order", first)
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	request, err := exampleRequest((&gatehousev1.Session{}).ProtoReflect().Descriptor())
	if err != nil || string(request) != "{}" {
		t.Errorf("the request is %s (%v), want no output-only field", request, err)
	}
	answer, err := exampleResponse((&gatehousev1.CreateUserRequest{}).ProtoReflect().Descriptor())
	if err != nil || strings.Contains(string(answer), "correct horse") {
		t.Errorf("the response is %s (%v), want no input-only field", answer, err)
	}
}
