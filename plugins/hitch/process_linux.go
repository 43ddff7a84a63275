package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// isProgram says whether a process is there and runs that program: a pidfile may
// be older than the machine's last start.
func isProgram(pid int, program string) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	first, _, _ := bytes.Cut(data, []byte{0})
	return filepath.Base(string(first)) == filepath.Base(program)
}
