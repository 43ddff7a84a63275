//go:build slow

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// fails makes the host use the test binary as the plugin, which must get at
// files beside it.
func (h *host) fails(t *testing.T) {
	t.Helper()
	config := filepath.Join(h.dir, "etc", "certwright.yaml")
	write(t, config, strings.ReplaceAll(read(t, config), "sandbox: required", "sandbox: off"))
	h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "postfix")
}

// What smtpd tells its log only, while SMTP goes on without TLS, is noticed by
// the same run and undone; and what "postfix check" finds, too.
func TestBrokenByUs(t *testing.T) {
	t.Parallel()
	m := running(t)
	h := newHost(t, install(t), m)
	h.run(t)
	h.fails(t)
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
		h.faulty.Set(t, "%s", text)
		out, err := h.try(t, "renew", "--force-renewal")
		if hit := h.faulty.Hit(t); hit == "" || err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", text, err, out)
		}
		equal(t, spoiled, m.tree(t))
		m.shows(t, leaf)
	}
}
