package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/certwright/certwright/sdk/checkpoint"
)

// text describes the difference as a unified diff, of which certificates are
// the only content: whatever else is in a file may be a private key.
func (d difference) text() string {
	was, is := inspect(d.old), inspect(d.data)
	var b strings.Builder
	change := checkpoint.Diff(d.path, was.certificates, is.certificates)
	if change == "" {
		from := d.path
		if d.isNew {
			from = "/dev/null"
		}
		fmt.Fprintf(&b, "--- %s\n+++ %s\n", from, d.path)
	}
	b.WriteString(change)
	switch {
	case bytes.Equal(was.keys, is.keys):
	case len(was.keys) == 0:
		b.WriteString("private key: added\n")
	case len(is.keys) == 0:
		b.WriteString("private key: removed\n")
	default:
		b.WriteString("private key: changed\n")
	}
	if !bytes.Equal(d.old, d.data) && change == "" && bytes.Equal(was.keys, is.keys) {
		b.WriteString("content: changed outside of certificates and keys\n")
	}
	if d.isNew {
		return b.String()
	}
	if d.mode != d.want.Mode {
		fmt.Fprintf(&b, "mode: %04o to %04o\n", d.mode, d.want.Mode)
	}
	if d.ownerDiffers() {
		fmt.Fprintf(&b, "owner: %d:%d to %s:%s\n", d.uid, d.gid, idText(d.want.UID), idText(d.want.GID))
	}
	return b.String()
}

func idText(id *int) string {
	if id == nil {
		return "as it is"
	}
	return fmt.Sprint(*id)
}

// insight is what may be said of a file's content.
type insight struct {
	// certificates in it; nil: none, as in a new file.
	certificates []byte
	// keys are all other blocks; they are compared and never shown.
	keys []byte
}

func inspect(data []byte) insight {
	var out insight
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			out.keys = append(out.keys, block.Bytes...)
			continue
		}
		out.certificates = append(out.certificates, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
	}
	return out
}
