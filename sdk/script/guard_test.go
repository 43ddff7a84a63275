package script

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestItEndsWithTheProcessThatRunsIt(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "begun")
	must(t, syscall.Mkfifo(fifo, 0o600))
	plugin := exec.Command(os.Args[0])
	plugin.Env = append(os.Environ(), tellPID+"=(sh -c 'echo $PPID' >"+fifo+"; cat "+fifo+"); true")
	must(t, plugin.Start())
	pid, err := os.ReadFile(fifo)
	must(t, err)
	must(t, plugin.Process.Kill())
	_ = plugin.Wait()
	gone(t, strings.TrimSpace(string(pid)))
}

// The guard leads the group, so no command runs before it is there.
func TestItsGroup(t *testing.T) {
	dir := t.TempDir()
	begun, gate := filepath.Join(dir, "begun"), filepath.Join(dir, "gate")
	must(t, syscall.Mkfifo(begun, 0o600))
	must(t, syscall.Mkfifo(gate, 0o600))
	done := make(chan error, 1)
	go func() {
		_, err := Run(t.Context(), Command{Line: "echo $$ >" + begun + "; cat " + gate})
		done <- err
	}()
	text, err := os.ReadFile(begun)
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	group, err := syscall.Getpgid(pid)
	must(t, err)
	leader, err := syscall.Getpgid(group)
	must(t, err)
	if group == pid || group == syscall.Getpgrp() || leader != group {
		t.Errorf("its process is %d, its group %d, the group of that one's leader %d, ours %d", pid, group, leader, syscall.Getpgrp())
	}
	must(t, os.WriteFile(gate, nil, 0o600))
	must(t, <-done)
}

// What a hook does to its own group does not end the guard.
func TestTheGuardOutlivesASignalToTheGroup(t *testing.T) {
	begun := filepath.Join(t.TempDir(), "begun")
	must(t, syscall.Mkfifo(begun, 0o600))
	plugin := exec.Command(os.Args[0])
	plugin.Env = append(os.Environ(), tellPID+`=trap "" TERM; kill -TERM 0; (sh -c 'echo $PPID' >`+begun+"; cat "+begun+"); true")
	must(t, plugin.Start())
	pid, err := os.ReadFile(begun)
	must(t, err)
	must(t, plugin.Process.Kill())
	_ = plugin.Wait()
	gone(t, strings.TrimSpace(string(pid)))
}
