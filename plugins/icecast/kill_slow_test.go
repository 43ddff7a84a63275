//go:build slow

package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// Plugin or host are killed at every step of what the plugin does for a renewal
// and for a rollback. The next run mends it: the configuration is whole, and
// Icecast shows what is in the bundle, the old certificate or the new one.
func TestKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		for what, act := range map[string]func(*testing.T, *host) (string, error){
			"renewal": func(t *testing.T, h *host) (string, error) { return h.try(t, "renew", "--force-renewal") },
			"rollback": func(t *testing.T, h *host) (string, error) {
				return h.try(t, "rollback")
			},
		} {
			t.Run(victim+"-"+what, func(t *testing.T) {
				t.Parallel()
				s := start(t)
				h := newHost(t, prefix, s, "off")
				h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "icecast")
				h.do(t, "run")
				least := map[string]int{"renewal": 10, "rollback": 6}[what]
				var before []byte
				h.faulty.EveryStep(t, victim, least, plugintest.Kill{
					Before: func() {
						if what == "rollback" {
							h.do(t, "renew", "--force-renewal")
						}
						before = leafOfFile(t, s.bundle)
					},
					Work: func() (string, error) { return act(t, h) },
					Next: func() (string, error) { return h.try(t, "renew") },
					Mended: func() {
						now := leafOfFile(t, s.bundle)
						if what == "renewal" && !bytes.Equal(now, before) && !bytes.Equal(now, h.leaf(t)) {
							t.Error("neither the old certificate nor the new one is in place")
						}
						s.comesToShow(t, now)
						must(t, plugin(t, s.settings(), t.TempDir()).ConfigTest(t.Context(), &recorder{}))
						if left, err := filepath.Glob(filepath.Join(filepath.Dir(s.config), ".*")); err != nil || len(left) > 0 {
							t.Errorf("left on disk: %q %v", left, err)
						}
					},
				})
			})
		}
	}
}

// What can be read and only a handshake shows is undone too: a bundle that
// Icecast's user cannot read, with which it starts without TLS.
func TestUnreadableBundle(t *testing.T) {
	h := newHost(t, install(t), start(t), "off")
	h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "icecast")
	h.do(t, "run")
	h.breaks(t, h.leaf(t), h.server.bundle, issue(t, "a.test", "www.a.test").bundle(), "restart", "Invalid cert file")
}
