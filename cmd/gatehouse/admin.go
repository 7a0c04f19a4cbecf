package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// admin are the commands for administrators. They work on the store's database, beside the stores that run on it.
type admin struct {
	Create adminCreate `cmd:"" help:"Make an account with the role admin. The password is asked for, or read from stdin where that is no terminal."`
}

// adminCreate creates an administrator. The password is not a setting: others can read those.
type adminCreate struct {
	Email    string `env:"GATEHOUSE_ADMIN_EMAIL" placeholder:"ADDRESS" help:"E-mail address of the administrator."`
	FullName string `env:"GATEHOUSE_ADMIN_FULL_NAME" default:"Administrator" help:"Name of the administrator."`
	databaseSettings
	argon2Settings
	logSettings

	config operator.AdminConfig // set by resolve
}

func (c *adminCreate) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	c.config = operator.AdminConfig{
		Database: c.database(problems), Password: c.password(), Email: c.Email, FullName: c.FullName,
	}
	problems.add(c.config.ValidateAccount())
}

func (c *adminCreate) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	password, err := readNewPassword(ctx, os.Stdin, os.Stderr)
	if err != nil {
		return err
	}
	id, err := operator.CreateAdmin(ctx, c.config, password, log)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Made administrator %s with the id %s.\n", strings.TrimSpace(c.Email), id)
	return err
}

// errPasswordsDiffer reports that the password was not typed twice alike.
var errPasswordsDiffer = errors.New("the passwords are not the same: nothing was changed")

// readNewPassword reads a password from the terminal twice, without echo, or the first line of stdin if that is not a
// terminal.
func readNewPassword(ctx context.Context, stdin *os.File, prompts io.Writer) (string, error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		return readLine(stdin)
	}
	first, err := readHidden(ctx, stdin, prompts, "Password of the administrator: ")
	if err != nil {
		return "", err
	}
	second, err := readHidden(ctx, stdin, prompts, "The same again: ")
	if err == nil && first != second {
		err = errPasswordsDiffer
	}
	return first, err
}

// readPassword reads a password from the terminal without echo, or the first line of stdin if that is not a
// terminal.
func readPassword(ctx context.Context, stdin *os.File, prompts io.Writer) (string, error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		return readLine(stdin)
	}
	return readHidden(ctx, stdin, prompts, "Password: ")
}

// readLine reads up to the first line break or the end, at most passwordLimit bytes: the store rejects passwords of a
// quarter of that.
func readLine(stdin io.Reader) (string, error) {
	const passwordLimit = 4 << 10 // bytes
	line, err := bufio.NewReader(io.LimitReader(stdin, passwordLimit)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password from stdin: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

// readHidden reads a line from the terminal without echo. If ctx ends meanwhile, by Ctrl-C, it restores the terminal.
func readHidden(ctx context.Context, terminal *os.File, prompts io.Writer, prompt string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	_, _ = fmt.Fprint(prompts, prompt) // A prompt that cannot be written is no reason to fail.
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answers <- answer{line, err}
	}()
	select {
	case given := <-answers:
		_, _ = fmt.Fprintln(prompts) // The line break was not shown either.
		if given.err != nil {
			return "", fmt.Errorf("read the password from the terminal: %w", given.err)
		}
		return string(given.line), nil
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
