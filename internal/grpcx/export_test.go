package grpcx

import "context"

// SharedProbe makes a probe of which many share the result.
func SharedProbe(probe func(context.Context) error) func(context.Context) error {
	return newSharedProbe(probe).result
}
