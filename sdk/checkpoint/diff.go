package checkpoint

import (
	"bytes"

	"github.com/rogpeppe/go-internal/diff"
)

// Diff shows a change of a text file as a unified diff, for a dry run; it is
// empty if nothing changes. A nil was is a new file, a nil is one that is
// removed. Never give it a file that holds a private key.
func Diff(path string, was, is []byte) string {
	from, to := path, path
	if was == nil {
		from = "/dev/null"
	}
	if is == nil {
		to = "/dev/null"
	}
	_, text, _ := bytes.Cut(diff.Diff(from, was, to, is), []byte("\n"))
	return string(text)
}
