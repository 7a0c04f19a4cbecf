package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// users are the commands to move users in and out. They work on the store's database, beside the stores that run on it.
type users struct {
	Import usersImport `cmd:"" help:"Import users from a file of JSON lines. If it is interrupted, the same command goes on where it was. Ends with 1 if lines were refused."`
	Export usersExport `cmd:"" help:"Write all users to stdout as JSON lines."`
	Try    checkHash   `cmd:"" name:"check-hash" help:"Tell whether a password matches the hash that a file of users has. The password is asked for, or read from stdin where that is no terminal. Ends with 1 if it does not match."`
	Check  checkEmails `cmd:"" name:"check-emails" help:"Write to stdout, as JSON lines, which users have one e-mail address by the rules of this version, and let all others be found by those. Ends with 1 if there are any."`
}

// usersImport imports users.
type usersImport struct {
	File   string `arg:"" name:"file" help:"File of users, each a JSON object on a line of its own."`
	Report string `env:"GATEHOUSE_IMPORT_REPORT" placeholder:"PATH" help:"File to write why lines were refused, as JSON lines: FILE.report if it is left out."`
	databaseCommand
}

func (c *usersImport) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	report := c.Report
	if report == "" {
		report = c.File + ".report"
	}
	summary, err := operator.ImportUsers(ctx,
		operator.ImportConfig{Database: c.config, File: c.File, Report: report}, log)
	if err != nil {
		return err
	}
	begin := "Imported"
	if summary.Already {
		begin = "This file was imported before, and nothing was done now. It had"
	}
	_, err = fmt.Fprintf(stdout, "%s %d users of %d lines; %d lines were refused.\n",
		begin, summary.Imported, summary.Lines, summary.Refused)
	if err == nil && summary.Refused > 0 {
		err = fmt.Errorf("%d lines were refused: the report tells why", summary.Refused)
		if !summary.Already {
			err = fmt.Errorf("%d lines were refused: %s tells why", summary.Refused, report)
		}
	}
	return err
}

// checkHash tries a password before an import.
type checkHash struct {
	File  string `arg:"" name:"file" help:"File of users, as for an import."`
	Email string `env:"GATEHOUSE_CHECK_EMAIL" placeholder:"ADDRESS" help:"E-mail address of the user whose hash is checked."`
	logSettings
}

func (c *checkHash) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	if c.Email == "" {
		problems.add(errors.New("--email is missing: name the user whose hash is to be checked"))
	}
}

func (c *checkHash) run(ctx context.Context, _ *slog.Logger, stdout io.Writer) error {
	password, err := readPassword(ctx, os.Stdin, os.Stderr)
	if err != nil {
		return err
	}
	matches, err := operator.CheckHash(ctx, c.File, c.Email, password)
	if err == nil && !matches {
		err = errors.New("the password does not match: it is another one, the hash was converted in a wrong way, " +
			"or the system that made it has a pepper")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, "The password matches.")
	return err
}

// checkEmails looks for users with one e-mail address.
type checkEmails struct{ databaseCommand }

func (c *checkEmails) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	changed, conflicts, err := operator.CheckEmails(ctx, c.config, stdout, log)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "checked the e-mail addresses", "changed", changed, "conflicts", conflicts)
	if conflicts > 0 {
		return fmt.Errorf("%d users have the e-mail address of another one: delete one of each two", conflicts)
	}
	return nil
}

// usersExport exports users.
type usersExport struct {
	WithHashes bool `env:"GATEHOUSE_EXPORT_WITH_HASHES" help:"Write the password hashes too. Keep what is written as a secret."`
	databaseCommand
}

func (c *usersExport) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	exported, err := operator.ExportUsers(ctx, c.config, c.WithHashes, stdout, log)
	if err == nil {
		log.InfoContext(ctx, "exported all users", "users", exported)
	}
	return err
}
