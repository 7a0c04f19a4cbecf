package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// audit are the commands for audit events. They work on the store's database, beside the stores that run on it.
type audit struct {
	Export auditExport `cmd:"" help:"Write the audit events to stdout as JSON lines, the newest first."`
}

// auditExport exports audit events.
type auditExport struct {
	From  string `env:"GATEHOUSE_AUDIT_FROM" placeholder:"TIME" help:"Write no events from before this time, such as 2026-01-31T00:00:00Z."`
	Until string `env:"GATEHOUSE_AUDIT_UNTIL" placeholder:"TIME" help:"Write only events from before this time."`
	databaseCommand

	from, until *time.Time // set by resolve
}

func (c *auditExport) resolve(problems *errorCollector) {
	c.databaseCommand.resolve(problems)
	var fromErr, untilErr error
	c.from, fromErr = parseTime("--from", c.From)
	c.until, untilErr = parseTime("--until", c.Until)
	problems.add(fromErr, untilErr)
}

// parseTime parses a time of RFC 3339. It returns nil for an empty text.
func parseTime(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // No time is no error.
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.UnixMilli() <= 0 { // The ids of events have no earlier ones.
		return nil, fmt.Errorf("%s is %q, not a time such as 2026-01-31T00:00:00Z", flag, text)
	}
	return &at, nil
}

func (c *auditExport) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	exported, err := operator.ExportAuditEvents(ctx, c.config, c.from, c.until, stdout, log)
	if err == nil {
		log.InfoContext(ctx, "exported audit events", "events", exported)
	}
	return err
}
