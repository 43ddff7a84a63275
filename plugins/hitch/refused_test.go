package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// What hitch would not serve, or could not start with, is refused before
// anything is written.
func TestRefusesWhatHitchWouldNotServe(t *testing.T) {
	t.Parallel()
	p := start(t)
	good := read(t, p.config)
	file := filepath.Join(p.dir, "default.pem")
	deploy := func(s settings) error {
		return plugin(t, s, t.TempDir()).Deploy(operation(t.Context(), "a.test", "1"), deployment(issue(t, "a.test"), "a.test"), &recorder{})
	}
	one := p.settings()
	one.PemDir, one.PemFile = "", file

	// A run that is killed while it writes leaves a file that hitch does not start with.
	put(t, p.config, strings.Replace(good, "pem-dir-glob", "#", 1))
	left := checkpoint.Unfinished(filepath.Join(p.certs, "a.test.pem"))
	put(t, left, "")
	if h := plugin(t, p.settings(), t.TempDir()); h.ConfigTest(t.Context(), &recorder{}) == nil {
		t.Error("hitch does not mind an unfinished file")
	}
	must(t, os.Remove(left))
	wantError(t, deploy(p.settings()), sdk.InvalidConfig, "has hitch load whatever is in "+p.certs, `pem-dir-glob = "*.pem"`)
	put(t, p.config, good)
	put(t, left, "")
	must(t, deploy(p.settings()))
	must(t, os.Remove(left))

	put(t, p.config, p.conf("pem-file = {\n cert = \""+file+"\"\n private-key = \""+file+"\"\n}\n"))
	wantError(t, deploy(one), sdk.InvalidConfig, "names a private-key for "+file, "remove private-key")
	put(t, p.config, good)

	elsewhere := filepath.Join(p.dir, "elsewhere.pem")
	put(t, elsewhere, issue(t, "a.test").bundle())
	must(t, os.Symlink(elsewhere, p.file("a.test")))
	wantError(t, deploy(p.settings()), sdk.InvalidConfig, p.file("a.test")+" is a symlink", "write pem-file")
	sites, err := plugin(t, p.settings(), t.TempDir()).Names(t.Context())
	must(t, err)
	if len(sites) != 1 {
		t.Errorf("hitch serves what it passes over: %+v", sites)
	}
	put(t, p.config, good+"pem-file = \""+p.file("a.test")+"\"\n")
	must(t, deploy(p.settings()))
}

// A symlink that hitch.conf names stays, and the owner of what it leads to.
func TestSymlinkByName(t *testing.T) {
	t.Parallel()
	p := write(t)
	target, link := filepath.Join(p.certs, "real"), filepath.Join(p.dir, "link.pem")
	old, c := issue(t, "default.test"), issue(t, "default.test")
	put(t, target, old.bundle())
	must(t, os.Chmod(target, 0o640))
	if os.Geteuid() == 0 {
		const nobody = 65534
		must(t, os.Chown(target, nobody, nobody))
	}
	must(t, os.Symlink(target, link))
	put(t, p.config, p.conf("pem-file = \""+link+"\"\n"))
	p.run(t)
	s := p.settings()
	s.PemDir, s.PemFile = "", link
	h := plugin(t, s, t.TempDir())
	before, was := tree(t, p.dir), owner(t, target)
	must(t, deploy(operation(t.Context(), "a", "1"), h, c, "a"))
	p.comesToShow(t, "default.test", c.der())
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("the symlink leads to %q, %v", to, err)
	}
	equal(t, was+" 0600", owner(t, target)+mode(t, target))
	must(t, h.Rollback(operation(t.Context(), "a", ""), 1, &recorder{}))
	must(t, h.Restart(operation(t.Context(), "a", ""), &recorder{}))
	p.comesToShow(t, "default.test", old.der())
	equal(t, before, tree(t, p.dir))
	equal(t, was, owner(t, target))
	// What a sandbox says if the target is not among its paths.
	wantError(t, explainFile(fs.ErrPermission, link), sdk.PermissionDenied, link+" leads to "+target)
	wantError(t, explainFile(fs.ErrPermission, target), sdk.PermissionDenied, "give its user "+p.certs)
}

func owner(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

func mode(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return fmt.Sprintf(" %04o", info.Mode().Perm())
}

// Under systemd it is the unit that is asked, told and started. systemd itself is
// played by a script.
func TestUnit(t *testing.T) {
	t.Parallel()
	p := start(t)
	dir := t.TempDir()
	active, said := filepath.Join(dir, "active"), filepath.Join(dir, "said")
	script := fmt.Sprintf(`#!/bin/sh
case "$*" in
*LoadState) echo loaded;;
*ActiveState) cat %s;;
"reload hitch.service") kill -HUP "$(cat %s)"; echo "$1" >>%s;;
"start hitch.service") echo active >%s; echo "$1" >>%s;;
*) echo "no such thing: $*"; exit 1;;
esac
`, active, p.pidfile, said, active, said)
	put(t, filepath.Join(dir, "systemctl"), script)
	must(t, os.Chmod(filepath.Join(dir, "systemctl"), 0o700))
	underSystemd := func(s settings) *hitch {
		h := plugin(t, s, t.TempDir())
		h.unit.Program, h.unit.Booted = filepath.Join(dir, "systemctl"), dir
		return h
	}
	s := p.settings()
	s.Pidfile = ""
	ctx := operation(t.Context(), "a.test", "1")

	put(t, active, "active\n")
	c := issue(t, "a.test")
	must(t, deploy(ctx, underSystemd(s), c, "a.test"))
	p.comesToShow(t, "a.test", c.der())
	equal(t, "reload\n", read(t, said))

	// A pidfile that is not that of the unit which runs: it would not be reloaded.
	s.Pidfile = filepath.Join(dir, "other.pid")
	put(t, s.Pidfile, "1000000000\n")
	err := deploy(ctx, underSystemd(s), issue(t, "a.test"), "a.test")
	wantError(t, err, sdk.NotRunning, "1000000000", "leave the setting pidfile out")

	put(t, active, "inactive\n")
	must(t, deploy(ctx, underSystemd(s), issue(t, "a.test"), "a.test"))
	equal(t, "reload\nstart\n", read(t, said))
}
