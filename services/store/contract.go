package store

import (
	"errors"
	"fmt"
	"slices"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
)

// fieldError is what is wrong with a field, in words that never repeat its value. The field is named as the contract
// does.
type fieldError struct{ field, words string }

func (f fieldError) Error() string { return f.field + " " + f.words }

// signUpViolations checks a sign-up by the rules of the contract, and by those that it cannot express of the address.
func signUpViolations(validator protovalidate.Validator, signUp *gatehousev1.CreateUserRequest) ([]fieldError, error) {
	found, err := violations(validator, signUp)
	if err != nil || slices.ContainsFunc(found, func(f fieldError) bool { return f.field == "email" }) {
		return found, err
	}
	if violation := emailaddr.Check(signUp.GetEmail()); violation != nil {
		found = append(found, fieldError{"email", violation.Description})
	}
	return found, nil
}

// violations checks a message by the rules of the contract, for commands, for which no interceptor does it. An error is
// a fault of the rules themselves.
func violations(validator protovalidate.Validator, message proto.Message) ([]fieldError, error) {
	err := validator.Validate(message)
	if err == nil {
		return nil, nil
	}
	invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return nil, fmt.Errorf("check by the rules of the contract: %w", err)
	}
	faults := make([]fieldError, 0, len(invalid.Violations))
	for _, violation := range invalid.Violations {
		words := violation.Proto.GetMessage()
		if violation.Proto.GetRuleId() == "required" {
			words = "must not be empty"
		}
		faults = append(faults, fieldError{protovalidate.FieldPathString(violation.Proto.GetField()), words})
	}
	return faults, nil
}
