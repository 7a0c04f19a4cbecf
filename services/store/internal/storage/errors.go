package storage

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

var (
	// ErrNotFound is an entry that does not exist, or whose user does not exist.
	ErrNotFound = errors.New("not found")
	// ErrEmailTaken is a user whose canonical e-mail address another user has.
	ErrEmailTaken = errors.New("the e-mail address is taken")
	// ErrIDTaken is a user whose id another user has, or had.
	ErrIDTaken = errors.New("the id is taken")
	// ErrImportConflict is an import that another process continues.
	ErrImportConflict = errors.New("another process is importing the same file")
	// ErrGenerationTaken is a signing key of a generation that exists.
	ErrGenerationTaken = errors.New("the generation is taken")
	// ErrStaleGeneration is a session for a generation of its user's sessions that has ended.
	ErrStaleGeneration = errors.New("the sessions of this generation have ended")
	// ErrSessionEnded is a session that has ended.
	ErrSessionEnded = errors.New("the session has ended")
	// ErrLastAdmin is a change that would leave no active admin.
	ErrLastAdmin = errors.New("it is the last admin")
	// ErrCursorExpired is a position in the feed whose next change is deleted, or never existed.
	ErrCursorExpired = errors.New("the feed does not go back so far")
	// ErrRequestTaken is a sign-up with a request id that another one has.
	ErrRequestTaken = errors.New("the request id is taken")
	// ErrUnavailable is dialect.ErrUnavailable.
	ErrUnavailable = dialect.ErrUnavailable
	// ErrAccessDenied is dialect.ErrAccessDenied.
	ErrAccessDenied = dialect.ErrAccessDenied
)

// SchemaBehindError is a database that lacks migrations of this binary.
type SchemaBehindError struct {
	Version int64 // of the database
	Needed  int64 // by this binary
}

// Error returns a text with the command that helps.
func (e *SchemaBehindError) Error() string {
	return fmt.Sprintf(`the database schema is at version %d, this binary needs %d: run "gatehouse migrate"`,
		e.Version, e.Needed)
}

// meanings are the errors that classes of driver errors mean to one operation.
type meanings map[dialect.Class]error

// wrap returns an error of this package for the error of a driver, with the operation before it. Only the text of the
// driver's error remains in the chain: a dial that timed out, for one, is a context.DeadlineExceeded although the
// caller still has time. Violations of constraints lose the text too, because it quotes the value.
func (s *Storage) wrap(ctx context.Context, operation string, err error, known meanings) error {
	if err == nil {
		return nil
	}
	if own := ownError(err); own != nil {
		return fmt.Errorf("%s: %w", operation, own)
	}
	class := s.dialect.Classify(err)
	if class == dialect.Refused {
		s.dropIdleConns()
	}
	if meaning, ok := known[class]; ok {
		return fmt.Errorf("%s: %w", operation, meaning)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", operation, ctx.Err())
	}
	switch class {
	case dialect.Denied:
		return fmt.Errorf("%s: %w: %v", operation, ErrAccessDenied, err) //nolint:errorlint // not in the chain, see above
	case dialect.Conflict, dialect.Refused, dialect.Unavailable:
		return fmt.Errorf("%s: %w: %v", operation, ErrUnavailable, err) //nolint:errorlint // not in the chain, see above
	case dialect.DuplicateKey, dialect.DuplicateValue, dialect.MissingReference:
		return fmt.Errorf("%s: the entry violates a constraint", operation)
	case dialect.Unclassified:
	}
	return fmt.Errorf("%s: %v", operation, err) //nolint:errorlint // not in the chain, see above
}

// ownError returns the error of this package in a chain, or nil if there is none.
func ownError(err error) error {
	for _, own := range []error{
		ErrStaleGeneration, ErrSessionEnded, ErrLastAdmin, ErrEmailTaken, ErrRequestTaken, ErrImportConflict,
		ErrCursorExpired,
	} {
		if errors.Is(err, own) {
			return own
		}
	}
	if old, ok := errors.AsType[*dialect.ServerTooOldError](err); ok {
		return old
	}
	if limited, ok := errors.AsType[*TooManyChangesError](err); ok {
		return limited
	}
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return ErrNotFound
	}
	return nil
}

// dropIdleConns closes the idle connections: the node that they lead to accepts no statements, and another may.
func (s *Storage) dropIdleConns() {
	s.pool.SetMaxIdleConns(0)
	s.pool.SetMaxIdleConns(s.pool.Stats().MaxOpenConnections)
}
