// Package fieldrules checks messages by the rules of the contract at a cost that does not grow with the input.
//
// protovalidate evaluates all rules of a field, even if the field is too large: a regular expression then runs over a
// megabyte that the length rule has rejected already. Here, a field that is too large is cut to just above its bound
// before any rule is evaluated. The size rule fails as it would have; all other fields are still checked, so that the
// caller receives all violations at once.
package fieldrules

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// sizeRules are the rules that a field which is too large breaks. The results of other rules for a field that was cut
// may be wrong.
var sizeRules = []string{"string.max_len", "string.max_bytes", "bytes.max_len", "repeated.max_items", "map.max_pairs"}

// validator is a protovalidate.Validator that bounds the messages of another one.
type validator struct {
	rules protovalidate.Validator
	sizes sync.Map // protoreflect.FullName to messageSizes
}

// New returns a validator by the rules of the contract. It is safe for concurrent use, and does not change
// messages.
func New() (protovalidate.Validator, error) {
	rules, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("create the validator: %w", err)
	}
	return &validator{rules: rules}, nil
}

// Validate implements protovalidate.Validator.
func (v *validator) Validate(message proto.Message, options ...protovalidate.ValidationOption) error {
	sizes, err := v.sizesOf(message.ProtoReflect().Descriptor())
	if err != nil {
		return err
	}
	cut, paths := sizes.cut(message.ProtoReflect(), "")
	err = v.rules.Validate(cut.Interface(), options...)
	var invalid *protovalidate.ValidationError
	if len(paths) == 0 || !errors.As(err, &invalid) {
		return err
	}
	invalid.Violations = slices.DeleteFunc(invalid.Violations, func(violation *protovalidate.Violation) bool {
		return !slices.Contains(sizeRules, violation.Proto.GetRuleId()) &&
			slices.Contains(paths, protovalidate.FieldPathString(violation.Proto.GetField()))
	})
	return invalid
}

func (v *validator) sizesOf(descriptor protoreflect.MessageDescriptor) (messageSizes, error) {
	if known, ok := v.sizes.Load(descriptor.FullName()); ok {
		return known.(messageSizes), nil //nolint:forcetypeassert // nothing else is stored
	}
	sizes, err := newMessageSizes(descriptor)
	if err != nil {
		return nil, fmt.Errorf("read the bounds of %s: %w", descriptor.FullName(), err)
	}
	v.sizes.Store(descriptor.FullName(), sizes)
	return sizes, nil
}
