package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	for _, args := range []string{"version", "--version"} {
		t.Run(args+"_is_printed_whatever_is_in_the_environment", func(t *testing.T) {
			code, stdout, stderr := run(t, []string{args}, "GATEHOUSE_VERSION=yes", "GATEHOUSE_LOG_LEVEL=loud")
			if code != exitOK || !strings.HasPrefix(stdout, "gatehouse ") || !strings.Contains(stdout, " go1.") || stderr != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
	for name, test := range map[string]struct {
		info *debug.BuildInfo
		want string
	}{
		"a_release":            {&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "gatehouse v1.2.3, go"},
		"no_build_information": {nil, "gatehouse unknown version, go"},
		"a_checkout_with_changes": {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0a1b2c"}, {Key: "vcs.modified", Value: "true"},
		}}, "gatehouse (devel), revision 0a1b2c with changes, go"},
		"a_clean_checkout": {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0a1b2c"}, {Key: "vcs.modified", Value: "false"},
		}}, "gatehouse (devel), revision 0a1b2c, go"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := versionText(test.info, test.info != nil); !strings.HasPrefix(got, test.want) {
				t.Errorf("versionText = %q, want %q…", got, test.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, words := range [][]string{nil, {"up"}, {"keys", "rotate"}} {
		t.Run(strings.Join(append([]string{"of"}, words...), "_")+"_is_that_of_the_flag", func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"help"}, words...))
			_, want, _ := run(t, append(words, "--help"))
			if code != exitOK || stdout != want || stdout == "" || stderr != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q, want stdout %q", code, stdout, stderr, want)
			}
		})
	}
	t.Run("of_no_command_is_refused", func(t *testing.T) {
		if code, _, stderr := run(t, []string{"help", "nobody"}); code != exitUsage || !strings.Contains(stderr, "nobody") {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
	})
}
