package main

import (
	"context"
	"fmt"
	"net"
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

// host is certwright with a state of its own, for one Postfix.
type host struct {
	prefix, dir string
	ca          *testca.CA
	mail        *mailServer
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
}

func newHost(t *testing.T, prefix string, m *mailServer) *host {
	t.Helper()
	_, port, err := net.SplitHostPort(reserve(t))
	must(t, err)
	number, err := net.LookupPort("tcp", port)
	must(t, err)
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: number})
	must(t, err)
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{prefix: prefix, dir: t.TempDir(), ca: ca, mail: m}
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc"), 0o755))
	write(t, filepath.Join(h.dir, "ca.pem"), string(ca.TLSRoots()))
	write(t, filepath.Join(h.dir, "etc", "certwright.yaml"), fmt.Sprintf(`email: ops@a.test
server: %s
instances:
  - {name: standalone, settings: {http_port: %d, address: 127.0.0.1}}
  - name: postfix
    sandbox: required
    settings: {config_dir: %s, queue_directory: %s}
`, ca.DirectoryURL(), number, m.path("etc"), m.path("queue")))
	return h
}

func (h *host) state() string { return filepath.Join(h.dir, "state") }

// try runs certwright and gives all that it printed.
func (h *host) try(t *testing.T, verb string, args ...string) (string, error) {
	t.Helper()
	all := []string{verb, "-n", "--config-dir", filepath.Join(h.dir, "etc"), "--state-dir", h.state()}
	if h.faulty != nil {
		all = append(all, "--plugin-dir", h.faulty.Dir)
	}
	if verb == "run" {
		all = append(all, "--agree-tos")
	}
	if verb == "run" || verb == "renew" {
		all = append(all, "--ca-bundle", filepath.Join(h.dir, "ca.pem"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(h.prefix, "bin", "certwright"), append(all, args...)...).CombinedOutput()
	return string(out), err
}

func (h *host) do(t *testing.T, verb string, args ...string) string {
	t.Helper()
	out, err := h.try(t, verb, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s\n%s", verb, args, err, out, h.mail.log())
	}
	return out
}

// leaf is what a link of the state directory leads to.
func (h *host) leaf(t *testing.T, link string) []byte {
	t.Helper()
	return []byte(read(t, filepath.Join(h.state(), link, "cert.pem")))
}

func (h *host) run(t *testing.T) string {
	t.Helper()
	return h.do(t, "run", "-a", "standalone", "-i", "postfix", "-d", "mail.a.test,a.test")
}

// Everything as a user has it: obtained, deployed, proven by STARTTLS, renewed
// without a change of main.cf, and taken back.
func TestCertificatesInPostfix(t *testing.T) {
	t.Parallel()
	m := running(t)
	h := newHost(t, install(t), m)
	old, before := []byte(read(t, m.path("old.pem"))), m.tree(t)
	out := h.run(t)
	for _, address := range []string{m.smtp, m.smtps} {
		if !strings.Contains(out, "postfix serves version 1, proven at ") || !strings.Contains(out, address) {
			t.Errorf("not proven at %s:\n%s", address, out)
		}
	}
	m.shows(t, h.leaf(t, "live/mail.a.test"))

	// Postfix's master process would end if it had to reload with this, which the
	// check in the sandbox is to find.
	write(t, m.main(), read(t, m.main())+"inet_protocols = nonsense\n")
	if out, err := h.try(t, "renew", "--force-renewal"); err == nil || !strings.Contains(out, "unknown inet_protocols value") {
		t.Errorf("%v\n%s", err, out)
	}
	write(t, m.main(), strings.TrimSuffix(read(t, m.main()), "inet_protocols = nonsense\n"))
	m.shows(t, h.leaf(t, "deployed/postfix/mail.a.test"))
	deployed := m.tree(t)

	h.do(t, "renew", "--force-renewal")
	m.shows(t, h.leaf(t, "live/mail.a.test"))
	equal(t, deployed, m.tree(t))

	// The renewal has changed nothing that could be taken back.
	h.do(t, "rollback")
	m.shows(t, old)
	equal(t, before, m.tree(t))
}
