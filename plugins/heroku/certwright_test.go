package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

// host is certwright with a state of its own.
type host struct {
	prefix, dir string
	ca          *testca.CA
	cloud       *fake
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
}

func newHost(t *testing.T, prefix string, cloud *fake) *host {
	t.Helper()
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: cloud.site})
	must(t, err)
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{prefix: prefix, dir: t.TempDir(), ca: ca, cloud: cloud}
	must(t, os.MkdirAll(h.path("etc"), 0o755))
	must(t, os.WriteFile(h.path("ca.pem"), ca.TLSRoots(), 0o600))
	plugintest.Left(t, h.dir, "one", "two", "token", "plugins/certwright-plugin-*")
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// secret writes a token, and gives the reference to it.
func (h *host) secret(t *testing.T, name, token string) string {
	t.Helper()
	must(t, os.WriteFile(h.path(name), []byte(token+"\n"), 0o600))
	return "{file: " + h.path(name) + "}"
}

func (h *host) configure(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile(h.path("etc/certwright.yaml"), []byte(text), 0o600))
}

func (h *host) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	all := append([]string{args[0], "-n", "--config-dir", h.path("etc"), "--state-dir", h.path("state")}, args[1:]...)
	if h.faulty != nil {
		all = append(all, "--plugin-dir", h.faulty.Dir)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(h.prefix, "bin", "certwright"), all...).CombinedOutput()
	return plugintest.Printed(t, out), err
}

func (h *host) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.try(t, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

func (h *host) leaf(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(h.path("state/live/a.test/cert.pem"))
	must(t, err)
	return data
}

// Two apps of two accounts prove the names of one certificate, two of them of one
// app; both get it, it is renewed, and taken back to what there was.
func TestCertificateThroughHeroku(t *testing.T) {
	cloud := start(t)
	h := newHost(t, install(t), cloud)
	shop := cloud.app("shop", "a.test", "www.a.test")
	cloud.app("blog", "b.test")
	shop.preboot, shop.starting = true, 1
	one, _ := cloud.token("shop")
	two, _ := cloud.token("blog")
	h.configure(t, fmt.Sprintf(`
server: %s
ca_bundle: %s
agree_tos: true
instances:
  - name: one
    plugin: heroku
    sandbox: required
    settings: {endpoint: "%[3]s", app: shop, token: %[5]s}
  - name: two
    plugin: heroku
    sandbox: required
    settings: {endpoint: "%[3]s", apps: {b.test: blog}, token: %[6]s, endpoints: ["%[4]s"]}
certificates:
  - names: [a.test, www.a.test, b.test]
    authenticate:
      - {match: b.test, with: [two]}
      - {with: [one]}
    deploy: [one, two]
`, h.ca.DirectoryURL(), h.path("ca.pem"), cloud.url, cloud.edge, h.secret(t, "one", one), h.secret(t, "two", two)))

	out := h.do(t, "run")
	first := h.leaf(t)
	if !strings.Contains(out, "two serves version 1, proven at "+cloud.edge) {
		t.Errorf("it is not proven:\n%s", out)
	}
	if strings.Contains(out, one) || strings.Contains(out, two) {
		t.Errorf("a secret is shown:\n%s", out)
	}
	served := func(leaf []byte) {
		t.Helper()
		for _, name := range []string{"a.test", "www.a.test", "b.test"} {
			cloud.shows(t, name, leaf)
		}
		equal(t, untouched, cloud.vars("shop"))
		equal(t, untouched, cloud.vars("blog"))
		equal(t, true, shop.preboot)
	}
	served(first)
	h.do(t, "renew", "--force-renewal")
	served(h.leaf(t))
	for _, instance := range []string{"one", "two"} {
		h.do(t, "rollback", "--installer", instance)
	}
	served(first)
	for _, instance := range []string{"two", "one"} {
		h.do(t, "rollback", "--installer", instance)
	}
	equal(t, nil, cloud.endpoints("shop"))
	equal(t, nil, cloud.endpoints("blog"))
}
