package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

const checkout = "../.."

// shells are those that readers paste blocks into. Both are interactive, so that what only a script may have, such as a
// comment in zsh, fails.
var shells = map[string][]string{
	"bash": {"bash", "--norc", "--noprofile", "-i", "-e"},
	"zsh":  {"zsh", "-f", "-i", "-e"},
}

// TestDocumentBlocks runs the shell blocks of the documents, as pasted into an interactive shell, in a copy of the
// checkout with programs in PATH that stand in for addresses which others may use: see stubs. No command may fail, no
// call may be answered with an error, and nothing may be left that git would commit or the image build would copy.
func TestDocumentBlocks(t *testing.T) {
	t.Parallel()
	started, guides := readBlocks(t, "README.md", "docs/getting-started.md"), []string{}
	operations := readBlocks(t, "docs/operations.md")
	paths, err := filepath.Glob(checkout + "/docs/guides/*.md")
	if err != nil || len(paths) < 4 {
		t.Fatalf("the guides are %v, %v", paths, err)
	}
	for _, path := range paths {
		guides = append(guides, "docs/guides/"+filepath.Base(path))
	}
	for shell := range shells {
		t.Run(shell+"/README", func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(started[0].text, "go run ./cmd/gatehouse up\n") {
				t.Fatalf("the README starts with %q", started[0].text)
			}
			r := newReader(t, shell)
			stop := r.runUp(started[0].text)
			checkREADMEAnswer(t, "http://"+r.http)
			r.paste(started[1:])
			stop()
			r.checkFiles()
		})
		t.Run(shell+"/docs/operations.md", func(t *testing.T) {
			t.Parallel()
			r := newReader(t, shell)
			r.startServers()
			r.paste(operations)
			r.checkFiles()
		})
		for _, guide := range guides {
			blocks := readBlocks(t, guide)
			if len(blocks) == 0 {
				continue
			}
			t.Run(shell+"/"+guide, func(t *testing.T) {
				t.Parallel()
				r := newReader(t, shell)
				stop := r.runUp("go run ./cmd/gatehouse up\n")
				signUpByREST(t, "http://"+r.http, "ada@example.com")
				r.env = append(r.env, "GATEHOUSE_DATABASE_URL=sqlite:gatehouse-data/gatehouse.db",
					"GATEHOUSE_MASTER_KEY_FILE=gatehouse-data/master.key")
				r.paste(blocks)
				stop()
				r.checkFiles()
			})
		}
	}
}

// TestDocumentBlocksNotRun checks that blocks that are not run name files and targets that exist.
func TestDocumentBlocksNotRun(t *testing.T) {
	makefile, err := os.ReadFile(checkout + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	paths, targets := regexp.MustCompile(`(?:^|\s)(\./[\w./-]*\w|deploy/[\w./-]+)`), regexp.MustCompile(`(?m)^(?:\S+=\S+ )*make (\S+)`)
	found := 0
	run := []string{"README.md", "docs/getting-started.md", "docs/operations.md"}
	for _, document := range append(run, "CONTRIBUTING.md", "docs/benchmarks.md", "docs/guarantees.md") {
		for _, b := range readBlocks(t, document) {
			if !b.notRun && slices.Contains(run, document) {
				continue
			}
			if !b.notRun {
				t.Errorf("%s:%d: this block is neither run by TestDocumentBlocks nor marked", document, b.line)
			}
			for _, match := range paths.FindAllStringSubmatch(b.text, -1) {
				found++
				_, err := os.Stat(filepath.Join(checkout, match[1]))
				if _, ofTests := os.Stat(filepath.Join(checkout, "test", match[1])); err != nil && ofTests != nil {
					t.Errorf("%s:%d: %v", document, b.line, err)
				}
			}
			for _, match := range targets.FindAllStringSubmatch(b.text, -1) {
				found++
				if !bytes.Contains(makefile, []byte("\n"+match[1]+":")) {
					t.Errorf("%s:%d: there is no target %s", document, b.line, match[1])
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d files and targets were found", found)
	}
}

// block is a block of shell commands in a document.
type block struct {
	document string
	line     int
	text     string
	notRun   bool // marked by a comment <!-- not run: REASON --> on the line before it
}

func readBlocks(t *testing.T, documents ...string) (blocks []block) {
	t.Helper()
	for _, document := range documents {
		content, err := os.ReadFile(filepath.Join(checkout, document))
		if err != nil {
			t.Fatal(err)
		}
		before := ""
		var current *block
		for i, line := range strings.Split(string(content), "\n") {
			switch {
			case current != nil && line == "```":
				blocks, current = append(blocks, *current), nil
			case current != nil:
				current.text += line + "\n"
			case line == "```sh":
				current = &block{document: document, line: i + 1, notRun: strings.HasPrefix(before, "<!-- not run: ")}
			}
			before = line
		}
	}
	return blocks
}

// reader is somebody who follows a document.
type reader struct {
	t                       *testing.T
	shell, dir, http, stubs string
	env                     []string
}

// newReader returns a reader in a folder that is a checkout to git, with the files that blocks name.
func newReader(t *testing.T, shell string) *reader {
	t.Helper()
	r := &reader{t: t, shell: shell, dir: t.TempDir(), stubs: t.TempDir(), http: cluster.FreeAddress(t)}
	for _, name := range []string{".gitignore", ".dockerignore", "Makefile", "deploy/make-env.sh"} {
		content, err := os.ReadFile(filepath.Join(checkout, name))
		if err != nil {
			t.Fatal(err)
		}
		r.write(filepath.Join(r.dir, name), string(content), 0o600)
	}
	path, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range stubs {
		program, _ := exec.LookPath(name) // For those that stand in for one.
		r.write(filepath.Join(r.stubs, name), "#!/bin/sh\nset -eu\nreal="+program+"\n"+text, 0o700)
	}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "GATEHOUSE_") {
			r.env = append(r.env, variable)
		}
	}
	r.env = append(r.env, "PATH="+r.stubs+":"+os.Getenv("PATH"), "HOME="+r.dir, "HISTFILE=", "STUBS="+r.stubs, "BINARY="+path,
		"HTTP="+r.http, "GRPC="+cluster.FreeAddress(t), "CACHE="+cluster.FreeAddress(t), "STORE="+cluster.FreeAddress(t))
	r.git("init", "-q")
	r.git("add", "-A")
	r.git("-c", "user.name=reader", "-c", "user.email=reader@example.com", "commit", "-qm", "clone")
	return r
}

// stubs are programs in PATH before those of the system. They give gatehouse and its clients addresses of their own, as
// the standard ones may be used by others; curl fails where the answer is an error; and nothing is built again.
var stubs = map[string]string{
	"gatehouse": `
if [ -n "${GATEHOUSE_DATABASE_URL-}" ] && [ -n "${MARIADB-}" ]; then
	GATEHOUSE_DATABASE_URL=$(echo "$GATEHOUSE_DATABASE_URL" | sed "s/localhost:3306/$MARIADB/")
fi
case $1 in
up) set -- "$@" --http "$HTTP" --grpc "$GRPC" --argon2-memory 7168 --argon2-iterations 1 ;;
store) set -- "$@" --listen "$STORE" --argon2-memory 7168 --argon2-iterations 1 ;;
cache) set -- "$@" --listen "$CACHE" --store-address "$STORE" --redis-url "$REDIS" ;;
gateway) set -- "$@" --http "$HTTP" --grpc "$GRPC" --cache-address "$CACHE" --store-address "$STORE" --drain-delay 0s ;;
esac
exec "$BINARY" "$@"
`,
	"go": `
[ "$1 $2" = "run ./cmd/gatehouse" ]
shift 2
exec "$STUBS/gatehouse" "$@"
`,
	"make": `
grep -q "^$1:" Makefile
case $1 in
build) mkdir -p build; ln -sf "$STUBS/gatehouse" build/gatehouse ;;
test) ;;
*) exit 1 ;;
esac
`,
	"curl": `
for argument; do
	shift
	set -- "$@" "$(printf %s "$argument" | sed "s/^\(http:..\)\{0,1\}localhost:8080/http:\/\/$HTTP/")"
done
exec "$real" --fail-with-body "$@"
`,
	"mariadb": `exec "$real" --host "${MARIADB%:*}" --port "${MARIADB#*:}" "$@"` + "\n",
}

// runUp runs the block that starts `up` and waits until it is ready. The function that it returns stops it by Ctrl-C.
func (r *reader) runUp(text string) (stop func()) {
	r.t.Helper()
	process := &testkit.Process{
		Path: "/bin/sh", Args: []string{"-c", "cd " + r.dir + " && exec " + text}, Env: r.env, Log: filepath.Join(r.t.TempDir(), "up"),
	}
	if err := process.Start((&cluster.Service{REST: "http://" + r.http}).Ready); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(process.Kill)
	return func() {
		r.t.Helper()
		if code, err := process.Stop(); err != nil || code != 0 {
			r.t.Errorf("up ended with %d, %v:\n%s", code, err, process.Tail())
		}
	}
}

// startServers starts the database and the Redis that docs/operations.md assumes.
func (r *reader) startServers() {
	r.t.Helper()
	mariadb, redis := testkit.StartMariaDB(r.t), testkit.StartRedis(r.t)
	url := mariadb.URL("")
	r.env = append(r.env, "MARIADB="+strings.Trim(url[strings.Index(url, "@")+1:], "/"), "REDIS="+redis.URL())
}

// paste pastes the blocks into one shell. It stops at the first command that fails.
func (r *reader) paste(blocks []block) {
	r.t.Helper()
	var input, output bytes.Buffer
	for _, b := range blocks {
		if !b.notRun {
			fmt.Fprintf(&input, "echo '%s:%d'\n%s", b.document, b.line, b.text)
		}
	}
	input.WriteString("wait\necho pasted $((6 * 7))\n") // It is not what is printed where input is echoed.
	args := shells[r.shell]
	command := exec.Command(args[0], args[1:]...)
	command.Dir, command.Env, command.Stdin, command.Stdout, command.Stderr = r.dir, r.env, &input, &output, &output
	if err := command.Run(); err != nil || !strings.Contains(output.String(), "pasted 42") {
		r.t.Errorf("%s: %v\n%s", r.shell, err, output.String())
	}
}

// checkFiles reports files in the checkout that git would commit, or that the image build would copy.
func (r *reader) checkFiles() {
	r.t.Helper()
	if status := r.git("status", "--porcelain", "--untracked-files=all"); status != "" {
		r.t.Errorf("git would commit what a block has made:\n%s", status)
	}
	dockerignore, err := os.ReadFile(filepath.Join(r.dir, ".dockerignore"))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(r.git("status", "--porcelain", "--ignored")) {
		path := strings.Trim(strings.TrimPrefix(line, "!! "), "/\n")
		if !slices.Contains(strings.Split(string(dockerignore), "\n"), path) {
			r.t.Errorf("the image build would copy %s", path)
		}
	}
}

func (r *reader) git(args ...string) string {
	r.t.Helper()
	command := exec.Command("git", args...)
	command.Dir = r.dir
	output, err := command.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, output)
	}
	return string(output)
}

func (r *reader) write(path, content string, mode os.FileMode) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		r.t.Fatal(err)
	}
}

// checkREADMEAnswer compares the answer to a sign-up with that of the README: both have the same members.
func checkREADMEAnswer(t *testing.T, base string) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(checkout, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "```json\n")
	block, _, _ = strings.Cut(block, "```")
	var shown, answer map[string]map[string]any
	if err := json.Unmarshal([]byte(block), &shown); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(signUpByREST(t, base, "grace@example.com"), &answer); err != nil {
		t.Fatal(err)
	}
	got, want := slices.Sorted(maps.Keys(shown["user"])), slices.Sorted(maps.Keys(answer["user"]))
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("the README shows an answer with %q, it has %q", got, want)
	}
}

// signUpByREST signs up as the README does, and returns the answer.
func signUpByREST(t *testing.T, base, email string) []byte {
	t.Helper()
	body := `{"email":"` + email + `","fullName":"Ada Lovelace","password":"correct horse battery staple"}`
	response, err := http.Post(base+"/v1/users", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	return answer
}
