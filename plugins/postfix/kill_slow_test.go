//go:build slow

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Plugin or host are killed at every step of a first deployment, and of a
// rollback. The next run mends it: main.cf is as it was or as it was to be, byte
// for byte, and Postfix shows the certificate that fits.
func TestKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		for _, what := range []string{"deployment", "rollback"} {
			t.Run(victim+", "+what, func(t *testing.T) {
				t.Parallel()
				m := running(t)
				h := newHost(t, prefix, m)
				h.faulty(t)
				before := m.tree(t)
				h.run(t)
				after, leaf := m.tree(t), h.leaf(t, "live/mail.a.test")
				h.do(t, "rollback")
				for n := 1; ; n++ {
					if !killedAt(t, h, victim, what, n, before, after, leaf) {
						if least := 8; n <= least {
							t.Errorf("only %d steps", n-1)
						}
						return
					}
					if t.Failed() {
						t.Fatalf("killed at step %d", n)
					}
				}
			})
		}
	}
}

// killedAt gives false if there are not so many steps.
func killedAt(t *testing.T, h *host, victim, what string, n int, before, after map[string]string, leaf []byte) bool {
	t.Helper()
	m := h.mail
	deploy := []string{"--cert-name", "mail.a.test", "-i", "postfix"}
	var out string
	if what == "deployment" {
		h.fault(t, fmt.Sprint(victim, " ", n))
		out, _ = h.try(t, "install", deploy...)
	} else {
		h.do(t, "install", deploy...)
		h.fault(t, fmt.Sprint(victim, " ", n))
		out, _ = h.try(t, "rollback")
	}
	hit := h.hit()
	mended, err := h.try(t, "renew")
	if err != nil {
		t.Errorf("renew: %v\n%s\nbefore that:\n%s", err, mended, out)
	}
	now := m.tree(t)
	switch {
	case now["main.cf"] == before["main.cf"]:
		equal(t, before, now)
		m.shows(t, []byte(read(t, m.path("old.pem"))))
	case sameText(after["main.cf"], now["main.cf"]):
		m.shows(t, leaf)
		h.do(t, "rollback")
		equal(t, before, m.tree(t))
	default:
		t.Errorf("it is neither as before nor as after:\n%s\n%s\n%s", cmp.Diff(after, now), out, mended)
	}
	state := filepath.Join(h.state(), "plugins", "postfix")
	if left, err := os.ReadDir(filepath.Join(state, "checkpoints", "open")); err == nil && len(left) > 0 {
		t.Errorf("%d checkpoints are unfinished", len(left))
	}
	return hit
}

// sameText leaves out mode and time, which are in the first line.
func sameText(a, b string) bool {
	_, x, _ := bytes.Cut([]byte(a), []byte("\n"))
	_, y, _ := bytes.Cut([]byte(b), []byte("\n"))
	return bytes.Equal(x, y)
}
