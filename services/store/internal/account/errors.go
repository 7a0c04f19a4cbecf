package account

import "errors"

var (
	// ErrNotFound reports something that does not exist, or whose owner does not.
	ErrNotFound = errors.New("not found")
	// ErrGenerationTaken reports a signing key of a generation that exists.
	ErrGenerationTaken = errors.New("the generation is taken")
)
