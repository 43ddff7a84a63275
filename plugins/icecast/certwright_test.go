package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
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

// host is certwright with a state of its own, for one Icecast.
type host struct {
	prefix, dir string
	ca          *testca.CA
	server      *server
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
}

func newHost(t *testing.T, prefix string, s *server, sandbox string) *host {
	t.Helper()
	web := plugintest.Port(t)
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: web})
	must(t, err)
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{prefix: prefix, dir: t.TempDir(), ca: ca, server: s}
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc"), 0o755))
	put(t, filepath.Join(h.dir, "ca.pem"), ca.TLSRoots())
	put(t, filepath.Join(h.dir, "etc", "certwright.yaml"), fmt.Sprintf(`
server: %s
instances:
  - {name: standalone, settings: {http_port: %d, address: 127.0.0.1}}
  - name: icecast
    sandbox: %s
    settings: {config: %s, bundle: %s, pidfile: %s, ssl_port: %d}
certificates:
  - {name: a.test, names: [a.test, www.a.test], authenticate: [{with: [standalone]}], deploy: [icecast]}
`, ca.DirectoryURL(), web, sandbox, s.config, s.bundle, s.pidfile, s.tls))
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
		t.Fatalf("%s %q: %v\n%s\n%s", verb, args, err, out, h.server.output)
	}
	return out
}

// leaf is the newest certificate.
func (h *host) leaf(t *testing.T) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(content(t, filepath.Join(h.dir, "state", "live", "a.test", "cert.pem"))))
	return block.Bytes
}

// breaks has another content in a file, from some step of a renewal on: it fails
// and says so, and everything is put back.
func (h *host) breaks(t *testing.T, was []byte, file string, content any, at, say string) {
	t.Helper()
	before := tree(t, filepath.Dir(h.server.config))
	broken := filepath.Join(h.dir, "broken")
	put(t, broken, content)
	h.faulty.Set(t, "copy %s %s %s", broken, file, at)
	out, err := h.try(t, "renew", "--force-renewal")
	if hit := h.faulty.Hit(t); err == nil || hit == "" || !strings.Contains(out, say) {
		t.Errorf("%s: %q, %v\n%s", at, hit, err, out)
	}
	equal(t, before, tree(t, filepath.Dir(h.server.config)))
	h.server.comesToShow(t, was)
}

// trusted has a listener's player that knows the CA's root only connect: Icecast
// must send the chain too.
func (h *host) trusted(t *testing.T) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(h.ca.IssuerRoots()) {
		t.Fatal("the CA has no root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "www.a.test"}}).DialContext(ctx, "tcp", h.server.address())
	must(t, err)
	must(t, conn.Close())
}

// Everything as a user has it: certwright installed, its plugins processes of
// their own, this one in its sandbox, Icecast running. Obtained, deployed,
// renewed, taken back twice.
func TestCertificatesInIcecast(t *testing.T) {
	prefix := install(t)
	t.Run("broken on the way", func(t *testing.T) { t.Parallel(); brokenOnTheWay(t, prefix) })
	s := start(t)
	h := newHost(t, prefix, s, "required")
	before := tree(t, filepath.Dir(s.config))
	out := h.do(t, "run")
	if !strings.Contains(out, "proven at "+s.address()) {
		t.Errorf("it is not proven:\n%s", out)
	}
	first := h.leaf(t)
	s.comesToShow(t, first)
	h.trusted(t)
	deployed := tree(t, filepath.Dir(s.config))

	h.do(t, "renew", "--force-renewal")
	second := h.leaf(t)
	s.comesToShow(t, second)
	if bytes.Equal(first, second) {
		t.Error("it was not renewed")
	}
	equal(t, deployed[s.config], tree(t, filepath.Dir(s.config))[s.config])
	h.do(t, "rollback")
	equal(t, deployed, tree(t, filepath.Dir(s.config)))
	s.comesToShow(t, first)
	h.do(t, "rollback")
	equal(t, before, tree(t, filepath.Dir(s.config)))
	s.comesToShow(t, nil)
}

// A file that is broken on the way is put back by the same run, before Icecast
// has seen it.
func brokenOnTheWay(t *testing.T, prefix string) {
	s := start(t)
	h := newHost(t, prefix, s, "off") // what breaks it is outside of the sandbox
	h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "icecast")
	h.do(t, "run")
	starts, shown := s.starts.Load(), h.leaf(t)
	h.breaks(t, shown, s.bundle, "-----BEGIN CERTIFICATE-----\n", "finalise: write the title", "start without TLS")
	// Somebody has written the path in another way, so that there is something to edit.
	put(t, s.config, strings.Replace(content(t, s.config), s.bundle, "/"+s.bundle, 1))
	h.breaks(t, shown, s.config, "<icecast><paths>", "finalise: write the title", "line 1")
	equal(t, starts, s.starts.Load())
}
