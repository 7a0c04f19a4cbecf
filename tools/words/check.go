package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"regexp"
	"strconv"
	"strings"
)

// checker collects the faults of one file.
type checker struct {
	file   string
	fset   *gotoken.FileSet
	faults []fault
}

func (c *checker) add(line int, format string, args ...any) {
	c.faults = append(c.faults, fault{c.file, line, fmt.Sprintf(format, args...)})
}

// words checks a run of words: prose, or one name.
func (c *checker) words(tokens []token, isName bool) {
	for i, t := range tokens {
		for _, r := range rules[t.word] {
			excused := r.after != "" && i > 0 && tokens[i-1].word == r.after
			if (!r.nameOnly || isName) && !excused && matches(tokens[i:], r.words) {
				phrase := strings.Trim(strings.Join(r.words, " "), " "+clauseEnd)
				c.add(t.line, "%q: write %s", phrase, r.instead)
			}
		}
		if !isName {
			c.sentenceStart(tokens, i)
		}
	}
}

// matches reports whether tokens start with words. The end of the tokens ends a clause.
func matches(tokens []token, words []string) bool {
	for i, word := range words {
		if i == len(tokens) {
			return word == clauseEnd
		}
		if tokens[i].word != word {
			return false
		}
	}
	return true
}

// sentenceStart rejects a sentence whose subject is a clause, such as "Who calls this waits". Questions may start so.
func (c *checker) sentenceStart(tokens []token, i int) {
	if raw := tokens[i].raw; raw != "Who" && raw != "Whom" && raw != "Whose" {
		return
	}
	if i > 0 && (tokens[i-1].word != clauseEnd || tokens[i-1].raw != ".") {
		return
	}
	for _, t := range tokens[i:] {
		if t.word == clauseEnd && t.raw != "," {
			if t.raw != "." && t.raw != ";" && t.raw != ":" {
				return
			}
			break
		}
	}
	c.add(tokens[i].line, "%q starts a sentence: name the subject first, such as \"a client that …\"", tokens[i].raw)
}

// goFile checks the comments, strings and names of a file, and its doc comments.
func (c *checker) goFile(content []byte) error {
	c.fset = gotoken.NewFileSet()
	file, err := parser.ParseFile(c.fset, c.file, content, parser.ParseComments)
	if err != nil {
		return err
	}
	if ast.IsGenerated(file) {
		return nil
	}
	for _, group := range file.Comments {
		var lines []token
		for _, comment := range group.List {
			text := strings.TrimSuffix(strings.TrimPrefix(comment.Text, "/*"), "*/")
			lines = append(lines, textTokens(text, c.line(comment))...)
		}
		c.words(lines, false)
	}
	seen := map[string]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.Ident:
			if !seen[node.Name] {
				seen[node.Name] = true
				c.words(nameTokens(node.Name, c.line(node)), true)
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(node.Value); err == nil && node.Kind == gotoken.STRING {
				if !strings.HasPrefix(node.Value, "`") { // on one line of the file, however many it has
					text = strings.ReplaceAll(text, "\n", ". ")
				}
				c.words(textTokens(text, c.line(node)), false)
			}
		}
		return true
	})
	c.docs(file)
	return nil
}

func (c *checker) line(node ast.Node) int { return c.fset.Position(node.Pos()).Line }

// docs checks that doc comments start with the name and a verb.
func (c *checker) docs(file *ast.File) {
	if name := file.Name.Name; file.Doc.Text() != "" {
		first := "Package " + name
		if words := strings.Fields(file.Doc.Text()); name == "main" && words[0] != "Package" {
			first = words[0] // Of a command: "Seed writes …" or "Command seed writes …".
			if first == "Command" {
				first = strings.Join(words[:min(2, len(words))], " ")
			}
		}
		c.doc(file.Doc, first)
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			// The comment of a test may start with its sentence.
			name := decl.Name.Name
			if !strings.HasSuffix(c.file, "_test.go") || strings.HasPrefix(decl.Doc.Text(), name+" ") ||
				!testName.MatchString(name) {
				c.doc(decl.Doc, name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				c.spec(decl, spec)
			}
		}
	}
}

func (c *checker) spec(decl *ast.GenDecl, spec ast.Spec) {
	own := func(doc *ast.CommentGroup) *ast.CommentGroup {
		if doc == nil && !decl.Lparen.IsValid() {
			return decl.Doc
		}
		return doc
	}
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		c.doc(own(spec.Doc), spec.Name.Name)
		if contract, ok := spec.Type.(*ast.InterfaceType); ok {
			for _, method := range contract.Methods.List {
				if len(method.Names) == 1 {
					c.doc(method.Doc, method.Names[0].Name)
				}
			}
		}
	case *ast.ValueSpec:
		// A comment of a constant or variable may start otherwise; if it starts with the name, a verb follows.
		if doc := own(spec.Doc); strings.HasPrefix(doc.Text(), spec.Names[0].Name+" ") {
			c.doc(doc, spec.Names[0].Name)
		}
	}
}

// instead maps verbs that must not return to those that are usually meant.
var instead = map[string]string{
	"gives": "returns", "tells": "reports", "says": "reports", "asks": "requests, queries or calls",
	"keeps": "stores or holds", "takes": "accepts, reads or acquires", "wants": "requires or expects", "has": "contains or reports",
	"lets": "allows", "knows": "stores or identifies", "believes": "trusts or accepts", "answers": "responds, returns or serves",
	"needs": "requires", "refuses": "rejects", "puts": "stores or adds", "forgets": "deletes", "goes": "runs or uses",
	"insists": "fails unless", "plays": "simulates", "stands": "represents", "brings": "sends or restores",
	"speaks": "uses", "trades": "exchanges", "turns": "converts", "leaves": "omits or excludes",
}

// doc checks that a doc comment starts with name and a verb.
func (c *checker) doc(doc *ast.CommentGroup, name string) {
	text := doc.Text()
	if text == "" || strings.HasPrefix(text, "Deprecated:") {
		return
	}
	line := c.line(doc)
	for _, article := range []string{"A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(text, article); ok && strings.HasPrefix(rest, name) {
			text = rest
		}
	}
	rest, ok := strings.CutPrefix(text, name)
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], " \n,.:") {
		c.add(line, "the doc comment of %s starts otherwise: start with the name and a verb", name)
		return
	}
	if strings.HasPrefix(strings.TrimSpace(rest), "-") {
		return
	}
	words := strings.Fields(rest)
	for i, word := range words {
		word = strings.TrimRight(word, ",.:;")
		switch {
		case word == "and" || word == "or" || i > 0 && (words[i-1] == "and" || words[i-1] == "or"):
			continue // names that share a comment
		case isAdverb(word):
			continue
		case verbs[word], isModal(word), verbs[word+"s"] || verbs[word+"es"]:
			return
		}
		if better := instead[word]; better != "" {
			c.add(line, "the doc comment of %s: %q: write %s", name, word, better)
		} else {
			c.add(line, "the doc comment of %s: %q is no verb of tools/words/verbs.txt", name, word)
		}
		return
	}
	c.add(line, "the doc comment of %s has no verb", name)
}

// testName matches the functions that go test runs, and their subtests.
var testName = regexp.MustCompile(`^([Tt]est|Benchmark|Fuzz|Example)`)

// isAdverb reports whether a word may stand between a name and its verb.
func isAdverb(word string) bool {
	switch word {
	case "also", "always", "never", "not", "only", "first", "then", "both", "either", "itself":
		return true
	}
	return strings.HasSuffix(word, "ly") && !verbs[word] && word != "reply"
}

func isModal(word string) bool {
	switch word {
	case "must", "may", "can", "should", "will", "do", "have", "cannot":
		return true
	}
	return false
}
