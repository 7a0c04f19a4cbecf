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

// adminCreate makes an administrator. The password is no setting: others can read those.
type adminCreate struct {
	Email    string `env:"GATEHOUSE_ADMIN_EMAIL" placeholder:"ADDRESS" help:"E-mail address of the administrator."`
	FullName string `env:"GATEHOUSE_ADMIN_FULL_NAME" default:"Administrator" help:"Name of the administrator."`
	databaseSettings
	argon2Settings
	logSettings
}

func (c *adminCreate) config() (operator.AdminConfig, error) {
	database, err := c.database()
	return operator.AdminConfig{
		Database: database, Password: c.password(), Email: c.Email, FullName: c.FullName,
	}, err
}

func (c *adminCreate) faults() error {
	config, err := c.config()
	if config.Database.URL == "" { // It is named already; a stand-in keeps Validate from naming it again.
		config.Database.URL = "sqlite:missing"
	}
	return errors.Join(c.logSettings.faults(), err, config.Validate())
}

func (c *adminCreate) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	password, err := readNewPassword(ctx, os.Stdin, os.Stderr)
	if err != nil {
		return err
	}
	id, err := operator.CreateAdmin(ctx, config, password, log)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Made administrator %s with the id %s.\n", strings.TrimSpace(c.Email), id)
	return err
}

// errNotTheSame tells that a password was not typed twice alike.
var errNotTheSame = errors.New("the passwords are not the same: nothing was changed")

// readNewPassword asks for a password twice, without showing it, or reads the first line of what is no terminal.
func readNewPassword(ctx context.Context, stdin *os.File, prompts io.Writer) (string, error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		return readLine(stdin)
	}
	first, err := askHidden(ctx, stdin, prompts, "Password of the administrator: ")
	if err != nil {
		return "", err
	}
	second, err := askHidden(ctx, stdin, prompts, "The same again: ")
	if err == nil && first != second {
		err = errNotTheSame
	}
	return first, err
}

// readPassword reads a password from the terminal without echo, or the first line of stdin if that is no terminal.
func readPassword(ctx context.Context, stdin *os.File, prompts io.Writer) (string, error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		return readLine(stdin)
	}
	return askHidden(ctx, stdin, prompts, "Password: ")
}

// readLine reads up to the first line break or the end. More than passwordLimit is left unread: the store refuses what
// is a fourth of that.
func readLine(stdin io.Reader) (string, error) {
	const passwordLimit = 4 << 10 // bytes
	line, err := bufio.NewReader(io.LimitReader(stdin, passwordLimit)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password from stdin: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

// askHidden reads a line from the terminal without showing it. If ctx ends meanwhile, by Ctrl-C, it leaves the terminal
// as it was.
func askHidden(ctx context.Context, terminal *os.File, prompts io.Writer, prompt string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	_, _ = fmt.Fprint(prompts, prompt) // Whoever does not see it knows what the command wants.
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
