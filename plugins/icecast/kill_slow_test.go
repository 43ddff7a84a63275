//go:build slow

package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
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
				h.faulty(t)
				h.do(t, "run")
				least := map[string]int{"renewal": 10, "rollback": 6}[what]
				const most = 100
				for n := 1; n <= most; n++ {
					if what == "rollback" {
						h.do(t, "renew", "--force-renewal")
					}
					before := leafOfFile(t, s.bundle)
					h.fault(t, "%s %d", victim, n)
					out, err := act(t, h)
					at := h.hit(t)
					if at == "" {
						if err != nil || n <= least {
							t.Errorf("after %d steps: %v\n%s", n-1, err, out)
						}
						return
					}
					if again, err := h.try(t, "renew"); err != nil {
						t.Errorf("the next run: %v\n%s\n%s", err, again, out)
					}
					now := leafOfFile(t, s.bundle)
					if what == "renewal" && !bytes.Equal(now, before) && !bytes.Equal(now, h.leaf(t)) {
						t.Error("neither the old certificate nor the new one is in place")
					}
					s.comesToShow(t, now)
					must(t, plugin(t, s.settings(), t.TempDir()).ConfigTest(t.Context(), &recorder{}))
					if left, err := filepath.Glob(filepath.Join(filepath.Dir(s.config), ".*")); err != nil || len(left) > 0 {
						t.Errorf("left on disk: %q %v", left, err)
					}
					if t.Failed() {
						t.Fatalf("killed at step %s\n%s", at, strings.TrimSpace(out))
					}
				}
				t.Errorf("more than %d steps", most)
			})
		}
	}
}

// What can be read and only a handshake shows is undone too: a bundle that
// Icecast's user cannot read, with which it starts without TLS.
func TestUnreadableBundle(t *testing.T) {
	h := newHost(t, install(t), start(t), "off")
	h.faulty(t)
	h.do(t, "run")
	h.breaks(t, h.leaf(t), h.server.bundle, issue(t, "a.test", "www.a.test").bundle(), "restart", "Invalid cert file")
}
