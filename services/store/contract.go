package store

import (
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
)

// fieldError is what is wrong with a field, in words that never repeat its value. The field is named as the contract
// does.
type fieldError struct{ field, words string }

func (f fieldError) Error() string { return f.field + " " + f.words }

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
