package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"gorm.io/gorm"
)

var (
	// ErrNotFound is an entry that does not exist, or the user whom a new entry belongs to.
	ErrNotFound = account.ErrNotFound
	// ErrEmailTaken is a user whose canonical e-mail address another user has.
	ErrEmailTaken = errors.New("the e-mail address is taken")
	// ErrIDTaken is a user whose id another user has, or had.
	ErrIDTaken = errors.New("the id is taken")
	// ErrImportConflict is an import that another process goes on with.
	ErrImportConflict = errors.New("another process is importing the same file")
	// ErrGenerationTaken is a signing key of a generation that exists.
	ErrGenerationTaken = account.ErrGenerationTaken
	// ErrStaleGeneration is a session for a generation of its user's sessions that has ended.
	ErrStaleGeneration = errors.New("the sessions of this generation have ended")
	// ErrSessionEnded is a session that has ended.
	ErrSessionEnded = errors.New("the session has ended")
	// ErrLastAdmin is a change that would leave no active admin.
	ErrLastAdmin = errors.New("it is the last admin")
	// ErrCursorExpired is a change that is deleted from the feed by now, or was never there.
	ErrCursorExpired = errors.New("the feed does not go back so far")
	// ErrRequestTaken is a sign-up with a request id that another one has.
	ErrRequestTaken = errors.New("the request id is taken")
	// ErrUnavailable is a database that cannot be reached or does not do its work now. Whether a write that failed with
	// it happened is not known.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrAccessDenied is a database that does not let this process in, or lacks the right to what was to be done, until
	// somebody changes an account, a right or a setting. It is ErrUnavailable too: the statement is not at fault.
	ErrAccessDenied error = accessDeniedError{}
)

type accessDeniedError struct{}

func (accessDeniedError) Error() string { return "the database denies access" }

// Is reports whether target is ErrUnavailable.
func (accessDeniedError) Is(target error) bool { return target == ErrUnavailable }

// SchemaBehindError is a database that lacks migrations of this binary.
type SchemaBehindError struct {
	Version int64 // of the database
	Needed  int64 // by this binary
}

// Error tells what to do.
func (e *SchemaBehindError) Error() string {
	return fmt.Sprintf(`the database schema is at version %d, this binary needs %d: run "gatehouse migrate"`,
		e.Version, e.Needed)
}

// class is what a driver's error means, in the terms that both databases share.
type class int

const (
	unclassified     class = iota // a statement that is wrong, or no error of a database
	duplicateKey                  // of the primary key
	duplicateValue                // of another unique index
	missingReference              // of a foreign key
	conflict                      // with another transaction, which went through: worth another attempt
	refused                       // by a server that takes no statements now, though another may: nothing was done
	denied                        // no access, until somebody changes an account, a right or a setting
	unavailable                   // cannot be reached, or does not do its work now
)

// outcomes names the errors that a driver's errors mean to one operation.
type outcomes map[class]error

// explain says what was being done and turns a driver's error into one of this package. The driver's error does not
// stay in the chain, only its text: a dial that timed out, for one, passes for context.DeadlineExceeded although the
// caller still has time. What violates a constraint loses the text too, because it quotes the value.
func (s *Storage) explain(ctx context.Context, doing string, err error, known outcomes) error {
	if err == nil {
		return nil
	}
	for _, own := range []error{
		ErrStaleGeneration, ErrSessionEnded, ErrLastAdmin, ErrEmailTaken, ErrRequestTaken, ErrImportConflict,
		ErrCursorExpired,
	} {
		if errors.Is(err, own) {
			return fmt.Errorf("%s: %w", doing, own)
		}
	}
	if old, ok := errors.AsType[*ServerTooOldError](err); ok {
		return fmt.Errorf("%s: %w", doing, old)
	}
	if limited, ok := errors.AsType[*TooManyChangesError](err); ok {
		return fmt.Errorf("%s: %w", doing, limited)
	}
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return fmt.Errorf("%s: %w", doing, ErrNotFound)
	}
	class := s.dialect.classify(err)
	if class == refused {
		s.leave()
	}
	if outcome, ok := known[class]; ok {
		return fmt.Errorf("%s: %w", doing, outcome)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	switch class {
	case denied:
		return fmt.Errorf("%s: %w: %v", doing, ErrAccessDenied, err) //nolint:errorlint // not in the chain, as said above
	case conflict, refused, unavailable:
		return fmt.Errorf("%s: %w: %v", doing, ErrUnavailable, err) //nolint:errorlint // not in the chain, as said above
	case duplicateKey, duplicateValue, missingReference:
		return fmt.Errorf("%s: the entry violates a constraint", doing)
	case unclassified:
	}
	return fmt.Errorf("%s: %v", doing, err) //nolint:errorlint // not in the chain, as said above
}
