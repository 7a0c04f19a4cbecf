package testkit

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// FindProgram returns the path of the first of the programs that is in PATH or in the folders of servers, which not
// every PATH holds. The error names the command that installs it.
func FindProgram(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, folder := range []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"} {
			if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not installed: run tools/install-test-deps.sh", strings.Join(names, " or "))
}
