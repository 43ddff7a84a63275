package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// panelOf makes a certmng that writes a file, and gives its settings.
func panelOf(t *testing.T, s settings) settings {
	t.Helper()
	dir := t.TempDir()
	s.Certmng, s.PanelFile = filepath.Join(dir, "certmng"), filepath.Join(dir, "httpsd.pem")
	must(t, os.WriteFile(s.PanelFile, []byte("what Plesk had\n"), 0o600))
	must(t, os.WriteFile(s.Certmng, fmt.Appendf(nil, `#!/bin/sh
[ "$1" = --setup-cp-certificate ] || { echo "unknown option $1" >&2; exit 1; }
case $2 in --certificate=*) exec cp "${2#--certificate=}" %s ;; esac
exit 1
`, s.PanelFile), 0o755))
	return s
}

func wantPanel(t *testing.T, s settings, want string) {
	t.Helper()
	got, err := os.ReadFile(s.PanelFile)
	must(t, err)
	if string(got) != want {
		t.Errorf("the panel has\n%s\nwant\n%s", got, want)
	}
}

func TestPleskItselfIsSecured(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	before := f.everything()
	s := panelOf(t, f.settings(t))
	state := t.TempDir()
	first, second := certificateFor(t, "a.test"), certificateFor(t, "a.test")
	pem := func(d sdk.Deployment) string { return string(d.KeyPEM) + string(d.LeafPEM) }
	must(t, deploy(t.Context(), configured(t, s, state), first, "1"))
	wantPanel(t, s, pem(first))
	must(t, deploy(t.Context(), configured(t, s, state), second, "2"))
	wantPanel(t, s, pem(second))
	rolledBack(t, configured(t, s, state), "a.test", 1, "back")
	wantPanel(t, s, pem(first))
	rolledBack(t, configured(t, s, state), "a.test", 1, "back again")
	wantPanel(t, s, "what Plesk had\n")
	if got := f.everything(); got != before {
		t.Errorf("left over\n%s", got)
	}
	if left, err := filepath.Glob(filepath.Join(state, "panel-*")); err != nil || len(left) > 0 {
		t.Errorf("keys are left: %q (%v)", left, err)
	}
}

func TestPleskItselfCannotBeSecured(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	s := panelOf(t, f.settings(t))
	s.Certmng = "/bin/false"
	p := configured(t, s, t.TempDir())
	err := deploy(t.Context(), p, certificateFor(t, "a.test"), "1")
	wantProblem(t, err, sdk.Unavailable, "secure Plesk itself", "exit status 1", "path of certmng")
	wantPanel(t, s, "what Plesk had\n")
	rolledBack(t, p, "a.test", 1, "back") // nothing is to be undone there
	s.PanelFile += ".none"
	err = deploy(t.Context(), configured(t, s, t.TempDir()), certificateFor(t, "a.test"), "1")
	wantProblem(t, err, sdk.InvalidConfig, "set panel_file")
}

// What a killed process has handed over does not stay, and no more of what a
// program says is kept than is quoted.
func TestNothingIsLeftOfAKilledProcess(t *testing.T) {
	state := t.TempDir()
	for _, name := range []string{"panel-1", "file-2", "other"} {
		must(t, os.WriteFile(filepath.Join(state, name), []byte("key"), 0o600))
	}
	s := settings{SecretKey: "x"}
	configured(t, s, state)
	for _, pattern := range []string{"panel-*", "file-*"} {
		if left, err := filepath.Glob(filepath.Join(state, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left is %q (%v)", left, err)
		}
	}
	if _, err := os.Stat(filepath.Join(state, "other")); err != nil {
		t.Error(err)
	}
	var h head
	for range 1000 {
		if n, err := h.Write(make([]byte, 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	if cap(h.text) > 2*outputLimit || len(h.text) != outputLimit {
		t.Errorf("%d bytes are kept in %d", len(h.text), cap(h.text))
	}
}
