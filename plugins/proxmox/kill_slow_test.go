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
			must(t, p.Rollback(during(t.Context(), "a.test", run), 0, &recorder{}))
			c, err := p.Save(during(t.Context(), "a.test", "2 save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, &recorder{})
			must(t, err)
			if c.ID != "" && what != "rollback" && !done {
				// The host takes back what was not proven.
				must(t, p.Rollback(during(t.Context(), "a.test", run+" again"), 1, &recorder{}))
			}
			got := f.custom("pve1")
			if got != before && got != after || done && (got == before) != (what == "rollback") {
				t.Fatalf("%s, step %d, done: %v: the node has\n%s", what, n, done, got[0])
			}
			if got != before && !done && what != "rollback" {
				t.Fatalf("%s, step %d: not taken back", what, n)
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
