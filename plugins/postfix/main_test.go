package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

const pluginName = "certwright-plugin-postfix"

// mortal does the work of a process that is to be killed; false: this is none.
var mortal = func() bool { return false }

// The test binary, under the name of the plugin, is the plugin with a point at
// which something is broken: the host starts it as it does the
// real one. What is to happen is in a file beside it.
func TestMain(m *testing.M) {
	if mortal() {
		os.Exit(0)
	}
	if path := os.Args[0]; filepath.Base(path) == pluginName {
		p := newPostfix()
		p.systemd.booted = path + ".no-systemd"
		f := fault{path: filepath.Join(filepath.Dir(path), "fault"), plugin: p}
		p.step = f.step
		sdk.Serve(declaration(p))
		os.Exit(0)
	}
	// Pebble's validator is never stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// fault is read from a file of one line:
//
//	append TEXT before a checkpoint is finalised, adds a line to main.cf
//	set TEXT    then changes a parameter there
//
// The file is renamed, so that it happens once.
type fault struct {
	path   string
	plugin *postfix
}

func (f *fault) step(what string) {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return
	}
	kind, rest, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	if kind == "append" || kind == "set" {
		if what != "finalise: write the title" {
			return
		}
		_ = os.Rename(f.path, f.path+".hit")
		main := f.plugin.settings.mainCF()
		if kind == "set" {
			_ = exec.Command("/usr/sbin/postconf", "-c", filepath.Dir(main), "-e", rest).Run()
		} else if out, err := os.OpenFile(main, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			_, _ = out.WriteString(rest + "\n")
			_ = out.Close()
		}
		return
	}
}
