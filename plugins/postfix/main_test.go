package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// The test binary, under the name of the plugin, is the plugin with a point at
// which something is broken: the host starts it as it does the
// real one. What is to happen is in a file beside it.
func TestMain(m *testing.M) {
	if steps := plugintest.StartedAs("postfix"); steps != nil {
		p := newPostfix()
		p.systemd.booted = os.Args[0] + ".no-systemd"
		p.step, steps.Fault = steps.At, p.spoil
		if _, err := os.Stat(filepath.Join(filepath.Dir(os.Args[0]), "confined")); err == nil {
			p.confined = func(settings) bool { return true }
		}
		sdk.Serve(declaration(p))
		os.Exit(0)
	}
	// Pebble's validator is never stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// spoil knows two faults, which happen before a checkpoint is finalised:
//
//	append TEXT  adds a line to main.cf
//	set TEXT     changes a parameter there
func (p *postfix) spoil(kind, text, step string) bool {
	if step != "finalise: write the title" {
		return false
	}
	main := p.settings.mainCF()
	if kind == "set" {
		_ = exec.Command("/usr/sbin/postconf", "-c", filepath.Dir(main), "-e", text).Run()
	} else if out, err := os.OpenFile(main, os.O_APPEND|os.O_WRONLY, 0); err == nil {
		_, _ = out.WriteString(text + "\n")
		_ = out.Close()
	}
	return true
}
