package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// migrate updates the schema.
type migrate struct{ databaseCommand }

func (c *migrate) run(ctx context.Context, log *slog.Logger, _ io.Writer) error {
	return operator.Migrate(ctx, c.config, log)
}
