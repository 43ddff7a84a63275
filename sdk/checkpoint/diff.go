package checkpoint

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// Diff shows a change of a text file as a unified diff, for a dry run; it is
// empty if nothing changes. A nil was is a new file, a nil is one that is
// removed. A file that may hold a
// private key is for [DiffPEM].
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

// DiffPEM shows a change of a file of PEM blocks, for a dry run: what is public
// as a unified diff, and that a private key, or anything else in the file, is
// another one. What is no certificate and no DH parameters is compared and never
// shown. A nil was is a new file.
func DiffPEM(path string, was, is []byte) string {
	before, hiddenBefore := public(was)
	after, hiddenAfter := public(is)
	var b strings.Builder
	change := Diff(path, before, after)
	if change == "" {
		from := path
		if was == nil {
			from = "/dev/null"
		}
		fmt.Fprintf(&b, "--- %s\n+++ %s\n", from, path)
	}
	b.WriteString(change)
	switch {
	case bytes.Equal(hiddenBefore, hiddenAfter):
		if change == "" && !bytes.Equal(was, is) {
			b.WriteString("content: changed outside of certificates and keys\n")
		}
	case len(hiddenBefore) == 0:
		b.WriteString("private key: added\n")
	case len(hiddenAfter) == 0:
		b.WriteString("private key: removed\n")
	default:
		b.WriteString("private key: changed\n")
	}
	return b.String()
}

// public splits a file into what may be shown and what may not. The first is nil
// for a file without it. OpenSSL also writes "X9.42 DH PARAMETERS".
func public(data []byte) (shown, hidden []byte) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" || strings.HasSuffix(block.Type, "DH PARAMETERS") {
			shown = append(shown, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		} else {
			hidden = append(hidden, block.Bytes...)
		}
	}
	return shown, hidden
}
