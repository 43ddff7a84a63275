package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// isNginx says whether a process is there and is nginx: a file with its number
// may be older than the machine's last start.
func isNginx(pid int, program string) bool {
	line, err := commandLine(pid)
	if err != nil {
		return false
	}
	// Without a master (master_process off) the title is the command line.
	first, _, _ := strings.Cut(line, " ")
	return strings.HasPrefix(line, "nginx: master process") || filepath.Base(first) == filepath.Base(program)
}

func commandLine(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " ")), err
}

// serving gives the workers of a master that take new connections. One that is
// shutting down says so in its title, after its last accept.
func serving(master int) ([]int, error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || parent(pid) != master {
			continue
		}
		line, err := commandLine(pid)
		if err == nil && line != "" && strings.Contains(line, "worker process") && !strings.Contains(line, "shutting down") {
			out = append(out, pid)
		}
	}
	return out, nil
}

// parent reads the fourth field of stat; the second one is in parentheses.
func parent(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[0] == "Z" {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}
