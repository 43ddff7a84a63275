package plugintest

import (
	"bytes"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Printed fails a test for every line that a program under test has printed and
// that shows a marked secret or a private key. It gives the text back, as what a
// test goes on with.
func Printed(t testing.TB, text []byte) string {
	t.Helper()
	for line := range bytes.Lines(text) {
		if leak := Leak(line); leak != "" {
			t.Errorf("a program under test has printed %s: %s", leak, line)
		}
	}
	return string(text)
}

// Left looks at the end of a test, when everything that was started after this
// call is stopped, through a directory in which a certwright has had its state
// directory, as "state", and whatever else the test gave it. Marked secrets are
// allowed in the files that the test wrote, which are given by patterns of
// [path.Match]; private keys where a [KeyFile] is.
func Left(t testing.TB, dir string, given ...string) {
	t.Helper()
	t.Cleanup(func() {
		t.Helper()
		leaking, err := LeakingFiles(dir, func(below string) bool {
			below = filepath.ToSlash(below)
			state, inside := strings.CutPrefix(below, "state/")
			return inside && KeyFile(state) || slices.ContainsFunc(given, func(pattern string) bool {
				matches, err := path.Match(pattern, below)
				if err != nil {
					t.Errorf("the pattern %q: %v", pattern, err)
				}
				return matches
			})
		})
		if err != nil {
			t.Errorf("look through what is left: %v", err)
		}
		for file, leak := range leaking {
			t.Errorf("%s is left in %s", leak, file)
		}
	})
}

// KeyFile says of a path below a state directory whether a private key belongs
// there: the account's, that of a version of a certificate, or one that an
// installer keeps to bring it back.
func KeyFile(below string) bool {
	parts := strings.Split(filepath.ToSlash(below), "/")
	switch parts[0] {
	case "accounts":
		return len(parts) == 3 && parts[2] == "key.pem"
	case "archive":
		return parts[len(parts)-1] == "privkey.pem"
	case "plugins":
		return len(parts) > 3 && parts[2] == "checkpoints"
	}
	return false
}
