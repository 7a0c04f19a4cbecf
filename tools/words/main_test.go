package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCheckFile(t *testing.T) {
	for _, test := range []struct {
		name, file, content string
		want                []string // line and the start of the fault
	}{
		{"clean", "a.go", "// Package a returns nothing.\npackage a\n\n// F returns 1, or 0 if there is none.\nfunc F() int { return 1 }\n", nil},
		{"verb", "a.go", "package a\n\n// F gives 1.\nfunc F() int { return 1 }\n",
			[]string{`3: the doc comment of F: "gives": write returns`}},
		{"unknown verb", "a.go", "package a\n\n// T yodels.\ntype T int\n", []string{`3: the doc comment of T: "yodels" is no verb`}},
		{"no name", "a.go", "package a\n\n// Returns 1.\nfunc (t T) F() int { return 1 }\n", []string{"3: the doc comment of F starts otherwise"}},
		{"method of an interface", "a.go", "package a\n\ntype I interface {\n\t// M tells it.\n\tM()\n}\n",
			[]string{`4: the doc comment of M: "tells": write reports`}},
		{"two names", "a.go", "package a\n\n// Max and Min bound it.\nconst (\n\tMax = 1\n\tMin = 0\n)\n", nil},
		{"adverb, article, modal", "a.go", "package a\n\n// A T never returns.\ntype T int\n\n// F must be called.\nfunc F() {}\n", nil},
		{"package", "a.go", "// Package a keeps things.\npackage a\n", []string{`1: the doc comment of Package a: "keeps": write stores`}},
		{"test with a sentence", "a_test.go", "package a\n\n// Log-outs are final.\nfunc TestA() {}\n", nil},
		{"test with its name", "a_test.go", "package a\n\n// TestA tells it.\nfunc TestA() {}\n", []string{"3: "}},
		{"comment over two lines", "a.go", "package a\n\n// All\n// but\n// for one.\n", []string{`4: "but for": write except`}},
		{"string", "a.go", "package a\n\nvar s = \"what is owed\"\n", []string{`3: "owed": write`}},
		{"raw string", "a.go", "package a\n\nvar s = `a\nit is owed`\n", []string{`4: "owed": write`}},
		{"name", "a.go", "package a\n\nvar newSparseLog, newHouse2 int\n", []string{`3: "sparse log"`, `3: "house"`}},
		{"word for names only", "a.go", "package a\n\n// The bill is paid.\nvar paidBill int\n", []string{`4: "paid"`}},
		{"file name", "the_house.go", "package a\n", []string{`1: "house"`}},
		{"markdown", "a.md", "# It starts\n\nanew. It is there\nno any more. Any more bytes fail.\n", []string{`3: "anew"`, `4: "any more"`}},
		{"proto", "a.proto", "// Who calls\n// this waits.\n", []string{`1: "Who" starts a sentence`}},
		{"question", "a.md", "Who calls this?\n", nil},
		{"none of", "a.md", "A promise of that kind is none.\n", []string{`1: "is none"`}},
		{"end of a sentence", "a.md", "That is all it is. None is left, but. For one.\n", nil},
		{"name of a metric", "a.md", "`gatehouse_cache_owed_entries` counts them.\n", nil},
		{"other files", "a.png", "owed", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), test.file)
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			faults, err := checkFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(faults, test.want, func(f fault, want string) bool {
				return strings.HasPrefix(fmt.Sprintf("%d: %s", f.line, f.what), want)
			}) {
				t.Errorf("got %v, want %q", faults, test.want)
			}
		})
	}
}

func TestCheckTree(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"a/b.md", "gen/c.md", "node_modules/d.md"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("It is owed.\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	faults, err := checkTree(dir)
	if err != nil || len(faults) != 1 || faults[0].file != filepath.Join(dir, "a/b.md") {
		t.Errorf("got %v, %v, want one fault, in a/b.md", faults, err)
	}
}

// The lists must not refuse what they recommend.
func TestLists(t *testing.T) {
	for verb, better := range instead {
		if verbs[verb] {
			t.Errorf("%q is refused and in verbs.txt", verb)
		}
		if first, _, _ := strings.Cut(strings.ReplaceAll(better, ",", " "), " "); !verbs[first] {
			t.Errorf("%q is recommended and not in verbs.txt", first)
		}
	}
	for _, group := range rules {
		for _, r := range group {
			if r.instead == "" {
				t.Errorf("%q: nothing to write instead", r.words)
			}
		}
	}
}
