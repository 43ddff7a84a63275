//go:build slow

package main

import (
	"fmt"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Killed at every step of a deployment or a rollback: what the host does next,
// in a new process, brings Pritunl to what is wanted then, the old certificate or
// the new one, each with its key.
func TestKilledAtEveryStep(t *testing.T) {
	old, first, second := issued(t, "old.test"), issued(t, "a.test"), issued(t, "a.test")
	keys := map[string]sdk.Deployment{trimmed(old.KeyPEM): old, trimmed(first.KeyPEM): first, trimmed(second.KeyPEM): second}
	for _, what := range []string{"first", "renewal", "rollback"} {
		for n := 1; ; n++ {
			f, state := newFake(t), t.TempDir()
			f.give(t, old.FullchainPEM, old.KeyPEM)
			write(t, f.caFile, string(old.ChainPEM))
			before, after := old, first
			v := victim{Settings: f.instance(), State: state, Deployment: first, KillAt: n}
			if what != "first" {
				must(t, deploy(t.Context(), plugin(t, f.instance(), state), first, "1", &recorder{}))
				before, after = first, second
				v.Deployment = second
			}
			if what == "rollback" {
				must(t, deploy(t.Context(), plugin(t, f.instance(), state), second, "2", &recorder{}))
				v.Rollback = true
			}
			done := v.run(t)

			p := plugin(t, f.instance(), state)
			run := fmt.Sprint(what, n)
			left := f.has("server_cert")
			must(t, p.Rollback(during(t.Context(), "a.test", run), 0, &recorder{}))
			// Nothing is brought live before the host knows whether it is to be.
			equal(t, left, f.has("server_cert"))
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
			got, known := keys[f.has("server_key")]
			want := before
			if done && what != "rollback" {
				want = after
			}
			if !known || string(got.KeyPEM) != string(want.KeyPEM) {
				t.Fatalf("%s, step %d, done: %v: Pritunl has\n%s", what, n, done, f.has("server_cert"))
			}
			equal(t, trimmed(got.FullchainPEM), f.has("server_cert"))
			equal(t, string(got.LeafPEM), shown(t, f.address()))
			if done {
				if n < 8 {
					t.Errorf("%s: only %d steps", what, n-1)
				}
				break
			}
		}
	}
}
