package script

import (
	"os"
	"os/exec"
	"path/filepath"
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
