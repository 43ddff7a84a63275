package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

const pluginName = "certwright-plugin-varnish"

// The test binary, under the name of the plugin, is the plugin with a point at
// which it is killed: the host starts it as it does the real one.
func TestMain(m *testing.M) {
	if path := os.Args[0]; filepath.Base(path) == pluginName {
		v := newVarnish()
		f := fault{path: filepath.Join(filepath.Dir(path), "fault")}
		v.step = f.step
		sdk.Serve(declaration(v))
		os.Exit(0)
	}
	// Pebble's validator is never stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// fault is read from a file of one line: "plugin N" kills the plugin at its N-th
// step, "host N" the host too. The file is removed, so that it happens once, and
// what happened is in a file beside it.
type fault struct {
	mu    sync.Mutex // steps come side by side
	path  string
	count int
}

func (f *fault) step(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	data, err := os.ReadFile(f.path)
	if err != nil {
		return
	}
	kind, rest, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	if n, err := strconv.Atoi(rest); err != nil || n != f.count {
		return
	}
	_ = os.WriteFile(f.path+".hit", []byte(fmt.Sprintf("%d %s", f.count, what)), 0o600)
	_ = os.Remove(f.path)
	if kind == "host" {
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
