package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

const pluginName = "certwright-plugin-postfix"

// The test binary, under the name of the plugin, is the plugin with a point at
// which something is broken: the host starts it as it does the
// real one. What is to happen is in a file beside it.
func TestMain(m *testing.M) {
	if path := os.Args[0]; filepath.Base(path) == pluginName {
		p := newPostfix()
		p.systemd.booted = path + ".no-systemd"
		f := fault{path: filepath.Join(filepath.Dir(path), "fault"), plugin: p}
		p.step = f.step
		if _, err := os.Stat(f.path + ".confined"); err == nil {
			p.confined = func(settings) bool { return true }
		}
		sdk.Serve(declaration(p))
		os.Exit(0)
	}
	// Pebble's validator is never stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// fault is read from a file of one line:
//
//	plugin N    at the N-th step kills the plugin
//	host N      the same, and the host before it
//	append TEXT before a checkpoint is finalised, adds a line to main.cf
//	set TEXT    then changes a parameter there
//
// The file is removed, so that it happens once, and what happened is in a file
// beside it.
type fault struct {
	mu     sync.Mutex // steps come side by side
	path   string
	plugin *postfix
	count  int
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
	switch kind {
	case "append", "set":
		if what == "finalise: write the title" {
			f.hit(what)
			f.spoil(kind, rest)
		}
	case "plugin", "host":
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
}

func (f *fault) spoil(kind, text string) {
	main := f.plugin.settings.mainCF()
	if kind == "set" {
		_ = exec.Command("/usr/sbin/postconf", "-c", filepath.Dir(main), "-e", text).Run()
	} else if out, err := os.OpenFile(main, os.O_APPEND|os.O_WRONLY, 0); err == nil {
		_, _ = out.WriteString(text + "\n")
		_ = out.Close()
	}
}

func (f *fault) hit(what string) {
	_ = os.WriteFile(f.path+".hit", []byte(fmt.Sprintf("%d %s", f.count, what)), 0o600)
	_ = os.Remove(f.path)
}
