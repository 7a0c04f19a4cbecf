package store

import (
	"context"
	"time"
)

// refusalTimeout bounds how long a refusal may take to be recorded after its caller has left. It is shorter than
// deadlines.Drain, so that a store which stops waits for it.
const refusalTimeout = 8 * time.Second

// afterComparison returns the context in which the refusal of a password is recorded once it was compared. It does not
// end with the caller: whoever leaves early must not get a guess that nobody counts. Only calls that had their turn in
// the queue of the hashes get one, which bounds how many wait for the database.
func afterComparison(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), refusalTimeout)
}
