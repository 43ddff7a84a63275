//go:build slow

package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The host is killed at every step of what the plugin does for a renewal and for
// a roll back. The next run mends it: Plesk serves the certificate of before or
// the renewed one, or what a roll back is to bring back, on all sites, and has no
// other one of ours.
func TestHostKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for verb, least := range map[string]int{"renew": 6, "rollback": 6} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, prefix, 80)
			f := newFake(t, p.ca.DNS())
			f.add(t, "a.test", "a.test")
			f.add(t, "b.test", "b.test")
			// The fault is in files that a sandbox does not let it reach.
			p.settings = p.instance(t, f, "a", "sandbox=off", "secret_key=@"+p.file(t, goodSecret))
			p.faulty = plugintest.NewFaulty(t, filepath.Join(p.dir, "plugins"), "plesk")
			p.do(t, "run", "-a", "a", "-i", "a", "-d", "a.test", "-d", "b.test")
			var older, before []byte
			work := []string{"--force-renewal"}
			if verb == "rollback" {
				work = nil
			}
			p.faulty.EveryStep(t, "host", least, plugintest.Kill{
				Before: func() {
					older = f.serves(t, "a.test")
					if verb == "rollback" {
						p.do(t, "renew", "--force-renewal")
					}
					before = f.serves(t, "a.test")
				},
				Work: func() (string, error) { return p.run(t, verb, work...) },
				Next: func() (string, error) { return p.run(t, "renew") },
				Mended: func() {
					now, want := f.serves(t, "a.test"), older
					if verb == "renew" && !bytes.Equal(now, before) {
						want = p.leaf(t, "live/a.test")
					}
					if !bytes.Equal(now, want) {
						t.Error("served is another certificate")
					}
					if !bytes.Equal(f.serves(t, "b.test"), now) {
						t.Error("the sites are served with different certificates")
					}
					if got := strings.Count(f.everything(), " Certwright a.test "); got != 2 {
						t.Errorf("%d certificates of ours are in Plesk's repositories, want one for each site\n%s", got, f.everything())
					}
				},
			})
		})
	}
}
