package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of settings into docs/settings.md")

const (
	document = "../../docs/settings.md"
	begin    = "<!-- settings: made by go test ./cmd/gatehouse -run TestSettings -update -->\n"
	end      = "<!-- /settings -->"
)

func TestSettingsDocument(t *testing.T) {
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), begin)
	table, after, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		t.Fatalf("docs/settings.md has no place for the settings: %q … %q", begin, end)
	}
	want := settingsTable(t)
	if *update {
		if err := os.WriteFile(document, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Error("the table of settings is not that of the code: run go test ./cmd/gatehouse -run TestSettings -update")
	}
}

// settingsTable lists the flags of all commands, each once, with the commands that have it.
func settingsTable(t *testing.T) string {
	t.Helper()
	var all commands
	parser, err := newParser(&all, &errorCollector{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	type setting struct{ name, variable, standard, help string }
	users := map[setting][]string{}
	var order []setting
	for _, leaf := range parser.Model.Leaves(false) {
		command := strings.Fields(leaf.Path())[0] // The first word: keys for keys list.
		for _, flag := range leaf.Flags {
			if flag.Name == "help" {
				continue
			}
			s := setting{flag.Name, strings.Join(flag.Envs, ", "), flag.Default, flag.Help}
			if users[s] == nil {
				order = append(order, s)
			}
			if !slices.Contains(users[s], command) {
				users[s] = append(users[s], command)
			}
		}
	}
	var table strings.Builder
	table.WriteString("| flag | variable | default | of | what it says |\n| --- | --- | --- | --- | --- |\n")
	slices.SortStableFunc(order, func(a, b setting) int { return len(users[b]) - len(users[a]) })
	for _, s := range order {
		standard := ""
		if s.standard != "" {
			standard = "`" + s.standard + "`"
		}
		fmt.Fprintf(&table, "| `--%s` | `%s` | %s | %s | %s |\n",
			s.name, s.variable, standard, strings.Join(users[s], ", "), strings.ReplaceAll(s.help, "|", "\\|"))
	}
	return table.String()
}
