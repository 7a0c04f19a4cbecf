//go:build long

package faults

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// module is the folder of the module, from here.
const module = "../.."

// overlay are files of the module as they are to be compiled, by their paths from its folder. What is built with one is
// another Gatehouse; what is released has no switch that could make it so.
type overlay map[string]string

// replace changes one place of a file, which must be there once.
func (o overlay) replace(file, old, with string) error {
	source, changed := o[file]
	if !changed {
		read, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return err
		}
		source = string(read)
	}
	if found := strings.Count(source, old); found != 1 {
		return fmt.Errorf("%s has %q %d times, not once", file, old, found)
	}
	o[file] = strings.Replace(source, old, with, 1)
	return nil
}

// build builds the program with the overlay, into a folder, and gives its path.
func (o overlay) build(dir, name string) (string, error) {
	root, err := filepath.Abs(module)
	if err != nil {
		return "", err
	}
	replaced := struct{ Replace map[string]string }{map[string]string{}}
	for file, source := range o {
		changed := filepath.Join(dir, name+"-"+strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(changed, []byte(source), 0o600); err != nil {
			return "", err
		}
		replaced.Replace[filepath.Join(root, file)] = changed
	}
	list, err := json.Marshal(replaced)
	if err != nil {
		return "", err
	}
	listed, program := filepath.Join(dir, name+".json"), filepath.Join(dir, name)
	if err := os.WriteFile(listed, list, 0o600); err != nil {
		return "", err
	}
	command := exec.Command("go", "build", "-overlay", listed, "-o", program, "./cmd/gatehouse")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, output)
	}
	return program, nil
}

// clockVariable reports how far the clock of a process is ahead that is built to have one of its own ("-5m").
const clockVariable = "FAULTS_CLOCK"

// ownClock is put beside each package of the services. What they measure is not changed by it: both ends are off.
const ownClock = `%s

import (
	"os"
	"time"
)

var faultyAhead, _ = time.ParseDuration(os.Getenv(%q))

func faulty(now func() time.Time) func() time.Time { return func() time.Time { return now().Add(faultyAhead) } }
`

// buildWithOwnClock builds services that take the time from a clock that may be wrong.
func buildWithOwnClock(dir string) (program string, err error) {
	made := overlay{}
	err = fs.WalkDir(os.DirFS(module), "services", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return err
		}
		changed := strings.NewReplacer("time.Now", "faulty(time.Now)", "time.Since(", "faulty(time.Now)().Sub(").Replace(string(source))
		if changed != string(source) {
			made[file] = changed
			made[filepath.Join(filepath.Dir(file), "faulty_clock.go")] = fmt.Sprintf(ownClock, packageOf.FindString(changed), clockVariable)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return made.build(dir, "wrong-clock")
}

// packageOf finds the line that names a file's package.
var packageOf = regexp.MustCompile(`(?m)^package \w+$`)

func mustBuild(t *testing.T, changed overlay, name string) string {
	t.Helper()
	program, err := changed.build(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return program
}
