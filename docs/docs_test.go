// Package docs_test checks that what the documents name is there.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = ".."

var (
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)")
	declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	link         = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
)

func TestDocuments(t *testing.T) {
	documents := readAll(t, ".md")
	t.Run("every_test_that_a_document_names_exists", func(t *testing.T) {
		declared := map[string]bool{}
		for _, source := range readAll(t, "_test.go") {
			for _, match := range declaredTest.FindAllStringSubmatch(source, -1) {
				declared[match[1]] = true
			}
		}
		for name, text := range documents {
			for _, match := range namedTest.FindAllStringSubmatch(text, -1) {
				if !declared[match[1]] {
					t.Errorf("%s names %s, which is no test", name, match[1])
				}
			}
		}
	})
	t.Run("every_file_that_a_document_links_to_exists", func(t *testing.T) {
		for name, text := range documents {
			for _, match := range link.FindAllStringSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), match[1])); err != nil {
					t.Errorf("%s links to %s: %v", name, match[1], err)
				}
			}
		}
	})
}

// readAll returns the texts of the repository's files whose names end so, by their paths.
func readAll(t *testing.T, suffix string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if name := entry.Name(); path != root && (strings.HasPrefix(name, ".") || name == "build" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, suffix):
			return nil
		}
		text, err := os.ReadFile(path)
		name, relErr := filepath.Rel(root, path)
		if err == nil {
			err = relErr
		}
		texts[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}
