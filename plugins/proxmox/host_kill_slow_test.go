//go:build slow

package main

import (
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// Plugin or host are killed at every step of what the plugin does for a renewal
// and for a rollback. The next run mends it: the node serves the old certificate or
// the new one, each with its key, and a rollback still gives what was there
// before; the last one the certificate that the node had made itself.
func TestHostKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		for what, least := range map[string]int{"renewal": 7, "rollback": 6} {
			t.Run(victim+"-"+what, func(t *testing.T) {
				t.Parallel()
				f := newFake(t, "pve1")
				builtin := shown(t, f.address("pve1"))
				secret := filepath.Join(t.TempDir(), "secret")
				write(t, secret, goodSecret+"\n")
				h := newHost(t, prefix, fmt.Sprintf(`  - name: proxmox
    sandbox: "off"
    settings: {endpoint: "%s", token_id: %s, token_secret: {file: %s}, ca_file: %s, nodes: [pve1]}
`, f.server.URL, goodToken, secret, f.caFile))
				h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "proxmox")
				h.do(t, "run", "-a", "standalone", "-i", "proxmox", "-d", "pve.a.test,www.a.test")
				ours := [][2]string{f.custom("pve1")}
				work := []string{"renew", "--force-renewal"}
				if what == "rollback" {
					work = []string{"rollback"}
				}
				var before [2]string
				h.faulty.EveryStep(t, victim, least, plugintest.Kill{
					Before: func() {
						if what == "rollback" {
							h.do(t, "renew", "--force-renewal")
							ours = append(ours, f.custom("pve1"))
						}
						before = f.custom("pve1")
					},
					Work: func() (string, error) { return h.try(t, work[0], work[1:]...) },
					Next: func() (string, error) { return h.try(t, "renew") },
					Mended: func() {
						now := f.custom("pve1")
						switch newest := [2]string{h.live(t, "pve.a.test", "fullchain.pem"), h.live(t, "pve.a.test", "privkey.pem")}; {
						case what == "renewal" && now != before && now != newest:
							t.Error("the node has neither the old certificate nor the new one")
						case what == "rollback" && !slices.Contains(ours, now):
							t.Error("the node has a certificate that it never had")
						}
						ours = append(ours, now)
						block, _ := pem.Decode([]byte(now[0]))
						equal(t, string(pem.EncodeToMemory(block)), shown(t, f.address("pve1")))
					},
				})
				if what == "renewal" { // more were deployed than checkpoints are kept
					h.do(t, "rollback")
					equal(t, ours[len(ours)-1], f.custom("pve1"))
					return
				}
				for range ours {
					if f.custom("pve1") == [2]string{} {
						break
					}
					h.do(t, "rollback")
				}
				equal(t, [2]string{}, f.custom("pve1"))
				equal(t, builtin, shown(t, f.address("pve1")))
			})
		}
	}
}
