package main

import (
	"regexp"
	"strings"
)

// token matches a string, a word, white space or a single character of a proto file without comments.
var token = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\w+|\s+|.`)

// unfoldLists replaces `name: [{…}, {…}]` in the value of an option by the equivalent `name: {…}, name: {…}`. Some
// parsers do not support lists of messages, such as protobuf.js, which @grpc/proto-loader uses.
func unfoldLists(source string) string {
	var out strings.Builder
	var names []string // of the open brackets: "" for all but lists of messages
	var name, before string
	tokens := token.FindAllString(source, -1)
	for i, text := range tokens {
		switch {
		case text == "[" && before == ":" && nextIs(tokens[i+1:], "{"):
			names = append(names, name)
			continue
		case text == "[" || text == "{" || text == "(":
			names = append(names, "")
		case (text == "]" || text == "}" || text == ")") && len(names) > 0:
			closed := names[len(names)-1]
			names = names[:len(names)-1]
			if closed != "" {
				continue
			}
		case text == "," && len(names) > 0 && names[len(names)-1] != "":
			text += " " + names[len(names)-1] + ":"
		}
		if text == ":" {
			name = before
		}
		if strings.TrimSpace(text) != "" {
			before = text
		}
		out.WriteString(text)
	}
	return out.String()
}

// nextIs reports whether the first token that is not white space equals want.
func nextIs(tokens []string, want string) bool {
	for _, text := range tokens {
		if strings.TrimSpace(text) != "" {
			return text == want
		}
	}
	return false
}
