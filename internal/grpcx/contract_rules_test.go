package grpcx_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// violationsOf returns the violations as sorted lines FIELD RULE.
func violationsOf(t *testing.T, message proto.Message) []string {
	t.Helper()
	err := protovalidate.Validate(message)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	found := make([]string, 0, len(invalid.Violations))
	for _, violation := range invalid.Violations {
		path := protovalidate.FieldPathString(violation.Proto.GetField())
		found = append(found, path+" "+violation.Proto.GetRuleId())
	}
	slices.Sort(found)
	return found
}

// largeRequest is the size limit of the gateway for a request with metadata, in bytes.
const largeRequest = 256 << 10

func TestContractRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		message proto.Message
		want    []string
	}{
		{"valid", &gatehousev1.CreateUserRequest{
			Email: "ada@example.com", FullName: "Ada", Password: "correct horse",
		}, nil},
		{"all_fields_are_checked", &gatehousev1.CreateUserRequest{
			Email: "no address", FullName: strings.Repeat("ä", 201), Password: strings.Repeat("p", 1025),
		}, []string{"email email.address", "full_name string.max_len", "password string.max_bytes"}},
		{"nested", &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{
			Id: strings.Repeat("f", largeRequest), FullName: strings.Repeat("n", largeRequest), Locale: "not_a_tag",
		}}, []string{
			"user user.id", "user.full_name string.max_len", "user.id string.max_bytes", "user.locale locale.tag",
		}},
		{"mask", &gatehousev1.UpdateUserRequest{
			User:       &gatehousev1.User{Id: "me"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: slices.Repeat([]string{"locale"}, 17)},
		}, []string{"update_mask update_mask.length"}},
		{"list_of_oversized_items", &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{
			Id: "me", Roles: slices.Repeat([]string{strings.Repeat("r", 65)}, 3000),
		}}, []string{"user.roles repeated.max_items"}},
		{"internal_contract", &internalv1.WatchChangesRequest{Epoch: strings.Repeat("e", largeRequest)}, []string{
			"epoch string.max_bytes",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := violationsOf(t, test.message); !slices.Equal(got, test.want) {
				t.Errorf("violations are %v, want %v", got, test.want)
			}
		})
	}
}

// boundedElsewhere maps the third-party messages in requests to the place that bounds them.
var boundedElsewhere = map[protoreflect.FullName]string{
	"google.protobuf.FieldMask": "a rule of the field, which counts the paths first",
	"google.protobuf.Struct":    "the store, which checks the size first",
	"google.protobuf.Timestamp": "the type",
}

// TestContractBounds checks that every field that a client can send has a bound, and that a field beyond its bound
// violates nothing else: its CEL expression checks the size before a regular expression scans the field.
func TestContractBounds(t *testing.T) {
	t.Parallel()
	methods := 0
	for _, file := range []protoreflect.FileDescriptor{
		gatehousev1.File_gatehouse_v1_user_proto, gatehousev1.File_gatehouse_v1_session_proto,
		gatehousev1.File_gatehouse_v1_admin_proto, gatehousev1.File_gatehouse_v1_key_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				methods++
				checkBounds(t, service.Methods().Get(j).Input())
			}
		}
	}
	if methods < 15 {
		t.Errorf("only %d methods", methods)
	}
}

func checkBounds(t *testing.T, message protoreflect.MessageDescriptor) {
	t.Helper()
	if _, known := boundedElsewhere[message.FullName()]; known {
		return
	}
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		rules, err := protovalidate.ResolveFieldRules(field)
		if err != nil {
			t.Fatal(err)
		}
		bounded := true
		switch {
		case field.IsMap() || field.Kind() == protoreflect.BytesKind:
			bounded = false // The contract has none; its keys, values and bytes would need bounds.
		case field.IsList():
			bounded = rules.GetRepeated().HasMaxItems() && field.Kind() == protoreflect.StringKind
		case field.Kind() == protoreflect.StringKind:
			bounded = rules.GetString().HasMaxBytes() || rules.GetString().HasMaxLen()
			checkOversized(t, field)
		case field.Message() != nil:
			checkBounds(t, field.Message())
		}
		if !bounded {
			t.Errorf("%s has no bound", field.FullName())
		}
	}
}

func checkOversized(t *testing.T, field protoreflect.FieldDescriptor) {
	t.Helper()
	message := dynamicpb.NewMessage(field.ContainingMessage())
	message.Set(field, protoreflect.ValueOfString(strings.Repeat("\u00ad", 8<<10)))
	for _, violation := range violationsOf(t, message) {
		path, rule, _ := strings.Cut(violation, " ")
		if path == string(field.Name()) && !strings.HasPrefix(rule, "string.") {
			t.Errorf("%s violates %s, beyond its size rule", field.FullName(), rule)
		}
	}
}
