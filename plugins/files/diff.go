package main

import (
	"fmt"
	"strings"

	"github.com/certwright/certwright/sdk/checkpoint"
)

// text describes the difference, without anything that may be a private key.
func (d difference) text() string {
	was := d.old
	if d.isNew {
		was = nil
	}
	var b strings.Builder
	b.WriteString(checkpoint.DiffPEM(d.path, was, d.data))
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
