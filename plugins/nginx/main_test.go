package main

import (
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
//
// "break STEP" writes nonsense, at that step, into the file that was written
// last; "break-plugin N" and "break-host N" do so before a checkpoint is
// finalised, and kill at the N-th step after that. What has happened is noted in
// a file, so that it happens once.
type fault struct {
	mu     sync.Mutex // steps come side by side
	path   string
	plugin *nginx
	count  int
	last   string
}

const finalising = "finalise: write the title"

func (f *fault) step(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path, ok := strings.CutPrefix(what, "place: rename to "); ok && !strings.Contains(path, "/checkpoints/") {
		f.last = path
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return
	}
	kind, at, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	if rest, ok := strings.CutPrefix(kind, "break"); ok {
		if rest == "" && what == at || rest != "" && what == finalising {
			f.spoil(strings.TrimPrefix(rest, "-"), at)
		}
		return
	}
	f.count++
	if number, err := strconv.Atoi(at); err != nil || number != f.count {
		return
	}
	_ = os.Rename(f.path, f.path+".hit")
	if kind == "host" {
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

// spoil appends nonsense. What is to happen then is the new fault.
func (f *fault) spoil(next, at string) {
	if f.last == "" {
		return
	}
	_ = os.Remove(f.path)
	if next != "" {
		_ = os.WriteFile(f.path, []byte(next+" "+at), 0o600)
	}
	if out, err := os.OpenFile(f.last, os.O_APPEND|os.O_WRONLY, 0); err == nil {
		_, _ = out.WriteString("no_such_thing on;\n")
		_ = out.Close()
	}
}
