package plugintest

import (
	"bytes"
	"path"
	"path/filepath"
	"regexp"
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
// directory, as "state", and whatever else the test gave it. The files that the
// test wrote, by patterns of [path.Match], may hold what they want; private keys,
// and no secrets, may be where a [KeyFile] is.
func Left(t testing.TB, dir string, given ...string) {
	t.Helper()
	t.Cleanup(func() {
		t.Helper()
		leaking, err := LeakingFiles(dir, func(below string) bool {
			return slices.ContainsFunc(given, func(pattern string) bool {
				matches, err := path.Match(pattern, filepath.ToSlash(below))
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
			state, inside := strings.CutPrefix(filepath.ToSlash(file), "state/")
			if leak != PrivateKey || !inside || !KeyFile(state) {
				t.Errorf("%s is left in %s", leak, file)
			}
		}
	})
}

// halfWritten is a file that a killed run leaves in place of what it was to be.
var halfWritten = regexp.MustCompile(`^\.(.+)\.tmp-[0-9]+$`)

// KeyFile says of a path below a state directory whether a private key belongs
// there: the account's, that of a version of a certificate, half written ones
// included, or one that an installer keeps to bring it back, in a directory of its
// own state.
func KeyFile(below string) bool {
	parts := strings.Split(filepath.ToSlash(below), "/")
	name := halfWritten.ReplaceAllString(parts[len(parts)-1], "$1")
	switch parts[0] {
	case "accounts":
		return len(parts) == 3 && name == "key.pem"
	case "archive":
		return name == "privkey.pem"
	case "plugins":
		return len(parts) > 3
	}
	return false
}
