package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	codeSpan    = regexp.MustCompile("`([^`\n]+)`")
	commandLine = regexp.MustCompile(`^(?:go run \./cmd/)?gatehouse ([a-z].*)`)
	longFlag    = regexp.MustCompile(`^--[a-z][a-z0-9-]+`)
)

// otherPrograms are flags of other programs that documents name by themselves.
var otherPrograms = []string{"--volumes"}

// TestDocumentFlags: what the documents say of the command line is what it has: commands with their flags, in blocks and
// in running text, and flags by themselves.
func TestDocumentFlags(t *testing.T) {
	setenv(t)
	flags := map[string]bool{}
	parser, err := newParser(&commands{}, &errorCollector{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(false) {
		for _, flag := range leaf.Flags {
			flags["--"+flag.Name] = true
		}
	}
	checked := 0
	for path, text := range readDocuments(t) {
		for _, words := range commandLines(text) {
			checked++
			parser, err := newParser(&commands{}, &errorCollector{}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(words); err != nil && !strings.HasPrefix(err.Error(), "expected ") { // Less is fine in a text.
				t.Errorf("%s: gatehouse %s: %v", path, strings.Join(words, " "), err)
			}
		}
		for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
			if flag := longFlag.FindString(span[1]); flag != "" && !flags[flag] && !slices.Contains(otherPrograms, flag) {
				t.Errorf("%s names %s, which is no flag", path, flag)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d command lines were found", checked)
	}
}

// commandLines returns the arguments of each gatehouse in a document, up to where the shell takes over.
func commandLines(text string) (lines [][]string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	var candidates []string
	for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
		candidates = append(candidates, span[1])
	}
	for line := range strings.Lines(text) {
		_, after, piped := strings.Cut(line, " | ")
		candidates = append(candidates, strings.TrimSpace(line))
		if piped {
			candidates = append(candidates, strings.TrimSpace(after))
		}
	}
	for _, candidate := range candidates {
		match := commandLine.FindStringSubmatch(candidate)
		if match == nil {
			continue
		}
		var words []string
		for word := range strings.FieldsSeq(match[1]) {
			if strings.ContainsAny(word, "&|<>;#") {
				break
			}
			words = append(words, strings.Trim(word, `"'`))
		}
		lines = append(lines, words)
	}
	return lines
}

func readDocuments(t *testing.T) map[string]string {
	t.Helper()
	paths := []string{"../../README.md", "../../CONTRIBUTING.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/guides/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	texts := map[string]string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(content)
	}
	return texts
}
