package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"
)

// text describes the difference as a unified diff, of which certificates are
// the only content: whatever else is in a file may be a private key.
func (d difference) text() string {
	var b strings.Builder
	from := d.path
	if d.isNew {
		from = "/dev/null"
	}
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", from, d.path)
	was, is := inspect(d.old), inspect(d.data)
	hunk := unified(was.lines, is.lines)
	b.WriteString(hunk)
	switch {
	case bytes.Equal(was.keys, is.keys):
	case len(was.keys) == 0:
		b.WriteString("private key: added\n")
	case len(is.keys) == 0:
		b.WriteString("private key: removed\n")
	default:
		b.WriteString("private key: changed\n")
	}
	if !bytes.Equal(d.old, d.data) && hunk == "" && bytes.Equal(was.keys, is.keys) {
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
	// lines of its certificates.
	lines []string
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
		text := string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		out.lines = append(out.lines, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
	}
	return out
}

// unified is a diff in one hunk: what differs, with three lines around it. A
// renewed certificate has hardly a line in common with the old one.
func unified(was, is []string) string {
	head := 0
	for head < min(len(was), len(is)) && was[head] == is[head] {
		head++
	}
	if head == len(was) && head == len(is) {
		return ""
	}
	tail := 0
	for tail < min(len(was), len(is))-head && was[len(was)-1-tail] == is[len(is)-1-tail] {
		tail++
	}
	const around = 3
	start, end := max(0, head-around), max(0, tail-around)
	var b strings.Builder
	fmt.Fprintf(&b, "@@ -%s +%s @@\n", span(start, len(was)-end), span(start, len(is)-end))
	write := func(mark string, lines []string) {
		for _, l := range lines {
			b.WriteString(mark + l + "\n")
		}
	}
	write(" ", was[start:head])
	write("-", was[head:len(was)-tail])
	write("+", is[head:len(is)-tail])
	write(" ", was[len(was)-tail:len(was)-end])
	return b.String()
}

// span is a range of lines as diff writes it: of none, the line before counts.
func span(from, to int) string {
	if from == to {
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}
