package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// epoch are the commands for the epoch of the store's database.
type epoch struct {
	Bump epochBump `cmd:"" help:"Make a new epoch, after the database was restored to an earlier point: copies of what was in it before are not believed any more."`
}

// epochBump makes a new epoch.
type epochBump struct {
	databaseSettings
	logSettings
}

func (c *epochBump) faults() error {
	return errors.Join(c.logSettings.faults(), c.databaseFaults())
}

func (c *epochBump) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	database, err := c.database()
	if err != nil {
		return err
	}
	before, after, err := operator.BumpEpoch(ctx, database, log)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "The epoch was %s, and is %s now.\n", before, after)
	return err
}
