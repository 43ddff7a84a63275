package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// install gives the directory that the built tree is installed in.
func install(t *testing.T) string {
	t.Helper()
	// Plugins that others may write to are not run. The mask is that of the
	// whole process, and no test of this package runs beside this one.
	defer syscall.Umask(syscall.Umask(0o022))
	prefix := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", "../..", "install", "DESTDIR="+prefix, "PREFIX=")
	for _, entry := range os.Environ() { // those of the make that runs this
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	return prefix
}

// host is certwright with a state of its own, for one haproxy.
type host struct {
	prefix, dir string
	ca          *testca.CA
	proxy       *proxy
	settings    settings
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
}

func newHost(t *testing.T, prefix string, p *proxy, s settings) *host {
	t.Helper()
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: p.web})
	must(t, err)
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{prefix: prefix, dir: t.TempDir(), ca: ca, proxy: p, settings: s}
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(h.dir, "ca.pem"), ca.TLSRoots(), 0o600))
	return h
}

// onlyIPv6 makes a name reachable by IPv6 alone.
func (h *host) onlyIPv6(name string) {
	h.ca.DNS().SetA(name)
	h.ca.DNS().SetAAAA(name, netip.IPv6Loopback())
}

func (h *host) state() string { return filepath.Join(h.dir, "state") }

// try runs certwright and gives all that it printed.
func (h *host) try(t *testing.T, verb string, args ...string) (string, error) {
	t.Helper()
	all := []string{verb, "-n", "--config-dir", filepath.Join(h.dir, "etc"), "--state-dir", h.state()}
	if h.faulty != nil {
		all = append(all, "--plugin-dir", h.faulty.Dir)
	}
	switch verb {
	case "run", "certonly":
		all = append(all, "--agree-tos", "--server", h.ca.DirectoryURL(), "--ca-bundle", filepath.Join(h.dir, "ca.pem"))
	case "renew":
		all = append(all, "--ca-bundle", filepath.Join(h.dir, "ca.pem"))
	}
	s := h.settings
	level := "required"
	if s.Reload != "" || h.faulty != nil {
		level = "off" // the command may need anything, and a fault is written down
	}
	for key, value := range map[string]string{
		"binary": s.Binary, "config": s.Config, "socket": s.Socket, "crt_dir": s.CrtDir, "crt_list": s.CrtList, "map": s.Map,
		"listen": fmt.Sprint(s.Listen), "reload": s.Reload, "sandbox": level,
	} {
		if value != "" {
			all = append(all, "--set", "haproxy."+key+"="+value)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(h.prefix, "bin", "certwright"), append(all, args...)...).CombinedOutput()
	return string(out), err
}

func (h *host) do(t *testing.T, verb string, args ...string) string {
	t.Helper()
	out, err := h.try(t, verb, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s\n%s", verb, args, err, out, h.proxy.output)
	}
	return out
}

// leaf is what a link of the state directory leads to.
func (h *host) leaf(t *testing.T, link string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, filepath.Join(h.state(), link, "cert.pem"))))
	return block.Bytes
}

// Everything as a user has it: certwright installed, its plugin a process of
// its own, a CA that validates through the haproxy that runs.
func TestCertificatesThroughHAProxy(t *testing.T) {
	prefix := install(t)
	ways := map[string]setup{
		"map, directory": {}, "listener, crt-list": {listener: true, crtList: true}, "map, crt-list, master": {crtList: true, master: true},
	}
	for name, s := range ways {
		t.Run(name, func(t *testing.T) { t.Parallel(); wholeLife(t, prefix, s) })
	}
	t.Run("reload", func(t *testing.T) { t.Parallel(); wholeLifeByReload(t, prefix) })
	t.Run("broken before", func(t *testing.T) { t.Parallel(); brokenBefore(t, prefix) })
	t.Run("broken by us", func(t *testing.T) { t.Parallel(); brokenByUs(t, prefix, false) })
	t.Run("broken by us, reload", func(t *testing.T) { t.Parallel(); brokenByUs(t, prefix, true) })
	t.Run("dry run", func(t *testing.T) { t.Parallel(); dryRun(t, prefix) })
	t.Run("stopped", func(t *testing.T) { t.Parallel(); stopped(t, prefix) })
}

// Several names, one reachable by IPv6 only, behind a redirect of everything to
// https: obtained, deployed, renewed, and taken back twice.
func wholeLife(t *testing.T, prefix string, s setup) {
	p := start(t, s)
	h := newHost(t, prefix, p, p.settings(s))
	h.onlyIPv6("six.test")
	before := tree(t, p.dir)
	out := h.do(t, "run", "-a", "haproxy", "-i", "haproxy", "-d", "a.test,www.a.test,six.test")
	first := h.leaf(t, "live/a.test")
	for _, name := range []string{"a.test", "www.a.test", "six.test"} {
		p.shows(t, name, first)
	}
	proven := "haproxy serves version 1, proven at " + loopback(p.tls) + ", " + loopback6(p.tls)
	if strings.Contains(out, "does not give the answer") || !strings.Contains(out, proven) {
		t.Errorf("it looked in vain, or the certificate is not proven:\n%s", out)
	}
	p.inOrder(t, h.settings)
	deployed := tree(t, p.dir)

	w := p.watch(t, "www.a.test")
	h.do(t, "renew", "--force-renewal")
	second := h.leaf(t, "live/a.test")
	p.shows(t, "six.test", second)
	renewed := tree(t, p.dir)
	delete(renewed, p.file("a.test"))
	old := deployed[p.file("a.test")]
	delete(deployed, p.file("a.test"))
	equal(t, deployed, renewed) // no byte of the configuration, the list or the map
	deployed[p.file("a.test")] = old

	h.do(t, "rollback")
	equal(t, deployed, tree(t, p.dir))
	p.shows(t, "www.a.test", first)
	p.inOrder(t, h.settings)
	equal(t, []int{0, 1, 0}, w.end(t, first, second))

	h.do(t, "rollback")
	equal(t, before, tree(t, p.dir))
	p.inOrder(t, h.settings)
	if !s.listener {
		equal(t, "", p.say(t, "show map "+p.acmeMap()))
	}
}

// The same without the runtime API for certificates; the workers of before go
// on with what they have.
func wholeLifeByReload(t *testing.T, prefix string) {
	p := start(t, setup{master: true, listener: true})
	s := p.settings(setup{listener: true})
	s.Socket, s.Reload = "", fmt.Sprintf("kill -USR2 %d", p.process.Process.Pid)
	h := newHost(t, prefix, p, s)
	before := tree(t, p.certs())
	h.do(t, "run", "-a", "haproxy", "-i", "haproxy", "-d", "a.test")
	first := h.leaf(t, "live/a.test")
	p.comesToShow(t, "a.test", first)
	deployed := tree(t, p.certs())
	w := p.watch(t, "a.test")
	h.do(t, "renew", "--force-renewal")
	second := h.leaf(t, "live/a.test")
	p.comesToShow(t, "a.test", second)
	h.do(t, "rollback")
	p.comesToShow(t, "a.test", first)
	equal(t, deployed, tree(t, p.certs()))
	if seen := w.end(t, first, second); len(seen) < 3 {
		t.Errorf("the certificates were seen in the order %v", seen)
	}
	h.do(t, "rollback")
	equal(t, before, tree(t, p.certs()))
}

// What a deployment would change is shown, and not done; never a key.
func dryRun(t *testing.T, prefix string) {
	s := setup{crtList: true}
	p := start(t, s)
	h := newHost(t, prefix, p, p.settings(s))
	h.do(t, "run", "-a", "haproxy", "-i", "haproxy", "-d", "a.test")
	before, memory := tree(t, p.dir), p.inventory(t)
	for _, args := range [][]string{
		{"renew", "--dry-run", "--force-renewal"}, {"run", "--dry-run", "-a", "haproxy", "-i", "haproxy", "-d", "b.test"},
	} {
		out := h.do(t, args[0], args[1:]...)
		if !strings.Contains(out, "+++ "+p.certs()) || !strings.Contains(out, "private key: ") || strings.Contains(out, "PRIVATE KEY") {
			t.Errorf("%q shows\n%s", args, out)
		}
	}
	equal(t, before, tree(t, p.dir))
	equal(t, memory, p.inventory(t))
}

func brokenBefore(t *testing.T, prefix string) {
	p := start(t, setup{})
	h := newHost(t, prefix, p, p.settings(setup{}))
	write(t, p.config, read(t, p.config)+"frontend x\n    nonsense here\n")
	before := tree(t, p.dir)
	out, err := h.try(t, "run", "-a", "haproxy", "-i", "haproxy", "-d", "a.test")
	if err == nil || !strings.Contains(out, "before anything was changed") || !strings.Contains(out, "["+p.config+":") ||
		!strings.Contains(out, "hint: run "+program+" -c -f "+p.config) {
		t.Errorf("%v\n%s", err, out)
	}
	equal(t, before, tree(t, p.dir))
}

// What is broken after it was written is undone by the same run, whether
// haproxy's test finds it or haproxy itself, and nobody notices.
func brokenByUs(t *testing.T, prefix string, reload bool) {
	s := setup{master: reload}
	p := start(t, s)
	settings := p.settings(s)
	if reload {
		settings.Socket = filepath.Join(p.dir, "admin.sock") // for the map
		settings.Reload = fmt.Sprintf("kill -USR2 %d", p.process.Process.Pid)
		settings.Socket, settings.Map, settings.Listen = "", "", p.listen
		s.listener = true
		write(t, p.config, p.fromReadme(t, s))
		must(t, p.process.Process.Signal(syscall.SIGUSR2))
		p.comesToShow(t, "default.test", leafOfFile(t, filepath.Join(p.certs(), "0-default.pem")))
		eventually(t, "the new configuration is there", func() error {
			if got := p.answers(t, challenge("a.test", "none")); got[0] != "503" || got[1] != "503" {
				return fmt.Errorf("it answers %s", got)
			}
			return nil
		})
	}
	h := newHost(t, prefix, p, settings)
	h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "haproxy")
	h.do(t, "run", "-a", "haproxy", "-i", "haproxy", "-d", "a.test")
	old := h.leaf(t, "live/a.test")
	p.comesToShow(t, "a.test", old)
	before := tree(t, p.certs())

	broken := filepath.Join(h.dir, "broken.pem")
	faults := map[string]string{"test: ": "-----BEGIN CERTIFICATE-----\n", "sync: read ": ""}
	if reload {
		delete(faults, "sync: read ") // there is no such step
	}
	for at, content := range faults {
		if content == "" {
			mixed(t, broken)
		} else {
			write(t, broken, content)
		}
		w := p.watch(t, "a.test")
		// The first test of the run is before anything is written.
		if at == "test: " {
			at = "finalise: write the title"
		}
		h.faulty.Set(t, "copy %s %s %s", broken, p.file("a.test"), at)
		out, err := h.try(t, "renew", "--force-renewal")
		if hit := h.faulty.Hit(t); err == nil || hit == "" {
			t.Errorf("%s: %q, %v\n%s", at, hit, err, out)
		}
		equal(t, []int{0}, w.end(t, old))
		equal(t, before, tree(t, p.certs()))
		p.shows(t, "a.test", old)
		if !strings.Contains(out, "haproxy") || !strings.Contains(out, p.file("a.test")) {
			t.Errorf("%s: nobody is told what is wrong\n%s", at, out)
		}
	}
	if !reload {
		p.inOrder(t, settings)
	}
	h.do(t, "renew", "--force-renewal")
	p.comesToShow(t, "a.test", h.leaf(t, "live/a.test"))
}

func leafOfFile(t *testing.T, path string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, path)))
	return block.Bytes
}

func stopped(t *testing.T, prefix string) {
	p := start(t, setup{})
	h := newHost(t, prefix, p, p.settings(setup{}))
	h.do(t, "certonly", "-a", "haproxy", "-d", "a.test")
	p.stop(t)
	before := tree(t, p.dir)
	for _, args := range [][]string{{"install", "--cert-name", "a.test", "-i", "haproxy"}, {"run", "-a", "haproxy", "-i", "haproxy", "-d", "b.test"}} {
		out, err := h.try(t, args[0], args[1:]...)
		if err == nil || !strings.Contains(out, "haproxy is not running") || !strings.Contains(out, "hint: start it, for instance by: "+program+" -D -f "+p.config) {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	equal(t, before, tree(t, p.dir))
	if _, err := (&runtime{address: p.socket, step: func(string) {}}).probe(t.Context()); !errors.Is(err, errNotRunning) {
		t.Errorf("it was started: %v", err)
	}
	// Its owner starts it.
	p.run(t)
	h.do(t, "install", "--cert-name", "a.test", "-i", "haproxy")
	p.shows(t, "a.test", h.leaf(t, "live/a.test"))
}
