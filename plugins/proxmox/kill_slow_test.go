//go:build slow

package main

import (
	"fmt"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Killed at every step of a deployment or a rollback: what the host does next,
// in a new process, brings the node to what is wanted then, the old certificate
// or the new one, each with its key.
func TestKilledAtEveryStep(t *testing.T) {
	f := newFake(t, "pve1")
	first, second := issued(t, "a.test"), issued(t, "a.test")
	for _, what := range []string{"first", "renewal", "rollback"} {
		for n := 1; ; n++ {
			state := t.TempDir()
			f.nodes["pve1"].certs, f.nodes["pve1"].key = "", ""
			f.nodes["pve1"].restart()
			before, after := [2]string{}, [2]string{string(first.FullchainPEM), string(first.KeyPEM)}
			v := victim{Settings: f.settings("pve1"), State: state, Deployment: first, KillAt: n}
			if what != "first" {
				must(t, deploy(t.Context(), plugin(t, f.settings("pve1"), state), first, "1", &recorder{}))
				before, after = after, [2]string{string(second.FullchainPEM), string(second.KeyPEM)}
				v.Deployment = second
			}
			if what == "rollback" {
				must(t, deploy(t.Context(), plugin(t, f.settings("pve1"), state), second, "2", &recorder{}))
				v.Rollback = true
			}
			done := v.run(t)

			p := plugin(t, f.settings("pve1"), state)
			run := fmt.Sprint(what, n)
			left := f.custom("pve1")
			must(t, p.Rollback(during(t.Context(), "a.test", run), 0, &recorder{}))
			// Nothing is brought live before the host knows whether it is to be.
			equal(t, left, f.custom("pve1"))
			c, err := p.Save(during(t.Context(), "a.test", "2 save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, &recorder{})
			must(t, err)
			switch {
			case done:
			case what == "rollback":
				// The host knows that checkpoint: it does the same once more.
				must(t, back(t.Context(), p, "a.test", "2", &recorder{}))
			case c.ID != "":
				// The host takes back what was not proven.
				must(t, p.Rollback(during(t.Context(), "a.test", run+" again"), 1, &recorder{}))
			}
			got := f.custom("pve1")
			if isAfter := done && what != "rollback"; got != before && !isAfter || got != after && isAfter {
				t.Fatalf("%s, step %d, done: %v: the node has\n%s", what, n, done, got[0])
			}
			want := string(first.LeafPEM)
			switch got {
			case [2]string{string(second.FullchainPEM), string(second.KeyPEM)}:
				want = string(second.LeafPEM)
			case [2]string{}:
				want = encode(f.nodes["pve1"].builtin.Certificate)
			}
			equal(t, want, shown(t, f.address("pve1")))
			if done {
				if n < 8 {
					t.Errorf("%s: only %d steps", what, n-1)
				}
				break
			}
		}
	}
}
