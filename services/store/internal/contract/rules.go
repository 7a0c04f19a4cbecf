// Package contract applies the rules of the protobuf contract to users: for the services, whose interceptor applies
// those that are annotations, and for commands, which have no interceptor. So no command stores a user that a call
// would reject.
package contract

import (
	"errors"
	"fmt"
	"slices"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
)

// Rules are the annotations of the contract. They are safe for concurrent use.
type Rules struct{ validator protovalidate.Validator }

// NewRules loads the rules.
func NewRules() (*Rules, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("load the rules of the contract: %w", err)
	}
	return &Rules{validator}, nil
}

// CheckSignUp returns the violations of a sign-up: of the rules of the contract, and of those of addresses that it
// cannot express. The texts must be UTF-8. It reports an error if a rule itself is wrong.
func (r *Rules) CheckSignUp(email, fullName, password string) ([]field.Violation, error) {
	found, err := r.check(&gatehousev1.CreateUserRequest{Email: email, FullName: fullName, Password: password})
	if err != nil || slices.ContainsFunc(found, func(v field.Violation) bool { return v.Field == "email" }) {
		return found, err
	}
	if violation := emailaddr.Check(email); violation != nil {
		found = append(found, *violation)
	}
	return found, nil
}

// CheckProfile returns the violations of the optional fields of a profile. It reports an error as CheckSignUp does.
func (r *Rules) CheckProfile(locale, timeZone, pictureURI string) ([]field.Violation, error) {
	return r.check(&gatehousev1.User{Locale: locale, TimeZone: timeZone, PictureUri: pictureURI})
}

func (r *Rules) check(message proto.Message) ([]field.Violation, error) {
	err := r.validator.Validate(message)
	if err == nil {
		return nil, nil
	}
	invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return nil, fmt.Errorf("check by the rules of the contract: %w", err)
	}
	found := make([]field.Violation, 0, len(invalid.Violations))
	for _, violation := range invalid.Violations {
		description := violation.Proto.GetMessage()
		if violation.Proto.GetRuleId() == "required" {
			description = "must not be empty"
		}
		found = append(found, field.Violation{
			Field: protovalidate.FieldPathString(violation.Proto.GetField()), Description: description,
		})
	}
	return found, nil
}

// JSONName returns the name that a field of a user has in JSON.
func JSONName(name string) string {
	fields := (&gatehousev1.User{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if fields.Get(i).TextName() == name {
			return fields.Get(i).JSONName()
		}
	}
	return name
}

// AnyPassword represents a password that is not known: it breaks no rule of the contract.
const AnyPassword = "any password at all"
