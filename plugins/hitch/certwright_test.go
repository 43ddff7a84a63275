package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
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
	// Plugins that others may write to are not run. The mask is that of the whole
	// process, and tests that write files for others wait for this one.
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

// host is certwright with a state of its own, for one hitch.
type host struct {
	prefix, dir string
	ca          *testca.CA
	proxy       *proxy
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
}

func newHost(t *testing.T, prefix string, p *proxy, sandbox string) *host {
	t.Helper()
	web := plugintest.Port(t)
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: web})
	must(t, err)
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{prefix: prefix, dir: t.TempDir(), ca: ca, proxy: p}
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc"), 0o755))
	put(t, filepath.Join(h.dir, "ca.pem"), ca.TLSRoots())
	put(t, filepath.Join(h.dir, "etc", "certwright.yaml"), fmt.Sprintf(`
server: %s
instances:
  - {name: standalone, settings: {http_port: %d, address: 127.0.0.1}}
  - name: hitch
    sandbox: %s
    settings: {config: %s, pem_dir: %s, pidfile: %s, also_read: [%s]}
certificates:
  - {name: a.test, names: [a.test, www.a.test], authenticate: [{with: [standalone]}], deploy: [hitch]}
`, ca.DirectoryURL(), web, sandbox, p.config, p.certs, p.pidfile, filepath.Join(p.dir, "default.pem")))
	return h
}

// try runs certwright and gives all that it printed.
func (h *host) try(t *testing.T, verb string, args ...string) (string, error) {
	t.Helper()
	all := []string{verb, "-n", "--config-dir", filepath.Join(h.dir, "etc"), "--state-dir", filepath.Join(h.dir, "state")}
	if h.faulty != nil {
		all = append(all, "--plugin-dir", h.faulty.Dir)
	}
	switch verb {
	case "run":
		all = append(all, "--agree-tos", "--ca-bundle", filepath.Join(h.dir, "ca.pem"))
	case "renew":
		all = append(all, "--ca-bundle", filepath.Join(h.dir, "ca.pem"))
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

// leaf is the newest certificate.
func (h *host) leaf(t *testing.T) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, filepath.Join(h.dir, "state", "live", "a.test", "cert.pem"))))
	return block.Bytes
}

// breaks has a file in place of the new one, from some step of a renewal on: it
// fails, and everything is put back.
func (h *host) breaks(t *testing.T, was, content []byte, at string) {
	t.Helper()
	before := tree(t, h.proxy.dir)
	broken := filepath.Join(h.dir, "broken.pem")
	put(t, broken, content)
	h.faulty.Set(t, "copy %s %s %s", broken, h.proxy.file("a.test"), at)
	out, err := h.try(t, "renew", "--force-renewal")
	if hit := h.faulty.Hit(t); err == nil || hit == "" {
		t.Errorf("%s: %q, %v\n%s", at, hit, err, out)
	}
	equal(t, before, tree(t, h.proxy.dir))
	h.proxy.comesToShow(t, "www.a.test", was)
}

// Everything as a user has it: certwright installed, its plugins processes of
// their own, this one in its sandbox, hitch running. Obtained, deployed, renewed,
// taken back twice.
func TestCertificatesInHitch(t *testing.T) {
	prefix := install(t)
	t.Run("broken on the way", func(t *testing.T) { t.Parallel(); brokenOnTheWay(t, prefix) })
	p := start(t)
	h := newHost(t, prefix, p, "required")
	before := tree(t, p.dir)
	out := h.do(t, "run")
	if !strings.Contains(out, "proven at "+p.address()) {
		t.Errorf("it is not proven:\n%s", out)
	}
	first := h.leaf(t)
	p.comesToShow(t, "www.a.test", first)
	deployed := tree(t, p.dir)

	h.do(t, "renew", "--force-renewal")
	second := h.leaf(t)
	p.comesToShow(t, "www.a.test", second)
	if bytes.Equal(first, second) {
		t.Error("it was not renewed")
	}
	h.do(t, "rollback")
	equal(t, deployed, tree(t, p.dir))
	p.comesToShow(t, "www.a.test", first)
	h.do(t, "rollback")
	equal(t, before, tree(t, p.dir))
	p.comesToShow(t, "www.a.test", leafOfFile(t, filepath.Join(p.dir, "default.pem")))
}

// A file that is broken on the way is put back by the same run.
func brokenOnTheWay(t *testing.T, prefix string) {
	h := newHost(t, prefix, start(t), "off") // what breaks it is outside of the sandbox
	h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "hitch")
	h.do(t, "run")
	h.breaks(t, h.leaf(t), []byte("-----BEGIN CERTIFICATE-----\n"), "finalise: write the title")
}
