package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/host/testca"
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
	// plugins is a directory with the plugin that can be made to fail.
	plugins string
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
    settings: {config_dir: %s, queue_directory: %s, data_directory: %s}
`, ca.DirectoryURL(), number, m.path("etc"), m.path("queue"), m.path("data")))
	return h
}

// faulty makes the host use the test binary as the plugin, which must get at
// files beside it.
func (h *host) faulty(t *testing.T) {
	t.Helper()
	config := filepath.Join(h.dir, "etc", "certwright.yaml")
	write(t, config, strings.ReplaceAll(read(t, config), "sandbox: required", "sandbox: off"))
	h.plugins = filepath.Join(h.dir, "plugins")
	must(t, os.Mkdir(h.plugins, 0o755))
	self, err := os.Executable()
	must(t, err)
	from, err := os.Open(self)
	must(t, err)
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(filepath.Join(h.plugins, pluginName), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(to, from)
	must(t, errors.Join(err, to.Close()))
}

func (h *host) fault(t *testing.T, text string) {
	t.Helper()
	_ = os.Remove(filepath.Join(h.plugins, "fault.hit"))
	write(t, filepath.Join(h.plugins, "fault"), text)
}

// hit says whether the fault happened; it will not any more.
func (h *host) hit() bool {
	_ = os.Remove(filepath.Join(h.plugins, "fault"))
	_, err := os.Stat(filepath.Join(h.plugins, "fault.hit"))
	return err == nil
}

func (h *host) state() string { return filepath.Join(h.dir, "state") }

// try runs certwright and gives all that it printed.
func (h *host) try(t *testing.T, verb string, args ...string) (string, error) {
	t.Helper()
	all := []string{verb, "-n", "--config-dir", filepath.Join(h.dir, "etc"), "--state-dir", h.state()}
	if h.plugins != "" {
		all = append(all, "--plugin-dir", h.plugins)
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
	deployed := m.tree(t)

	h.do(t, "renew", "--force-renewal")
	m.shows(t, h.leaf(t, "live/mail.a.test"))
	equal(t, deployed, m.tree(t))

	// The renewal has changed nothing that could be taken back.
	h.do(t, "rollback")
	m.shows(t, old)
	equal(t, before, m.tree(t))

	t.Run("broken by us", func(t *testing.T) { brokenByUs(t, h) })
}

// What smtpd tells its log only, while SMTP goes on without TLS, is noticed by
// the same run and undone; and what "postfix check" finds, too.
func brokenByUs(t *testing.T, h *host) {
	m := h.mail
	h.faulty(t)
	h.do(t, "install", "--cert-name", "mail.a.test", "-i", "postfix")
	leaf := h.leaf(t, "deployed/postfix/mail.a.test")
	m.shows(t, leaf)
	// Somebody has edited main.cf, so that a renewal has something to write.
	m.set(t, "smtpd_tls_auth_only = no")
	spoiled := m.tree(t)
	for text, want := range map[string]string{
		"set smtpd_tls_chain_files = " + m.path("old.pem"): "prove that", // its key is not in it
		"append = nonsense": "test the configuration",
	} {
		h.fault(t, text)
		out, err := h.try(t, "renew", "--force-renewal")
		if hit := h.hit(); !hit || err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", text, err, out)
		}
		equal(t, spoiled, m.tree(t))
		m.shows(t, leaf)
	}
}
