package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a killed run has left in place the next one takes away, by the cleanup hook.
func TestKilledInAHook(t *testing.T) {
	w := newWorld(t)
	fifo := filepath.Join(w.dir, "begun")
	must(t, syscall.Mkfifo(fifo, 0o600))
	w.script(t, "auth.sh", authHTTP+"echo $$ > begun\nexec cat begun\n")
	w.script(t, "clean.sh", cleanHTTP)
	args := []string{"-n", "--manual", "--manual-auth-hook", "./auth.sh", "--manual-cleanup-hook", "./clean.sh", "-d", "a.test"}
	cmd := w.command(t, args...)
	must(t, cmd.Start())
	pid := strings.TrimSpace(read(t, fifo))
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	hookEnds(t, pid)
	w.script(t, "auth.sh", authHTTP)
	if out, err := w.command(t, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := read(t, w.dir+"/cleaned"); got != ", gone\nput a.test, gone\n" {
		t.Errorf("cleaned %q", got)
	}
	if left, err := os.ReadDir(w.web + "/.well-known/acme-challenge"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// hookEnds waits until the process of a hook is gone with the program that ran
// it, or is a zombie that somebody else reaps.
func hookEnds(t *testing.T, pid string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("the hook is still there: %s", stat)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
