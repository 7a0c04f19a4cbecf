package main

import (
	_ "embed"
	"slices"
	"strings"
	"unicode"
)

// token is a word in lower case, or clauseEnd.
type token struct {
	word string
	raw  string
	line int
}

// clauseEnd is the word of a token that ends a clause: phrases do not reach over it.
const clauseEnd = "|"

// textTokens splits prose and the names in it into words.
func textTokens(text string, line int) []token {
	if slices.Contains(kept, text) {
		return nil
	}
	for _, name := range kept {
		if strings.Contains(name, "_") {
			text = strings.ReplaceAll(text, name, "")
		}
	}
	var tokens []token
	for _, t := range strings.Split(text, "\n") {
		t = strings.TrimLeft(strings.TrimSpace(t), "/#*>- \t")
		start := -1
		for i, r := range t + " " {
			if unicode.IsLetter(r) {
				if start < 0 {
					start = i
				}
				continue
			}
			if start >= 0 {
				tokens = append(tokens, nameTokens(t[start:i], line)...)
				start = -1
			}
			if strings.ContainsRune(".,:;()?!|`\"“”", r) {
				tokens = append(tokens, token{word: clauseEnd, raw: string(r), line: line})
			}
		}
		if t == "" { // a paragraph ends
			tokens = append(tokens, token{word: clauseEnd, raw: ".", line: line})
		}
		line++
	}
	return tokens
}

// nameTokens splits a name in camel case, or with other characters between its words.
func nameTokens(name string, line int) []token {
	var tokens []token
	runes := []rune(name)
	start := 0
	add := func(end int) {
		if start < end {
			raw := string(runes[start:end])
			tokens = append(tokens, token{word: strings.ToLower(raw), raw: raw, line: line})
		}
		start = end
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			add(i)
			start = i + 1
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) ||
			i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			add(i)
		}
	}
	add(len(runes))
	return tokens
}

// rule is a sequence of words that must not appear.
type rule struct {
	words    []string
	instead  string
	nameOnly bool
	after    string // the word before that makes the words right
}

//go:embed words.txt
var wordList string

//go:embed verbs.txt
var verbList string

// rules are the rules of words.txt by their first word.
var rules = parseRules(wordList)

func parseRules(list string) map[string][]rule {
	byFirst := map[string][]rule{}
	for _, line := range listLines(list) {
		if strings.HasPrefix(line, "keep:") {
			continue
		}
		phrase, nameOnly := strings.CutPrefix(line, "name:")
		phrase, instead, _ := strings.Cut(phrase, ": ")
		words := strings.Fields(strings.ReplaceAll(phrase, clauseEnd, " "+clauseEnd))
		after := ""
		if except, ok := strings.CutPrefix(words[0], "!"); ok {
			after, words = except, words[1:]
		}
		byFirst[words[0]] = append(byFirst[words[0]], rule{words, instead, nameOnly, after})
	}
	return byFirst
}

// kept are names that others use, such as those of metrics and of attributes in the log: they are not checked.
var kept = func() (names []string) {
	for _, line := range listLines(wordList) {
		if name, ok := strings.CutPrefix(line, "keep:"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}()

// verbs are the verbs of verbs.txt.
var verbs = func() map[string]bool {
	set := map[string]bool{}
	for _, verb := range listLines(verbList) {
		set[verb] = true
	}
	return set
}()

// listLines returns the lines of a list without its comments.
func listLines(list string) []string {
	var lines []string
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}
