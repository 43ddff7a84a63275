//go:build slow

package main

import (
	"fmt"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Killed anywhere between the first file and the last directory: one Cleanup
// in a new process brings everything back.
func TestFilesKilledAtEveryStep(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	filemng := standIn(t, "u-a.test")
	before := tree(t, vhosts(t))
	for n := 1; ; n++ {
		v := victim{
			Server: f.URL, CAFile: f.roots(t), Filemng: filemng, State: t.TempDir(), KillAt: n,
			Challenges: []sdk.Challenge{challenge("a.test", "one"), challenge("www.a.test", "two")},
		}
		done := v.run(t)
		must(t, cleanup(t, configured(t, v.settings(), v.State), v.Challenges...))
		if after := tree(t, vhosts(t)); after != before {
			t.Fatalf("step %d: before\n%s\nafter\n%s", n, before, after)
		}
		if done {
			if n < 10 {
				t.Fatalf("only %d steps", n-1)
			}
			return
		}
	}
}

// Killed anywhere in a deployment or a rollback: what the host does next leaves
// Plesk as it was before.
func TestInstallationsKilledAtEveryStep(t *testing.T) {
	for name, protos := range protocols {
		for _, rollback := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, rollback=%v", name, rollback), func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					f := newFake(t, nil)
					f.protos = protos
					f.add(t, "a.test", "a.test")
					f.add(t, "b.test", "b.test")
					first, second := certificateFor(t, "a.test", "b.test"), certificateFor(t, "a.test", "b.test")
					v := victim{Server: f.URL, CAFile: f.roots(t), State: t.TempDir(), Deployment: second, Rollback: rollback, KillAt: n}
					p := configured(t, v.settings(), v.State)
					must(t, deploy(t.Context(), p, first, "1"))
					before := f.everything()
					if rollback {
						must(t, deploy(t.Context(), p, second, "2"))
					}
					done := v.run(t)
					// A deployment is taken back, a roll back is brought to its end: both
					// by the operation of before, which may be done already.
					next := configured(t, v.settings(), v.State)
					if !rollback { // the host asks what has become of Save
						left := f.everything()
						rolledBack(t, next, "a.test", 0, "rollback-0")
						if now := f.everything(); now != left {
							t.Fatalf("step %d: asking changes\n%s\ninto\n%s", n, left, now)
						}
					}
					saved, err := next.Save(during(t.Context(), "a.test", "2save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, &recorder{})
					must(t, err)
					count := 1
					if !rollback && saved.ID == "" {
						count = 0
					}
					rolledBack(t, next, "a.test", count, "rollback")
					if got := f.everything(); got != before {
						t.Fatalf("step %d: before\n%s\nafter\n%s", n, before, got)
					}
					if done {
						if n < 8 {
							t.Fatalf("only %d steps", n-1)
						}
						return
					}
				}
			})
		}
	}
}
