//go:build slow

package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
	write(t, filepath.Join(h.plugins, "fault"), text)
}

// hit says where the fault happened; empty: it did not, and will not.
func (h *host) hit(t *testing.T) string {
	t.Helper()
	_ = os.Remove(filepath.Join(h.plugins, "fault"))
	path := filepath.Join(h.plugins, "fault.hit")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(t, errors.Join(err, os.Remove(path)))
	return string(data)
}

// What smtpd tells its log only, while SMTP goes on without TLS, is noticed by
// the same run and undone; and what "postfix check" finds, too.
func TestBrokenByUs(t *testing.T) {
	t.Parallel()
	m := running(t)
	h := newHost(t, install(t), m)
	h.run(t)
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
		if hit := h.hit(t); hit == "" || err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", text, err, out)
		}
		equal(t, spoiled, m.tree(t))
		m.shows(t, leaf)
	}
}
