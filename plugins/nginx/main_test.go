package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

// The test binary, under the name of the plugin, is the plugin with a point at
// which it fails or kills: the host starts it as it does the real one. What is
// to happen is in a file beside it.
func TestMain(m *testing.M) {
	if path := os.Args[0]; filepath.Base(path) == pluginName {
		n := newNginx()
		f := fault{path: filepath.Join(filepath.Dir(path), "fault"), plugin: n}
		n.step = f.step
		sdk.Serve(declaration(n))
		os.Exit(0)
	}
	// Pebble's validator is never stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

const pluginName = "certwright-plugin-nginx"

// fault is read from a file "WHAT N": at the N-th step
//
//	plugin  kills the plugin
//	host    kills the host, and the plugin with it
//	break   writes nonsense into the file that was written last
//
// and removes the file, so that it happens once.
type fault struct {
	path   string
	plugin *nginx
	count  int
	last   string
}

func (f *fault) step(what string) {
	f.count++
	if path, ok := strings.CutPrefix(what, "place: rename to "); ok && !strings.Contains(path, "/checkpoints/") {
		f.last = path
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return
	}
	kind, at, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	number, err := strconv.Atoi(at)
	if err != nil && kind != "break" {
		return
	}
	switch {
	case kind == "break" && what == at && f.last != "":
		_ = os.Remove(f.path)
		if out, err := os.OpenFile(f.last, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			_, _ = out.WriteString("no_such_thing on;\n")
			_ = out.Close()
		}
	case kind == "plugin" && number == f.count:
		_ = os.WriteFile(f.path+".hit", []byte(what), 0o600)
		_ = os.Remove(f.path)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	case kind == "host" && number == f.count:
		_ = os.WriteFile(f.path+".hit", []byte(what), 0o600)
		_ = os.Remove(f.path)
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	default:
		_ = os.WriteFile(f.path+".count", []byte(fmt.Sprint(f.count)), 0o600)
	}
}
