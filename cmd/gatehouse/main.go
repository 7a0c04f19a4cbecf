// Command gatehouse is the command line of Gatehouse: `gatehouse up` runs all of it, `gatehouse gateway`, `cache` and
// `store` run one service each, and the other commands are for operators.
//
// It has more than twelve files because each command has one. Nothing imports it: what commands do is in the services.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/gatehouse-auth/gatehouse/internal/logging"
)

// Exit codes: 1 for a command that failed, 2 for a command line or configuration that is wrong.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// envPrefix begins the name of every environment variable that is read.
const envPrefix = "GATEHOUSE"

// commands are the commands of gatehouse.
type commands struct {
	Up      up      `cmd:"" help:"Run everything in this process, on a SQLite file and a memory cache."`
	Gateway gateway `cmd:"" help:"Run the gateway: the service that clients talk to, over REST and gRPC."`
	Cache   cache   `cmd:"" help:"Run the entry cache, on Redis."`
	Store   store   `cmd:"" help:"Run the entry store, on MySQL or MariaDB."`
	Migrate migrate `cmd:"" help:"Bring the schema of the store's database to what this version needs, and end."`
	Keys    keys    `cmd:"" help:"Look at the signing keys in the store's database, or change them, and end."`
	Epoch   epoch   `cmd:"" help:"Tell all who keep copies of the store's database that it was restored to an earlier point, and end."`
	Admin   admin   `cmd:"" help:"Make an administrator in the store's database, and end."`
	Users   users   `cmd:"" help:"Import users into the store's database or export them, and end."`
	Audit   audit   `cmd:"" help:"Export the audit events of the store's database, and end."`
	Health  health  `cmd:"" help:"Ask a running service for its health, and end: 0 if it is serving, 1 if not."`

	Version    version    `cmd:"" help:"Print the version, and end."`
	Help       help       `cmd:"" help:"Print the help of a command, and end."`
	Completion completion `cmd:"" help:"Print a script by which a shell completes the command line, and end."`

	VersionFlag kong.VersionFlag `name:"version" env:"-" help:"Print the version, and end."`
}

// command is what each command does with its settings.
type command interface {
	// resolve reads the settings, and the files that they name, into the configuration of the command. It adds everything
	// that is wrong with them to problems.
	resolve(problems *errorCollector)
	// run does the work until it is done or ctx is. The log is made by logger.
	run(ctx context.Context, log *slog.Logger, stdout io.Writer) error
	// logger returns the log, which is written to stderr.
	logger(stderr *logging.Writer) *slog.Logger
}

func main() {
	captureLibraries()
	os.Exit(execute(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// execute runs gatehouse with these arguments and this environment ("NAME=value"), and returns its exit code. SIGINT
// and SIGTERM end a service gracefully; a second one ends it at once. A reader of stderr that goes away or stalls
// neither ends nor stops anything.
func execute(args, environment []string, stdout, stderr io.Writer) int {
	signal.Ignore(syscall.SIGPIPE) // Writes to a pipe without a reader fail instead.
	errs := logging.NewWriter(stderr)
	defer errs.Close()
	chosen, ignored, err := parse(args, environment, stdout)
	switch {
	case errors.Is(err, errHelp):
		return exitOK
	case err != nil:
		report(errs, err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	log := chosen.logger(errs)
	slog.SetDefault(log) // Libraries log there.
	if len(ignored) > 0 {
		log.Log(ctx, ignoredLevel(chosen), "environment has settings that this command does not use", "variables", ignored)
	}
	if err := chosen.run(ctx, log, stdout); err != nil {
		report(errs, err)
		return exitFailed
	}
	return exitOK
}

// ignoredLevel returns the level at which settings that the command does not use are logged. Services may share one
// environment; of up, which has its own database and cache, more may be expected.
func ignoredLevel(chosen command) slog.Level {
	switch chosen.(type) {
	case *up:
		return slog.LevelWarn
	case *gateway, *cache, *store:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

// report writes an error that may join several: one line each. It ignores that the reader of stdout has gone away.
func report(w io.Writer, err error) {
	var failed *fs.PathError
	if errors.As(err, &failed) && failed.Path == os.Stdout.Name() && errors.Is(failed.Err, syscall.EPIPE) {
		return
	}
	for line := range strings.Lines(err.Error() + "\n") {
		_, _ = fmt.Fprint(w, "gatehouse: "+line) // There is nowhere else to write it.
	}
}

// errHelp reports that help or the version was asked for and has been printed.
var errHelp = errors.New("help was printed")

// parse returns the command with its configuration, and the names of the variables that it does not use, or an error
// with everything that is wrong with the settings.
func parse(args, environment []string, stdout io.Writer) (_ command, ignored []string, err error) {
	var all commands
	problems := &errorCollector{}
	parser, err := newParser(&all, problems, stdout)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if panicked := recover(); panicked == errHelp { //nolint:errorlint // it is the very value
			err = errHelp
		} else if panicked != nil {
			panic(panicked)
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (see gatehouse --help)", err)
	}
	chosen, ok := reflect.TypeAssert[command](parsed.Selected().Target.Addr())
	if !ok {
		return nil, nil, fmt.Errorf("command %s cannot be run", parsed.Command())
	}
	if topic, ok := chosen.(*help); ok {
		return parse(append(topic.Command, "--help"), environment, stdout)
	}
	if _, ok := chosen.(interface{ ignoresEnvironment() }); ok {
		return chosen, nil, problems.err()
	}
	problems.add(unknownVariables(parser.Model, environment)...)
	problems.add(emptyKeys(parsed.Flags(), environment)...)
	chosen.resolve(problems)
	return chosen, ignoredVariables(parsed.Flags(), environment), problems.err()
}

func newParser(all *commands, problems *errorCollector, stdout io.Writer) (*kong.Kong, error) {
	options := []kong.Option{
		kong.Name("gatehouse"),
		kong.Description("Accounts for a product: sign up, log in, read a profile, over REST and gRPC."),
		kong.DefaultEnvars(envPrefix),
		kong.Vars{"version": versionText(debug.ReadBuildInfo())},
		kong.Writers(stdout, stdout),
		kong.Exit(func(int) { panic(errHelp) }), // kong exits for --help and --version only.
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	}
	parser, err := kong.New(all, append(options, problems.mappers()...)...)
	if err != nil {
		return nil, fmt.Errorf("set up the command line: %w", err)
	}
	return parser, nil
}
