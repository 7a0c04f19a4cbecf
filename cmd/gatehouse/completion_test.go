package main

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// completers print what a shell offers for the words after the script's path, of which the last is being typed.
var completers = map[string][]string{
	"bash": {"bash", "--norc", "-euc", `source "$1"; shift; complete -p gatehouse >/dev/null
		COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gatehouse; printf '%s\n' "${COMPREPLY[@]}"`, "bash"},
}

func TestCompletion(t *testing.T) {
	maps.Copy(completers, otherCompleters)
	for shell, completer := range completers {
		code, script, stderr := run(t, []string{"completion", shell})
		if code != exitOK || stderr != "" {
			t.Fatalf("exit code %d, stderr %q", code, stderr)
		}
		path := write(t, script)
		for _, test := range []struct {
			words, want string
		}{
			{"gatehouse st", "store"},
			{"gatehouse --ver", "--version"},
			{"gatehouse keys r", "rotate revoke rewrap"},
			{"gatehouse keys rotate --master", "--master-key --master-key-file"},
			{"gatehouse users import users.jsonl --rep", "--report"},
			{"gatehouse completion z", "zsh"},
			{"gatehouse up --dat", "--data"},
		} {
			t.Run(shell+"/"+test.words, func(t *testing.T) {
				args := slices.Concat(completer[1:], []string{path}, strings.Fields(test.words))
				output, err := exec.Command(completer[0], args...).CombinedOutput()
				if got := strings.Join(strings.Fields(string(output)), " "); err != nil || got != test.want {
					t.Errorf("offers %q, %v, want %q", got, err, test.want)
				}
			})
		}
	}
	t.Run("fish/has_every_command", func(t *testing.T) {
		_, script, _ := run(t, []string{"completion", "fish"})
		for _, want := range []string{"'__gatehouse_is keys' -a 'rotate'", "'__gatehouse_is up' -a '--data'"} {
			if !strings.Contains(script, want) {
				t.Errorf("the script has no %s", want)
			}
		}
	})
	t.Run("another_shell_is_refused", func(t *testing.T) {
		if code, _, _ := run(t, []string{"completion", "csh"}); code != exitUsage {
			t.Errorf("exit code %d", code)
		}
	})
}
