package script

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestCheckLine(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	good, plain := file(t, dir, "good", "#!/bin/sh\n", 0o700), file(t, dir, "plain", "", 0o600)
	for line, want := range map[string]string{
		"":                          "is empty",
		"  ":                        "is empty",
		"sh -c true":                "",
		"X=1 Y=2 sh":                "",
		"exit 1":                    "", // the shell's own
		". ./profile":               "",
		`"a b"/c d`:                 "",
		"$HOOK x":                   "",
		"(true)":                    "",
		good + " x":                 "",
		"./good":                    "",
		plain:                       "is not executable",
		"./plain x":                 "is not executable",
		"./none":                    "does not exist",
		dir:                         "is a directory",
		"good":                      "is not in PATH",
		"no-such-command x":         "is not in PATH (",
		"/dev/null":                 "is not a file",
		filepath.Join(plain, "x"):   "not a directory",
		"PATH=/x/y " + plain + " x": "is not executable",
	} {
		err := CheckLine(t.Context(), "the hook", line)
		if want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", line, err)
		}
		if err != nil && line == "good" && !strings.Contains(sdk.ProblemOf(err).Hint, "./good") {
			t.Errorf("the hint is %q", sdk.ProblemOf(err).Hint)
		}
	}
}
