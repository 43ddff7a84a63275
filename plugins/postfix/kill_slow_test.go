//go:build slow

package main

import (
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// Plugin or host are killed at every step of what the plugin does for a renewal
// that changes main.cf, and for a rollback of it. The next run mends it: main.cf
// is what it was or what it was to be, byte for byte, and Postfix shows the
// certificate that is in place.
func TestKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		for _, verb := range []string{"renew", "rollback"} {
			t.Run(victim+"-"+verb, func(t *testing.T) {
				t.Parallel()
				h := newHost(t, prefix, running(t))
				h.fails(t)
				write(t, filepath.Join(h.faulty.Dir, "confined"), "") // quicker, and how it runs mostly
				h.do(t, "run", "-a", "standalone", "-i", "postfix", "-d", "mail.a.test")
				h.killedAtEveryStep(t, victim, verb)
			})
		}
	}
}

func (h *host) killedAtEveryStep(t *testing.T, victim, verb string) {
	t.Helper()
	deployed := read(t, h.mail.main())
	least := map[string]int{"renew": 12, "rollback": 6}[verb]
	var edited string
	work := []string{"--force-renewal"}
	if verb == "rollback" {
		work = nil
	}
	h.faulty.EveryStep(t, victim, least, plugintest.Kill{
		Before: func() {
			// Somebody has edited it, so that there is something to write.
			h.mail.set(t, "smtpd_tls_auth_only = no")
			edited = read(t, h.mail.main())
			if verb == "rollback" {
				h.do(t, "renew", "--force-renewal")
			}
		},
		Work: func() (string, error) { return h.try(t, verb, work...) },
		Next: func() (string, error) { return h.try(t, "renew") },
		Mended: func() {
			if now := read(t, h.mail.main()); now != edited && now != deployed {
				t.Errorf("main.cf is neither the old nor the new one:\n%s", now)
			}
			h.mail.shows(t, h.leaf(t, "deployed/postfix/mail.a.test"))
			for _, pattern := range []string{h.mail.path("etc/.*"), filepath.Join(h.state(), "plugins/postfix/edit")} {
				if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
					t.Errorf("left on disk: %q %v", left, err)
				}
			}
		},
	})
	want := map[string]string{"renew": deployed, "rollback": edited}[verb]
	equal(t, want, read(t, h.mail.main()))
	h.mail.shows(t, h.leaf(t, "deployed/postfix/mail.a.test"))
}
