//go:build unix && !linux

package sandbox

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestUser: a program runs as the user of its policy, in no other groups, or not
// at all.
func TestUser(t *testing.T) {
	RunIfLauncher()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const shell = "/bin/sh"
	cmd := &exec.Cmd{Env: []string{"PATH=/bin:/usr/bin"}, Stdout: w, Stderr: w}
	err = Start(cmd, Policy{Path: shell, Args: []string{shell, "-c", "id -u; id -G"}, User: &User{Name: "somebody", UID: 4711, GID: 4712}}, nil)
	_ = w.Close()
	if os.Geteuid() != 0 {
		if err == nil {
			_ = cmd.Wait()
			t.Error("a user became another")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || strings.Join(strings.Fields(string(out)), " ") != "4711 4712" {
		t.Errorf("%v: %q", err, out)
	}
}
