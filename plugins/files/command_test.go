package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestCommandsSeeTheFilesAndTheirEnvironment(t *testing.T) {
	dir := t.TempDir()
	s := allIn(dir)
	s.Test = "cp " + s.Cert + " " + dir + "/tested"
	s.Reload = "env > " + dir + "/env; pwd >> " + dir + "/env; readlink /proc/self/fd/0 >> " + dir + "/env"
	t.Setenv("CERTWRIGHT_STRAY", "must not be passed on")
	f := configured(t, s, t.TempDir())
	d := certificate(t, "a.test")
	deployed(t, f, d)
	must(t, f.ConfigTest(during(t.Context(), "a.test", "test"), &recorder{}))
	equal(t, string(d.LeafPEM), read(t, dir+"/tested"))
	must(t, f.Restart(during(t.Context(), "a.test", "restart"), &recorder{}))
	got := read(t, dir+"/env")
	for _, want := range []string{
		"CERTWRIGHT_LINEAGE=a.test\n", "CERTWRIGHT_NAMES=a.test www.a.test\n", "PATH=" + searchPath + "\n", "\n/\n", "/dev/null\n",
	} {
		if !strings.Contains("\n"+got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "STRAY") || strings.Contains(got, "HOME=") {
		t.Errorf("too much in\n%s", got)
	}
	// In a new process, where nothing was deployed, the operation tells.
	must(t, configured(t, s, t.TempDir()).Restart(during(t.Context(), "b.test", "restart"), &recorder{}))
	if got := read(t, dir+"/env"); !strings.Contains(got, "CERTWRIGHT_NAMES=b.test\n") {
		t.Error(got)
	}
}

func TestCommandsFail(t *testing.T) {
	dir := t.TempDir()
	s := settings{
		Cert: filepath.Join(dir, "c.pem"),
		Test: "echo to stdout; echo to stderr >&2; exit 3",
		// A long story of which the end counts, with a byte that is no text.
		Reload: `i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf 'the \377 end'; exit 7`,
	}
	f := configured(t, s, t.TempDir())
	err := f.ConfigTest(t.Context(), &recorder{})
	wantError(t, err, sdk.ConfigTestFailed, "exit status 3", "to stdout\nto stderr", "setting test")
	err = f.Restart(t.Context(), &recorder{})
	wantError(t, err, sdk.Unavailable, "exit status 7", "line 1999", "the ? end", "…")
	if detail := sdk.ProblemOf(err).Detail; len(detail) > outputLimit+10 || strings.Contains(detail, "line 1\n") {
		t.Errorf("%d bytes of output", len(detail))
	}
	f.config.reload = "exit 1"
	wantError(t, f.Restart(t.Context(), &recorder{}), sdk.Unavailable, "it printed nothing")
}

func TestNoCommands(t *testing.T) {
	f := configured(t, settings{Cert: filepath.Join(t.TempDir(), "c.pem")}, t.TempDir())
	must(t, f.ConfigTest(t.Context(), &recorder{}))
	must(t, f.Restart(t.Context(), &recorder{}))
}

// A command may leave a process behind that keeps its output open.
func TestCommandLeavesAProcess(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "gate")
	s := settings{Cert: filepath.Join(dir, "c.pem"), Reload: "mkfifo " + fifo + "; (cat " + fifo + ") & echo started"}
	f := configured(t, s, t.TempDir())
	must(t, f.Restart(t.Context(), &recorder{}))
	// It would wait for ever: this lets it end.
	must(t, os.WriteFile(fifo, []byte("end"), 0o600))
}

func TestCommandCancelled(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "gate")
	must(t, syscall.Mkfifo(fifo, 0o600))
	s := settings{Cert: filepath.Join(dir, "c.pem"), Reload: "echo begun > " + fifo + "; exec cat " + fifo}
	f := configured(t, s, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f.Restart(ctx, &recorder{}) }()
	equal(t, "begun\n", read(t, fifo))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
