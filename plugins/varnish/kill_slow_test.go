//go:build slow

package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// Plugin or host are killed at every step of Perform and Cleanup. The next run
// mends it: the VCL of before is in use, nothing of ours is left, the same again
// succeeds, and no client has noticed anything.
func TestKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			c := start(t, plain, nil)
			h := newHost(t, prefix, c)
			h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "varnish")
			// The fault is in files that a sandbox does not let it reach.
			h.set = append(h.set, "varnish.sandbox=off")
			h.do(t, "certonly", "-a", "varnish", "-d", "a.test") // the account
			clients := c.hammer(t)
			defer clients.end(t)
			const least, often = 12, 5
			n, name, killed := 0, "", false
			h.faulty.EveryStep(t, victim, least, plugintest.Kill{
				Before: func() { n++; name = fmt.Sprintf("n%d.test", n) },
				Work: func() (string, error) {
					out, err := h.try(t, "certonly", "-a", "varnish", "-d", name)
					killed = err != nil
					return out, err
				},
				Next: func() (string, error) { return h.try(t, "renew") },
				Mended: func() {
					c.asItWas(t, "boot")
					if killed && n%often == 0 {
						h.do(t, "certonly", "-a", "varnish", "-d", name)
					}
				},
			})
		})
	}
}
