//go:build slow

package main

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// Plugin or host are killed at every step of what the plugin does for a renewal
// and for a rollback. The next run mends it: Pritunl serves the old certificate or
// the new one, each with its key, and a rollback still gives what was there
// before; the last one the certificate that somebody else had put there.
func TestHostKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		for what, least := range map[string]int{"renewal": 7, "rollback": 6} {
			t.Run(victim+"-"+what, func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				old := issued(t, "old.test")
				f.give(t, old.FullchainPEM, old.KeyPEM)
				write(t, f.caFile, string(old.ChainPEM))
				h := newHost(t, prefix, fmt.Sprintf(`  - name: pritunl
    sandbox: "off"
    settings: {endpoint: "%s", api_token: %s, api_secret: {file: %s}, ca_file: %s}
`, f.server.URL, goodToken, filepath.Join(filepath.Dir(f.caFile), "secret"), f.caFile))
				write(t, filepath.Join(filepath.Dir(f.caFile), "secret"), goodSecret+"\n")
				h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "pritunl")
				h.do(t, "run", "-a", "standalone", "-i", "pritunl", "-d", "vpn.a.test,www.a.test")
				ours := []string{f.has("server_key")}
				work := []string{"renew", "--force-renewal"}
				if what == "rollback" {
					work = []string{"rollback"}
				}
				var before string
				h.faulty.EveryStep(t, victim, least, plugintest.Kill{
					Before: func() {
						if what == "rollback" {
							h.do(t, "renew", "--force-renewal")
							ours = append(ours, f.has("server_key"))
						}
						before = f.has("server_key")
					},
					Work: func() (string, error) { return h.try(t, work[0], work[1:]...) },
					Next: func() (string, error) { return h.try(t, "renew") },
					Mended: func() {
						now := f.has("server_key")
						switch newest := strings.TrimSpace(h.live(t, "vpn.a.test", "privkey.pem")); {
						case what == "renewal" && now != before && now != newest:
							t.Error("Pritunl has neither the old key nor the new one")
						case what == "rollback" && !slices.Contains(ours, now):
							t.Error("Pritunl has a key that it never had")
						}
						ours = append(ours, now)
						pair, err := tls.X509KeyPair([]byte(f.has("server_cert")), []byte(now))
						must(t, err)
						equal(t, printOfPair(pair), printOfShown(t, f.address()))
					},
				})
				if what == "renewal" { // more were deployed than checkpoints are kept
					h.do(t, "rollback")
					equal(t, ours[len(ours)-1], f.has("server_key"))
					return
				}
				for range ours {
					if f.has("server_key") == trimmed(old.KeyPEM) {
						break
					}
					h.do(t, "rollback")
				}
				equal(t, trimmed(old.FullchainPEM), f.has("server_cert"))
				equal(t, trimmed(old.KeyPEM), f.has("server_key"))
				equal(t, string(old.LeafPEM), shown(t, f.address()))
			})
		}
	}
}

func printOfPair(pair tls.Certificate) string { return sum(pair.Certificate[0]) }

func printOfShown(t *testing.T, address string) string {
	t.Helper()
	text := shown(t, address)
	return printOf(&text)
}
