package fieldrules_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/fieldrules"
)

const (
	megabyte = 1 << 20
	id       = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"
)

func newValidator(t testing.TB) protovalidate.Validator {
	t.Helper()
	validator, err := fieldrules.New()
	if err != nil {
		t.Fatal(err)
	}
	return validator
}

// faultsOf lists the violations as FIELD RULE, sorted.
func faultsOf(t *testing.T, validator protovalidate.Validator, message proto.Message) []string {
	t.Helper()
	err := validator.Validate(message)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	faults := make([]string, 0, len(invalid.Violations))
	for _, violation := range invalid.Violations {
		field := protovalidate.FieldPathString(violation.Proto.GetField())
		faults = append(faults, field+" "+violation.Proto.GetRuleId())
	}
	slices.Sort(faults)
	return faults
}

// hostileSignUp is refused by every rule: the name has nothing that can be seen, which takes a look at all of it.
func hostileSignUp(size int) *gatehousev1.CreateUserRequest {
	return &gatehousev1.CreateUserRequest{
		Email: strings.Repeat("a.", size/2), FullName: strings.Repeat("\u00ad", size/2), Password: "short",
		RequestId: strings.Repeat("x", size),
	}
}

func hostileRoles(count int) *gatehousev1.SetRolesRequest {
	request := &gatehousev1.SetRolesRequest{Id: id}
	for i := range count {
		request.Roles = append(request.Roles, fmt.Sprint(i))
	}
	return request
}

func TestValidate(t *testing.T) {
	validator := newValidator(t)
	for _, test := range []struct {
		name    string
		message proto.Message
		want    []string
	}{
		{"valid", &gatehousev1.CreateUserRequest{
			Email: "ada@example.com", FullName: "Ada", Password: "correct horse",
		}, nil},
		{"too_large_fields_break_the_size_rule_only", hostileSignUp(megabyte / 4), []string{
			"email string.max_bytes", "full_name string.max_len", "password string.min_len", "request_id string.max_bytes",
		}},
		{"other_fields_are_judged_too", &gatehousev1.CreateUserRequest{
			Email: "no address", FullName: strings.Repeat("ä", 201), Password: strings.Repeat("p", 1025),
		}, []string{"email email.address", "full_name string.max_len", "password string.max_bytes"}},
		{"nested", &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{
			Id: strings.Repeat("f", megabyte), FullName: strings.Repeat("n", megabyte), Locale: "not_a_tag",
		}}, []string{
			"user user.id", "user.full_name string.max_len", "user.id string.max_bytes", "user.locale locale.tag",
		}},
		{"mask", &gatehousev1.UpdateUserRequest{
			User:       &gatehousev1.User{Id: "me"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: slices.Repeat([]string{"locale"}, 17)},
		}, []string{"update_mask update_mask.length"}},
		{"another_contract", &internalv1.WatchChangesRequest{Epoch: strings.Repeat("e", megabyte)}, []string{
			"epoch string.max_bytes",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := proto.Clone(test.message)
			if got := faultsOf(t, validator, test.message); !slices.Equal(got, test.want) {
				t.Errorf("faults are %v, want %v", got, test.want)
			}
			if !proto.Equal(test.message, before) {
				t.Error("the message was changed")
			}
		})
	}
	t.Run("a_list_is_judged_to_its_bound", func(t *testing.T) {
		faults := faultsOf(t, validator, hostileRoles(100_000))
		if !slices.Contains(faults, "roles repeated.max_items") || len(faults) > 20 {
			t.Errorf("%d faults: %.200v", len(faults), faults)
		}
	})
}

// TestValidateMatchesProtovalidate compares at the bounds, where nothing is cut, and just above.
func TestValidateMatchesProtovalidate(t *testing.T) {
	validator := newValidator(t)
	for size := 1; size <= 2050; size++ {
		for _, character := range []string{"a", "ä", "€", "😀"} {
			text := strings.Repeat(character, size/len(character))
			message := &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{
				Id: "me", FullName: text, TimeZone: text, PictureUri: "https://example.com/" + text,
			}}
			var want []string
			for _, fault := range faultsOf(t, protovalidate.GlobalValidator, message) {
				if 20+len(text) <= 2048 || fault != "user.picture_uri picture_uri.https" { // It is cut and no longer checked.
					want = append(want, fault)
				}
			}
			if got := faultsOf(t, validator, message); !slices.Equal(got, want) {
				t.Fatalf("faults of %d times %q are %v, want %v", size, character, got, want)
			}
		}
	}
}

// bounded are the messages of others that a request may hold, and where they are bounded.
var bounded = map[protoreflect.FullName]string{
	"google.protobuf.FieldMask": "by a rule of its field, which counts the paths before it looks at them",
	"google.protobuf.Struct":    "by the store, which looks at its size first",
	"google.protobuf.Timestamp": "by its type",
}

// TestRequestFieldsAreBounded looks at all that a client can send.
func TestRequestFieldsAreBounded(t *testing.T) {
	seen := 0
	for _, file := range []protoreflect.FileDescriptor{
		gatehousev1.File_gatehouse_v1_user_proto, gatehousev1.File_gatehouse_v1_session_proto,
		gatehousev1.File_gatehouse_v1_admin_proto, gatehousev1.File_gatehouse_v1_key_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			if _, err := protoregistry.GlobalFiles.FindDescriptorByName(service.FullName()); err != nil {
				t.Fatal(err)
			}
			for j := range service.Methods().Len() {
				seen++
				checkBounded(t, service.Methods().Get(j).Input())
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d methods", seen)
	}
}

func checkBounded(t *testing.T, message protoreflect.MessageDescriptor) {
	t.Helper()
	if _, known := bounded[message.FullName()]; known {
		return
	}
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		rules, err := protovalidate.ResolveFieldRules(field)
		if err != nil {
			t.Fatal(err)
		}
		isBounded := true
		switch {
		case field.IsMap():
			isBounded = false // There is none. Keys and values would need bounds, too.
		case field.IsList():
			items := rules.GetRepeated().GetItems().GetString()
			isBounded = rules.GetRepeated().HasMaxItems() && field.Kind() == protoreflect.StringKind &&
				(items.HasMaxBytes() || len(items.GetIn()) > 0)
		case field.Kind() == protoreflect.StringKind:
			isBounded = rules.GetString().HasMaxBytes() || rules.GetString().HasMaxLen()
		case field.Kind() == protoreflect.BytesKind:
			isBounded = rules.GetBytes().HasMaxLen()
		case field.Message() != nil:
			checkBounded(t, field.Message())
		}
		if !isBounded {
			t.Errorf("%s has no bound", field.FullName())
		}
	}
}

// BenchmarkHostileRequest measures a request of a megabyte that anybody, or any user, can send.
func BenchmarkHostileRequest(b *testing.B) {
	for name, message := range map[string]proto.Message{
		"sign_up": hostileSignUp(megabyte / 3),
		"ids":     &gatehousev1.ReadUserRequest{Id: strings.Repeat("f", megabyte)},
		"profile": &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{
			Id: "me", FullName: strings.Repeat("\u00ad", megabyte/4), Locale: strings.Repeat("aa-", megabyte/6),
		}},
		"prefix": &gatehousev1.ListUsersRequest{EmailPrefix: strings.Repeat("a", megabyte)},
		"roles":  hostileRoles(megabyte / 8),
	} {
		for _, with := range []struct {
			name      string
			validator protovalidate.Validator
		}{{"protovalidate", protovalidate.GlobalValidator}, {"sizes_first", newValidator(b)}} {
			b.Run(name+"/"+with.name, func(b *testing.B) {
				for b.Loop() {
					if with.validator.Validate(message) == nil {
						b.Fatal("a hostile request is valid")
					}
				}
			})
		}
	}
}
