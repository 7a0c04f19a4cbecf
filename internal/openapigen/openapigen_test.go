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

// TestBoundsRefuseNothingThatTheRulesAccept tries the shortest and the longest text, in characters, that the rules of
// a field in bytes accept.
func TestBoundsRefuseNothingThatTheRulesAccept(t *testing.T) {
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
			t.Fatalf("the rules refuse %d characters: %v", characters, err)
		}
		if characters < s.MinLength || s.MaxLength == nil || characters > *s.MaxLength {
			t.Errorf("the bounds %d to %v refuse %d characters", s.MinLength, s.MaxLength, characters)
		}
	}
	if s.MinLength < 8 || *s.MaxLength > 1024 {
		t.Errorf("the bounds %d to %d say less than they can", s.MinLength, *s.MaxLength)
	}
}

func TestNumbersHaveInclusiveBounds(t *testing.T) {
	t.Parallel()
	rules := &validate.Int32Rules{
		GreaterThan: &validate.Int32Rules_Gt{Gt: 0}, LessThan: &validate.Int32Rules_Lte{Lte: 100},
	}
	var s schema
	applyNumberBounds(&s, rules)
	if s.Minimum == nil || *s.Minimum != 1 || s.Maximum == nil || *s.Maximum != 100 {
		t.Errorf("more than 0 and at most 100 is %v to %v", s.Minimum, s.Maximum)
	}
}

func TestAMethodWithoutPolicyIsRefused(t *testing.T) {
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

func TestAnOperationWithoutMethodIsRefused(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"UserService_DropTable", "UserService", "User_id", ""} {
		if _, err := methodOf(&operation{OperationID: id}); err == nil {
			t.Errorf("the operation %q was taken for a method", id)
		}
	}
}

func TestAMemberThatIsNotKnownIsRefused(t *testing.T) {
	t.Parallel()
	const document = `{"openapi": "3.1.0", "info": {}, "components": {"schemas": {"A": {"multipleOf": 2}}}}`
	if _, err := decodeDocument([]byte(document)); err == nil {
		t.Error("a member that would have been lost was taken")
	}
}

func TestAParagraphIsOneLine(t *testing.T) {
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

func TestTheSameDocumentGivesTheSameBytes(t *testing.T) {
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

func TestExamplesOfRequestsAndAnswersHaveTheirOwnFields(t *testing.T) {
	t.Parallel()
	request, err := exampleRequest((&gatehousev1.Session{}).ProtoReflect().Descriptor())
	if err != nil || string(request) != "{}" {
		t.Errorf("a client would send %s (%v), all of which only the server says", request, err)
	}
	answer, err := exampleAnswer((&gatehousev1.CreateUserRequest{}).ProtoReflect().Descriptor())
	if err != nil || strings.Contains(string(answer), "correct horse") {
		t.Errorf("a server would answer %s (%v), with a password", answer, err)
	}
}
