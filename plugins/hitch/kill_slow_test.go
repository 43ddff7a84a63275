//go:build slow

package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// Plugin or host are killed at every step of what the plugin does for a renewal
// and for a rollback. The next run mends it: hitch accepts its configuration and
// shows what is in the file, the old certificate or the new one with its key.
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
				p := start(t)
				h := newHost(t, prefix, p, "off")
				h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "hitch")
				h.do(t, "run")
				least := map[string]int{"renewal": 10, "rollback": 6}[what]
				var before []byte
				h.faulty.EveryStep(t, victim, least, plugintest.Kill{
					Before: func() {
						if what == "rollback" {
							h.do(t, "renew", "--force-renewal")
						}
						before = leafOfFile(t, p.file("a.test"))
					},
					Work: func() (string, error) { return act(t, h) },
					Next: func() (string, error) { return h.try(t, "renew") },
					Mended: func() {
						now := leafOfFile(t, p.file("a.test"))
						if what == "renewal" && !bytes.Equal(now, before) && !bytes.Equal(now, h.leaf(t)) {
							t.Error("neither the old certificate nor the new one is in place")
						}
						p.comesToShow(t, "a.test", now)
						must(t, plugin(t, p.settings(), t.TempDir()).ConfigTest(t.Context(), &recorder{}))
						if left, err := filepath.Glob(filepath.Join(p.certs, ".*")); err != nil || len(left) > 0 {
							t.Errorf("left on disk: %q %v", left, err)
						}
					},
				})
			})
		}
	}
}

// What hitch's own test accepts and only a handshake shows is undone too.
func TestAnotherCertificate(t *testing.T) {
	h := newHost(t, install(t), start(t), "off")
	h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "hitch")
	h.do(t, "run")
	h.breaks(t, h.leaf(t), issue(t, "a.test", "www.a.test").bundle(), "renew the time of")
}
