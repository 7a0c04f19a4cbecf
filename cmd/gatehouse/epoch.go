package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// epoch are the commands for the epoch of the store's database.
type epoch struct {
	Bump epochBump `cmd:"" help:"Make a new epoch, after the database was restored to an earlier point: copies of its earlier contents are discarded."`
}

// epochBump makes a new epoch.
type epochBump struct{ databaseCommand }

func (c *epochBump) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	before, after, err := operator.BumpEpoch(ctx, c.config, log)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "The epoch was %s, and is %s now.\n", before, after)
	return err
}
