package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// attachable is `attachable PATH`: starts a plugin as its author does who wants a
// host to attach to it, and sets $CERTWRIGHT_REATTACH to what it says. At the end
// of the story it must still be there, and end when it is interrupted.
func attachable(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(ts.MkAbs(args[0]), "serve", "--reattach")
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Defer(func() {
		ts.Check(cmd.Process.Signal(os.Interrupt))
		ts.Check(cmd.Wait())
	})
	ts.Check(err)
	value, ok := strings.CutPrefix(strings.TrimSpace(line), "export CERTWRIGHT_REATTACH='")
	if !ok {
		ts.Fatalf("it says %s", line)
	}
	ts.Setenv("CERTWRIGHT_REATTACH", strings.TrimSuffix(value, "'"))
}
