package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// A first certificate, a renewal, and both taken back. The bundle is one that
// only Icecast's user can read, and Icecast is not restarted without need.
func TestDeploysAndTakesBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	state, etc := t.TempDir(), filepath.Dir(s.config)
	i := plugin(t, s.settings(), state)
	before := tree(t, etc)
	first, second := issue(t, "a.test"), issue(t, "a.test")
	must(t, deploy(operation(t.Context(), "1"), i, first))
	s.comesToShow(t, first.der())
	deployed := tree(t, etc)
	info, err := os.Stat(s.bundle)
	must(t, err)
	equal(t, os.FileMode(0o600), info.Mode())
	if os.Geteuid() == 0 {
		nobody, err := lookUp("nobody", "nogroup")
		must(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		equal(t, fmt.Sprint(*nobody.uid, *nobody.gid), fmt.Sprint(stat.Uid, stat.Gid))
	}

	starts := s.starts.Load()
	must(t, deploy(operation(t.Context(), "1"), plugin(t, s.settings(), state), first))
	equal(t, starts, s.starts.Load())
	equal(t, deployed, tree(t, etc))

	i = plugin(t, s.settings(), state)
	must(t, deploy(operation(t.Context(), "2"), i, second))
	s.comesToShow(t, second.der())
	for _, want := range []map[string]string{deployed, before} {
		i = plugin(t, s.settings(), state) // a new process
		must(t, i.Rollback(operation(t.Context(), ""), 1, &recorder{}))
		equal(t, want, tree(t, etc))
		must(t, i.ConfigTest(t.Context(), &recorder{}))
		must(t, i.Restart(operation(t.Context(), ""), &recorder{}))
		if len(want) == len(deployed) {
			s.comesToShow(t, first.der())
		}
	}
	s.comesToShow(t, nil)
}

// By a command of the operator, into the first socket.
func TestRestartCommand(t *testing.T) {
	t.Parallel()
	s := start(t)
	settings := s.settings()
	settings.Pidfile, settings.SSLPort, settings.Restart = "", 0, "kill -TERM $(cat "+s.pidfile+")"
	s.tls = s.plain
	i := plugin(t, settings, t.TempDir())
	c := issue(t, "a.test")
	must(t, deploy(operation(t.Context(), "1"), i, c))
	s.comesToShow(t, c.der())

	i.settings.Restart = "echo it is broken; exit 3"
	err := deploy(operation(t.Context(), "2"), i, issue(t, "a.test"))
	wantError(t, err, sdk.Unavailable, "restart command failed", "exit status 3", "it is broken", "by hand")
}

// What is wrong is found before anything is written, or before Icecast sees it.
func TestBrokenConfiguration(t *testing.T) {
	t.Parallel()
	s := start(t)
	i := plugin(t, s.settings(), t.TempDir())
	c := issue(t, "a.test")
	ctx := operation(t.Context(), "1")
	good := content(t, s.config)
	for text, want := range map[string]string{
		strings.Replace(good, "</paths>", "", 1): "line ",
		"<shoutcast/>":                           "its root is <shoutcast>",
		"":                                       "it is empty",
		"<?xml version=\"1.0\" encoding=\"UTF-16\"?><icecast/>": "UTF-16",
		"<icecast><paths/></icecast>":                           "no <listen-socket>",
		strings.Repeat("<icecast>", 200):                        "deep",
		"<icecast>&unknown;</icecast>":                          "unknown",
	} {
		put(t, s.config, text)
		wantError(t, i.Deploy(ctx, deployment(c), &recorder{}), sdk.ProblemOf(i.Deploy(ctx, deployment(c), &recorder{})).Code, s.config, want)
	}
	put(t, s.config, good)
	wrong := deployment(c)
	wrong.KeyPEM = issue(t, "a.test").key
	wantError(t, i.Deploy(ctx, wrong, &recorder{}), sdk.InvalidConfig, "not that of the certificate")

	before := tree(t, filepath.Dir(s.config))
	must(t, i.Deploy(ctx, deployment(c), &recorder{}))
	_, err := i.Save(ctx, sdk.SaveRequest{Title: "x"}, &recorder{})
	must(t, err)
	put(t, s.bundle, c.leaf)
	wantError(t, i.ConfigTest(ctx, &recorder{}), sdk.ConfigTestFailed, "start without TLS", s.bundle)
	put(t, s.config, "<icecast>")
	wantError(t, i.ConfigTest(ctx, &recorder{}), sdk.ConfigTestFailed, s.config)
	must(t, i.Rollback(ctx, 1, &recorder{}))
	equal(t, before, tree(t, filepath.Dir(s.config)))
}

// An Icecast that does not run is left alone, and so is another's process.
func TestNotRunning(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	before := tree(t, filepath.Dir(s.config))
	i := plugin(t, s.settings(), t.TempDir())
	try := func() error {
		return i.Deploy(operation(t.Context(), "1"), deployment(issue(t, "a.test")), &recorder{})
	}
	wantError(t, try(), sdk.NotRunning, s.pidfile, "icecast2 -b -c "+s.config)
	put(t, s.pidfile, "none")
	wantError(t, try(), sdk.NotRunning, "holds no process number")
	if _, err := os.Stat("/proc/self/cmdline"); err == nil {
		put(t, s.pidfile, fmt.Sprint(os.Getpid()))
		wantError(t, try(), sdk.NotRunning, "is not Icecast")
	}
	i.settings.Pidfile = ""
	wantError(t, try(), sdk.NotRunning, "systemd has no active", "restart_command")
	equal(t, before, tree(t, filepath.Dir(s.config)))
}

// secrets are where an operator may have them.
const secrets = `<source-password>hackme</source-password><admin-password><![CDATA[hackme]]></admin-password>` +
	`<authentication type="url"><option name="password" value="hackme"/><option value='hackme' name='stream_passwd'/>` +
	`<option name="mount_add" value="http://u:hackme@a.test/"/></authentication><relay-password a="b">hackme</relay-password>`

func TestDryRunShowsNoSecret(t *testing.T) {
	t.Parallel()
	s := start(t)
	i := plugin(t, s.settings(), t.TempDir())
	before := tree(t, filepath.Dir(s.config))
	put(t, s.config, strings.Replace(content(t, s.config), "<listen-socket>", secrets+"<listen-socket>", 1))
	d := deployment(issue(t, "a.test"))
	d.DryRun = true
	r := &recorder{}
	must(t, i.Deploy(operation(t.Context(), "1"), d, r))
	diff := r.results[0].Diff
	if !strings.Contains(diff, "+++ "+s.bundle) || !strings.Contains(diff, "<ssl-certificate>") || strings.Contains(diff, "PRIVATE") || strings.Contains(diff, "hackme") {
		t.Errorf("it shows\n%s", diff)
	}
	equal(t, []sdk.Endpoint{{Address: s.address(), Kind: sdk.TLS}}, r.results[0].Endpoints)
	if _, ok := tree(t, filepath.Dir(s.config))[s.bundle]; ok || len(before) != 1 {
		t.Error("something was written")
	}
}

// A bundle of root's, which Icecast read by its group, becomes Icecast's own: with
// mode 0600 it could not read it. It gets back what it had.
func TestBundleOfRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("run this test as root: it gives files to others")
	}
	s := start(t)
	nobody, err := lookUp("nobody", "nogroup")
	must(t, err)
	put(t, s.bundle, issue(t, "old.test").bundle())
	must(t, errors.Join(os.Chown(s.bundle, 0, *nobody.gid), os.Chmod(s.bundle, 0o640)))
	i := plugin(t, s.settings(), t.TempDir())
	before := tree(t, filepath.Dir(s.config))
	c := issue(t, "a.test")
	must(t, deploy(operation(t.Context(), "1"), i, c))
	s.comesToShow(t, c.der())
	must(t, i.Rollback(operation(t.Context(), ""), 1, &recorder{}))
	equal(t, before, tree(t, filepath.Dir(s.config)))
	if !(owner{uid: new(int), gid: nobody.gid}).owns(t, s.bundle) {
		t.Error("it has another owner than before")
	}
}

// owns is has, whatever the mode.
func (o owner) owns(t *testing.T, path string) bool {
	t.Helper()
	must(t, os.Chmod(path, bundleMode))
	return o.has(path)
}

// A pidfile may name another Icecast by now, which is not to be stopped.
func TestAnotherIcecast(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Log("what a process runs cannot be found out here")
		return
	}
	other, s := start(t), prepare(t)
	var pid string
	eventually(t, "it writes its pidfile", func() error {
		data, err := os.ReadFile(other.pidfile)
		pid = strings.TrimSpace(string(data))
		if err == nil && pid == "" {
			err = errors.New("it is empty")
		}
		return err
	})
	put(t, s.pidfile, pid)
	i := plugin(t, s.settings(), t.TempDir())
	wantError(t, i.Deploy(operation(t.Context(), "1"), deployment(issue(t, "a.test")), &recorder{}), sdk.NotRunning, "another one", pid)
	put(t, other.pidfile, pid)
	must(t, plugin(t, other.settings(), t.TempDir()).running(t.Context()))
}

func TestNamesAndConflict(t *testing.T) {
	t.Parallel()
	s := start(t)
	i := plugin(t, s.settings(), t.TempDir())
	sites, err := i.Names(t.Context())
	must(t, err)
	equal(t, []sdk.Site{{ID: s.config, Names: []string{"a.test"}, File: s.config}}, sites)
	must(t, i.Deploy(operation(t.Context(), "1"), deployment(issue(t, "a.test")), &recorder{}))
	other := deployment(issue(t, "b.test"))
	other.Lineage = "b.test"
	wantError(t, i.Deploy(sdk.WithOperation(t.Context(), sdk.Operation{ID: "2", Lineage: "b.test"}), other, &recorder{}), sdk.Conflict, "a.test", "one certificate")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	good := settings{Config: "/etc/icecast2/icecast.xml", Bundle: "/etc/icecast2/icecast.pem", SSLPort: 8443}
	must(t, good.check())
	for setting, change := range map[string]func(*settings){
		"config":    func(s *settings) { s.Config = "icecast.xml" },
		"bundle":    func(s *settings) { s.Bundle = "/etc/ü.pem" },
		"ssl_port":  func(s *settings) { s.SSLPort = 65536 },
		"pidfile":   func(s *settings) { s.Pidfile, s.Restart = "/run/pid", "true" },
		"endpoints": func(s *settings) { s.Endpoints = []string{"a.test"} },
	} {
		s := good
		change(&s)
		wantError(t, s.check(), sdk.InvalidConfig, "setting "+setting)
	}
}

func leafOfFile(t *testing.T, path string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(content(t, path)))
	return block.Bytes
}
