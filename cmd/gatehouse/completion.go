package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

// completion prints a script by which a shell completes the command line.
type completion struct {
	information

	Shell string `arg:"" enum:"bash,zsh,fish" help:"Shell: bash, zsh or fish."`
}

func (c *completion) run(_ context.Context, _ *slog.Logger, stdout io.Writer) error {
	parser, err := newParser(&commands{}, &errorCollector{}, io.Discard)
	if err != nil {
		return err
	}
	return completionScripts[c.Shell].Execute(stdout, completionsOf(parser.Model.Node))
}

// completions are the words that may follow a command.
type completions struct {
	Path  string // words after gatehouse, joined with a space
	Words []string
}

// completionsOf returns the completions of each command below and including node: longer paths come before their
// prefixes.
func completionsOf(node *kong.Node) (all []completions) {
	var words, path []string
	for _, child := range node.Children {
		all = append(all, completionsOf(child)...)
		words = append(words, child.Name)
	}
	for _, argument := range node.Positional {
		if argument.Enum != "" {
			words = append(words, argument.EnumSlice()...)
		}
	}
	for _, flag := range node.Flags {
		words = append(words, "--"+flag.Name)
	}
	if !slices.Contains(words, "--help") {
		words = append(words, "--help")
	}
	for at := node; at.Parent != nil; at = at.Parent {
		path = append([]string{at.Name}, path...)
	}
	return append(all, completions{Path: strings.Join(path, " "), Words: words})
}

// completionScripts are the scripts by shell. Each finds the command among the words before the cursor, and offers the
// words that may follow it; where there are none, the shell offers files.
var completionScripts = map[string]*template.Template{
	"bash": completionTemplate(`# Completion of gatehouse for bash: source <(gatehouse completion bash)
_gatehouse() {
	local words= before="${COMP_WORDS[*]:1:COMP_CWORD-1} "
	case "$before" in
{{- range .}}
	"{{with .Path}}{{.}} {{end}}"*) words="{{join .Words}}" ;;
{{- end}}
	esac
	COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _gatehouse gatehouse
`),
	"zsh": completionTemplate(`#compdef gatehouse
# Completion of gatehouse for zsh: source <(gatehouse completion zsh), after compinit. It may also be a file in fpath.
_gatehouse() {
	local -a candidates
	local before="${words[2,CURRENT-1]} "
	case "$before" in
{{- range .}}
	("{{with .Path}}{{.}} {{end}}"*) candidates=({{join .Words}}) ;;
{{- end}}
	esac
	compadd -- $candidates || _files
}
if [[ $funcstack[1] == _gatehouse ]]; then
	_gatehouse "$@"
else
	compdef _gatehouse gatehouse
fi
`),
	"fish": completionTemplate(`# Completion of gatehouse for fish: gatehouse completion fish | source
function __gatehouse_is
	string match -q -- "$argv *" (string join ' ' -- (commandline -opc)[2..] '')
end
function __gatehouse_is_alone
	test (count (commandline -opc)) -eq 1
end
{{range .}}{{$path := .Path}}
{{- range .Words}}complete -c gatehouse -n '__gatehouse_is{{with $path}} {{.}}{{else}}_alone{{end}}' -a '{{.}}'
{{end}}{{end}}`),
}

func completionTemplate(text string) *template.Template {
	join := func(words []string) string { return strings.Join(words, " ") }
	return template.Must(template.New("").Funcs(template.FuncMap{"join": join}).Parse(text))
}
