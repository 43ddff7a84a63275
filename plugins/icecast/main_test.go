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

const pluginName = "certwright-plugin-icecast"

// The test binary, under the name of the plugin, is the plugin with a point at
// which it is killed or something is broken: the host starts it as it does the
// real one.
func TestMain(m *testing.M) {
	if path := os.Args[0]; filepath.Base(path) == pluginName {
		i := newIcecast()
		i.unit.Booted = path + ".no-systemd"
		f := fault{path: filepath.Join(filepath.Dir(path), "fault")}
		i.step = f.step
		sdk.Serve(declaration(i))
		os.Exit(0)
	}
	// Pebble's validator is never stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// fault is read from a file of one line:
//
//	plugin N         at the N-th step kills the plugin
//	host N           the same, and the host before it
//	copy FROM TO AT  before the first step that begins with AT, copies a file
//
// The file is removed, so that it happens once, and what happened is in a file
// beside it.
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
	if kind == "copy" {
		if words := strings.SplitN(rest, " ", 3); strings.HasPrefix(what, words[2]) {
			f.hit(what)
			if broken, err := os.ReadFile(words[0]); err == nil {
				_ = os.WriteFile(words[1], broken, 0o600)
			}
		}
		return
	}
	if n, err := strconv.Atoi(rest); err != nil || n != f.count {
		return
	}
	f.hit(what)
	if kind == "host" {
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

func (f *fault) hit(what string) {
	_ = os.WriteFile(f.path+".hit", []byte(fmt.Sprintf("%d %s", f.count, what)), 0o600)
	_ = os.Remove(f.path)
}
