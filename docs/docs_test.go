// Package docs_test checks that what the documents name exists.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1" // Registers the contract.
)

const root = ".."

var (
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)")
	declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	link         = regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)]*))?\)`)
	heading      = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	parameter    = regexp.MustCompile(`\{[^}]*\}`)
	namedPath    = regexp.MustCompile("`((?:api|cmd|deploy|docs|gen|internal|openapi|services|test|tools)/[\\w./-]+)`(\\]\\()?")
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
	t.Run("every_link_leads_to_a_file_and_a_heading", func(t *testing.T) {
		for name, text := range documents {
			for _, match := range link.FindAllStringSubmatch(text, -1) {
				target := name
				if match[1] != "" {
					target = filepath.Join(filepath.Dir(name), match[1])
				}
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s links to %s: %v", name, match[1], err)
				} else if match[2] != "" && !slices.Contains(anchors(documents[target]), match[2]) {
					t.Errorf("%s links to %s, which has no heading %s", name, target, match[2])
				}
			}
		}
	})
	t.Run("every_path_that_a_document_names_exists", func(t *testing.T) {
		for name, text := range documents {
			for _, match := range namedPath.FindAllStringSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(root, match[1])); err != nil && match[2] == "" { // A link's text is free.
					t.Errorf("%s names %s: %v", name, match[1], err)
				}
			}
		}
	})
	t.Run("the_README_is_short", func(t *testing.T) {
		if lines := strings.Count(documents["README.md"], "\n"); lines > 150 {
			t.Errorf("README.md has %d lines, want 150 at most", lines)
		}
	})
}

// TestAPITable compares docs/api.md with the contract: each method has its route and its name there.
func TestAPITable(t *testing.T) {
	content, err := os.ReadFile("api.md")
	if err != nil {
		t.Fatal(err)
	}
	methods := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("gatehouse.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				methods++
				method := service.Methods().Get(j)
				name := "`" + string(service.Name()) + "/" + string(method.Name()) + "`"
				rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
				path := parameter.ReplaceAllString(route(rule), "{id}")
				row := regexp.MustCompile("(?m)^\\|.*`" + regexp.QuoteMeta(path) + "[`?].*" + regexp.QuoteMeta(name))
				if !row.Match(content) {
					t.Errorf("docs/api.md has no row with %s and `%s`", name, path)
				}
			}
		}
		return true
	})
	if methods < 10 {
		t.Errorf("only %d methods were found", methods)
	}
}

// route returns the HTTP method and path of a rule.
func route(rule *annotations.HttpRule) string {
	switch pattern := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "GET " + pattern.Get
	case *annotations.HttpRule_Post:
		return "POST " + pattern.Post
	case *annotations.HttpRule_Patch:
		return "PATCH " + pattern.Patch
	case *annotations.HttpRule_Delete:
		return "DELETE " + pattern.Delete
	default:
		return ""
	}
}

// anchors returns the anchors that GitHub makes of the headings of a document.
func anchors(text string) []string {
	var all []string
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		words := notInAnchor.ReplaceAllString(strings.ToLower(match[1]), "")
		all = append(all, strings.ReplaceAll(words, " ", "-"))
	}
	return all
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
