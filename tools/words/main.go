// Command words checks that a source tree is written in plain engineering English. It prints each fault as
// "file:line: what, instead" and exits with status 1 if it found any.
//
// Doc comments of packages, functions, methods and types start with the name and a verb of verbs.txt. The words of
// words.txt appear neither in Go (comments, strings, names) nor in Markdown, proto, shell, YAML and TypeScript files,
// nor in the names of files.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fault is one place that breaks a rule.
type fault struct {
	file string
	line int
	what string
}

func main() {
	dirs := os.Args[1:]
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	count := 0
	for _, dir := range dirs {
		faults, err := checkTree(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, "words:", err)
			os.Exit(2)
		}
		for _, f := range faults {
			fmt.Printf("%s:%d: %s\n", f.file, f.line, f.what)
		}
		count += len(faults)
	}
	if count > 0 {
		fmt.Fprintf(os.Stderr, "words: %d faults; docs/adr/0031-words.md has the rules\n", count)
		os.Exit(1)
	}
}

// ignoredDirs are generated, foreign, or the lists of this program.
var ignoredDirs = []string{"gen", "build", ".git", "node_modules", "testdata", "tools/words"}

// checkTree returns the faults of all files below dir, in the order of their names.
func checkTree(dir string) ([]fault, error) {
	var faults []fault
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != dir && slices.ContainsFunc(ignoredDirs, func(d string) bool {
				return entry.Name() == d || strings.HasSuffix("/"+filepath.ToSlash(path), "/"+d)
			}) {
				return filepath.SkipDir
			}
			return nil
		}
		found, err := checkFile(path)
		faults = append(faults, found...)
		return err
	})
	return faults, err
}

// checkFile returns the faults of one file. It ignores files of kinds that it does not know.
func checkFile(path string) ([]fault, error) {
	c := checker{file: path}
	ext := filepath.Ext(path)
	switch {
	case ext == ".go", isText(path, ext):
	default:
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c.words(nameTokens(strings.TrimSuffix(filepath.Base(path), ext), 1), true)
	if ext == ".go" {
		if err := c.goFile(content); err != nil {
			return nil, err
		}
	} else {
		c.words(textTokens(string(content), 1), false)
	}
	slices.SortStableFunc(c.faults, func(a, b fault) int { return a.line - b.line })
	return c.faults, nil
}

// isText reports whether a file is prose, or a kind of source whose every line is checked as prose.
func isText(path, ext string) bool {
	switch ext {
	case ".md", ".proto", ".sh", ".yml", ".yaml", ".ts", ".js":
		return true
	}
	return slices.Contains([]string{"Makefile", "Dockerfile", "run"}, filepath.Base(path))
}
