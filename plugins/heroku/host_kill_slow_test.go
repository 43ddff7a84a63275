//go:build slow

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// Plugin or host are killed at every step of what the plugin does for a renewal,
// its challenges included, and for a rollback. The next run mends it: preboot is on
// and the variables hold what they did, the app has our endpoint once and serves the
// old certificate or the new one, and a rollback still gives what was there before;
// the last one the endpoint that somebody else had made.
func TestHostKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		for what, least := range map[string]int{"renewal": 14, "rollback": 5} {
			t.Run(victim+"-"+what, func(t *testing.T) {
				t.Parallel()
				cloud := start(t)
				a := cloud.app("shop", "a.test", "www.a.test")
				token, _ := cloud.token("shop")
				theirs := certificate(t, "a.test")
				own := cloud.theirs(t, a, theirs, "a.test")
				a.preboot, a.lagging, a.starting = true, 0, 0
				a.vars["LETS_ENCRYPT_CHALLENGE"] = "of before"
				vars := cloud.vars("shop")
				h := newHost(t, prefix, cloud)
				h.configure(t, fmt.Sprintf(`
server: %s
ca_bundle: %s
agree_tos: true
instances:
  - {name: heroku, sandbox: "off", settings: {endpoint: "%s", app: shop, token: %s, endpoints: ["%s"]}}
certificates:
  - {names: [a.test, www.a.test], authenticate: [{with: [heroku]}], deploy: [heroku]}
`, h.ca.DirectoryURL(), h.path("ca.pem"), cloud.url, h.secret(t, "token", token), cloud.edge))
				h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "heroku")
				h.do(t, "run")
				ours := []string{cloud.serves("www.a.test")}
				work := []string{"renew", "--force-renewal"}
				if what == "rollback" {
					work = []string{"rollback"}
				}
				var before string
				h.faulty.EveryStep(t, victim, least, plugintest.Kill{
					Before: func() {
						if what == "rollback" {
							h.do(t, "renew", "--force-renewal")
							ours = append(ours, cloud.serves("www.a.test"))
						}
						before = cloud.serves("www.a.test")
					},
					Work: func() (string, error) { return h.try(t, work...) },
					Next: func() (string, error) { return h.try(t, "renew") },
					Mended: func() {
						now := cloud.serves("www.a.test")
						switch newest := leafPrint(string(h.leaf(t))); {
						case what == "renewal" && now != before && now != newest:
							t.Error("the app has neither the old certificate nor the new one")
						case what == "rollback" && !slices.Contains(ours, now):
							t.Error("the app has a certificate that it never had")
						}
						ours = append(ours, now)
						equal(t, now, cloud.serves("a.test"))
						equal(t, 2, len(cloud.endpoints("shop")))
						equal(t, vars, cloud.vars("shop"))
						equal(t, true, a.preboot)
					},
				})
				if what == "renewal" { // more were deployed than checkpoints are kept
					h.do(t, "rollback")
					equal(t, ours[len(ours)-1], cloud.serves("www.a.test"))
					return
				}
				for range ours {
					if len(cloud.endpoints("shop")) == 1 {
						break
					}
					h.do(t, "rollback")
				}
				cloud.shows(t, "a.test", theirs.LeafPEM)
				equal(t, []string{own.name}, cloud.endpoints("shop"))
				equal(t, "", cloud.serves("www.a.test"))
			})
		}
	}
}

// serves tells the certificate that a domain is served by; empty: none.
func (f *fake) serves(hostname string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.apps {
		for _, d := range a.domains {
			if d.hostname == hostname && d.sni != nil {
				return leafPrint(d.sni.chain)
			}
		}
	}
	return ""
}
