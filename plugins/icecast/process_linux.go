package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// programs are the names that packages give it.
var programs = []string{"icecast", "icecast2", "icecast-kh"}

// isIcecast says whether a process is there and is Icecast: a pidfile may be older
// than the machine's last start.
func isIcecast(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	first, _, _ := bytes.Cut(data, []byte{0})
	return slices.Contains(programs, filepath.Base(string(first)))
}
