package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	storeservice "github.com/gatehouse-auth/gatehouse/services/store"

	"google.golang.org/grpc/status"
)

const adminPassword = "an admin's long password"

// cheap are the least settings that a store takes.
var cheap = []string{"--argon2-memory=7168", "--argon2-iterations=1"}

// newDatabase makes an empty database and gives the flag that names it.
func newDatabase(t *testing.T) string {
	t.Helper()
	database := "--database-url=sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db")
	if code, _, stderr := run(t, []string{"migrate", database}); code != exitOK {
		t.Fatal(stderr)
	}
	return database
}

// runStore runs a store until the test ends.
func runStore(t *testing.T, database string) *grpc.ClientConn {
	t.Helper()
	chosen := parsed(t, append([]string{"store", database, "--master-key=" + masterKey, "--service-token=" + serviceToken}, cheap...))
	service, err := storeservice.New(t.Context(), chosen.(*store).config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	listener := (&listeners{}).open(t.Context(), "127.0.0.1:0", "--listen")
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx, listener) }()
	credential := authn.ServiceCredential{Role: authn.PeerGateway, Token: serviceToken}
	conn, err := grpcx.Dial(listener.Addr().String(), credential)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := errors.Join(conn.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// giveStdin makes a file the standard input until the test ends.
func giveStdin(t *testing.T, file *os.File) {
	t.Helper()
	before := os.Stdin
	os.Stdin = file
	t.Cleanup(func() { os.Stdin = before; _ = file.Close() })
}

// pipe makes a pipe that holds this the standard input.
func pipe(t *testing.T, content string) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	giveStdin(t, reader)
	go func() { _, _ = io.WriteString(writer, content); _ = writer.Close() }()
}

func createAdmin(t *testing.T, stdin string, settings ...string) (code int, stdout, stderr string) {
	t.Helper()
	pipe(t, stdin)
	code, stdout, stderr = run(t, slices.Concat([]string{"admin", "create"}, cheap, settings))
	if strings.Contains(stdout+stderr, "long password") {
		t.Errorf("the password is printed: %s%s", stdout, stderr)
	}
	return code, stdout, stderr
}

func logIn(t *testing.T, conn *grpc.ClientConn, email, password string) (*gatehousev1.CreateSessionResponse, error) {
	t.Helper()
	return gatehousev1.NewSessionServiceClient(conn).CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: email, Password: password})
}

func TestAdminCreate(t *testing.T) {
	database := newDatabase(t)
	conn := runStore(t, database)
	for i, stdin := range []string{adminPassword, adminPassword + "\n", adminPassword + "\r\n", adminPassword + "\nnext"} {
		email := fmt.Sprintf("admin%d@example.com", i)
		code, stdout, stderr := createAdmin(t, stdin, database, "--email= "+email)
		if code != exitOK || !strings.HasPrefix(stdout, "Made administrator "+email+" with the id ") {
			t.Fatalf("%q: it ends with %d: %s%s", stdin, code, stdout, stderr)
		}
		session, err := logIn(t, conn, email, adminPassword)
		if err != nil {
			t.Fatalf("%q: %v", stdin, err)
		}
		if id := strings.Fields(stdout)[6]; session.GetSession().GetUserId()+"." != id {
			t.Errorf("the id is %s, not %s", id, session.GetSession().GetUserId())
		}
	}
}

func TestAdminCreateExistingAccount(t *testing.T) {
	database := newDatabase(t)
	conn := runStore(t, database)
	if code, _, stderr := createAdmin(t, adminPassword, database, "--email=ada@example.com"); code != exitOK {
		t.Fatal(stderr)
	}
	code, stdout, stderr := createAdmin(t, "another long password", database, "--email=ADA@example.com")
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "already has an account: nothing was changed") {
		t.Errorf("it ends with %d: %s%s", code, stdout, stderr)
	}
	if _, err := logIn(t, conn, "ada@example.com", adminPassword); err != nil {
		t.Error(err)
	}
	_, err := logIn(t, conn, "ada@example.com", "another long password")
	if got := apierr.ReasonOf(status.Convert(err)); got != gatehousev1.ErrorReason_ERROR_REASON_INVALID_CREDENTIALS {
		t.Errorf("the other password gets %v", err)
	}
}

func TestAdminCreateRules(t *testing.T) {
	database := newDatabase(t)
	for _, test := range []struct {
		name, stdin string
		settings    []string
		code        int
		fault       string
	}{
		{"no address", adminPassword, nil, exitUsage, "email must not be empty"},
		{"no address, and no name", adminPassword, []string{"--full-name="}, exitUsage, "full_name must not be empty"},
		{"no e-mail address", adminPassword, []string{"--email=ada"}, exitUsage, "email must be an e-mail address"},
		{"a name of control characters", adminPassword, []string{"--email=a@b.c", "--full-name=A\x07"}, exitUsage, "full_name must contain a visible"},
		{"an address that is no text", adminPassword, []string{"--email=\xff@b.c"}, exitUsage, "email must be an e-mail address"},
		{"weak hashes", adminPassword, []string{"--email=a@b.c", "--argon2-memory=1"}, exitUsage, "argon2 memory"},
		{"no password", "", []string{"--email=a@b.c"}, exitFailed, "password must not be empty"},
		{"a short password", "sesame\n", []string{"--email=a@b.c"}, exitFailed, "password must be at least 8 characters"},
		{"a password of less than it seems", strings.Repeat("e\u0301", 5), []string{"--email=a@b.c"}, exitFailed, "in Unicode normal form KC"},
		{"a common password", "password1\n", []string{"--email=a@b.c"}, exitFailed, "password is too common"},
		{"the address for a password", "root@example.com\n", []string{"--email=root@example.com"}, exitFailed, "must not be the e-mail address"},
		{"a long password", strings.Repeat("a", 1025), []string{"--email=a@b.c"}, exitFailed, "at most 1024 bytes"},
		{"a password without end", strings.Repeat("a", 10_000), []string{"--email=a@b.c"}, exitFailed, "at most 1024 bytes"},
		{"a password that is no text", "\xff\xff\xff\xff\xff\xff\xff\xff", []string{"--email=a@b.c"}, exitFailed, "must be UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := createAdmin(t, test.stdin, append(test.settings, database)...)
			if code != test.code || stdout != "" || !strings.Contains(stderr, test.fault) {
				t.Errorf("it ends with %d: %s%s", code, stdout, stderr)
			}
		})
	}
}

// terminal makes a pseudo-terminal the standard input, and gives the end that a person has.
func terminal(t *testing.T) *os.File {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	giveStdin(t, program)
	return person
}

// echo reports whether the terminal shows what is typed.
func echo(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// typeLines types each line once the terminal hides it.
func typeLines(t *testing.T, person *os.File, lines ...string) {
	t.Helper()
	for _, line := range lines {
		testkit.Eventually(t, func() error {
			if echo(t, os.Stdin) {
				return errors.New("what is typed is shown")
			}
			return nil
		})
		typeLine(t, person, line)
	}
}

// typeLine types a line, and waits until it is read.
func typeLine(t *testing.T, person *os.File, line string) {
	t.Helper()
	if _, err := person.WriteString(line + "\n"); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, func() error {
		waiting, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCINQ)
		if err == nil && waiting > 0 {
			err = errors.New("the line is not read")
		}
		return err
	})
}

func TestAdminCreateTerminal(t *testing.T) {
	for _, test := range []struct {
		name, first, second, fault string
	}{
		{"the same", adminPassword, adminPassword, ""},
		{"another", adminPassword, adminPassword + "!", "the passwords are not the same"},
	} {
		t.Run(test.name, func(t *testing.T) {
			person := terminal(t)
			var prompts strings.Builder
			done := make(chan struct{})
			var got string
			var err error
			go func() {
				defer close(done)
				got, err = readNewPassword(t.Context(), os.Stdin, &prompts)
			}()
			typeLines(t, person, test.first, test.second)
			<-done
			switch {
			case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
				t.Errorf("error is %v", err)
			case test.fault == "" && (err != nil || got != test.first):
				t.Errorf("it reads %q, %v", got, err)
			case strings.Count(prompts.String(), ": ") != 2:
				t.Errorf("it asks %q", &prompts)
			case !echo(t, os.Stdin):
				t.Error("the terminal stays silent")
			}
		})
	}
}

func TestAdminCreateInterrupted(t *testing.T) {
	person := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := readNewPassword(ctx, os.Stdin, io.Discard)
		done <- err
	}()
	testkit.Eventually(t, func() error {
		if echo(t, os.Stdin) {
			return errors.New("what is typed is shown")
		}
		return nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if !echo(t, os.Stdin) {
		t.Error("the terminal stays silent")
	}
	typeLine(t, person, "") // So that nobody waits for it no longer.
}
