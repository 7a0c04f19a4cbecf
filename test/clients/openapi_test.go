package clients

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenAPIClients generates clients from the document that a gateway serves, and runs them against it.
func TestOpenAPIClients(t *testing.T) {
	t.Parallel()
	g := startUp(t)
	document := download(t, g.url+"/openapi.json")

	t.Run("two_linters_find_nothing", func(t *testing.T) {
		t.Parallel()
		g.runNode(t, "lint_openapi.js", document)
	})
	t.Run("openapi-fetch_and_hey-api_sign_up_log_in_and_log_out", func(t *testing.T) {
		t.Parallel()
		dir := copyTypeScript(t)
		copyFile(t, document, filepath.Join(dir, "openapi.json"))
		bin := filepath.Join("node_modules", ".bin")
		runIn(t, dir, nil, filepath.Join(bin, "openapi-typescript"), "openapi.json", "-o", "openapi_fetch/schema.d.ts")
		runIn(t, dir, nil, filepath.Join(bin, "openapi-ts"))
		runIn(t, dir, nil, filepath.Join(bin, "tsc"), "-p", ".")
		for _, script := range []string{"openapi_fetch.js", "hey_api.js"} {
			runIn(t, dir, g.env(), "node", script)
		}
	})
	t.Run("ogen_signs_up_logs_in_and_logs_out", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		copyFiles(t, "ogen", dir, "*")
		runIn(t, dir, nil, "go", "tool", "ogen", "--config", "ogen.yml", "--target", "api", "--package", "api", document)
		runIn(t, dir, g.env(), "go", "run", ".")
	})
}

func download(t *testing.T, url string) (path string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	path = filepath.Join(t.TempDir(), filepath.Base(url))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// copyTypeScript copies the TypeScript of this folder to a new one, where code can be generated beside it.
func copyTypeScript(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, files := range []string{"*.ts", "*.json", "*.config.js"} {
		copyFiles(t, ".", dir, files)
	}
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFiles(t *testing.T, from, to, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no %s (%v)", from, pattern, err)
	}
	for _, file := range files {
		copyFile(t, file, filepath.Join(to, filepath.Base(file)))
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// runIn runs a program in a folder with these variables beside the environment of the test, and returns its standard
// output. The test fails if the program does.
func runIn(t *testing.T, dir string, env []string, program string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir, command.Env = dir, append(os.Environ(), env...)
	stderr := &strings.Builder{}
	command.Stderr = stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", command.Args, err, output, stderr)
	}
	return string(output)
}
