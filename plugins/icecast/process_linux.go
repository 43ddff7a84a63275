package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// programs are the names that packages give it.
var programs = []string{"icecast", "icecast2", "icecast-kh"}

// isIcecast says whether a process is there and is the Icecast of a configuration:
// a pidfile may be older than the machine's last start.
func isIcecast(pid int, config string) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(string(data), "\x00")
	return slices.Contains(programs, filepath.Base(args[0])) && !hasOther(args, config)
}

// hasOther says whether Icecast was started with another configuration for certain:
// a relative path, or one in a container, does not tell.
func hasOther(args []string, config string) bool {
	n := slices.Index(args, "-c") + 1
	if n == 0 || n == len(args) || !filepath.IsAbs(args[n]) {
		return false
	}
	own, err := os.Stat(config)
	its, itsErr := os.Stat(args[n])
	return err == nil && itsErr == nil && !os.SameFile(own, its)
}
