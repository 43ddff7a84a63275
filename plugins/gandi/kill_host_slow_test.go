//go:build slow

package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The host is killed at every step of what the plugin does for a renewal and for
// a roll back. The next run mends it: what a client sees is the certificate of
// before or the renewed one, or what a roll back is to bring back; and what is
// left over is deleted at the end of the next renewal.
func TestHostKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for verb, least := range map[string]int{"renew": 6, "rollback": 6} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, prefix, 80)
			dns, api := newFakeDNS(t, p.ca.DNS()), newFakeRPC(t)
			dns.account(bearer, "a.test")
			for key, value := range map[string]string{
				// The fault is in files that a sandbox does not let it reach.
				"plugin": "gandi", "sandbox": "off", "endpoint": dns.endpoint(), "token": "@" + p.file(t, goodToken),
				"rpc_endpoint": api.endpoint(), "api_key": "@" + p.file(t, goodKey), "endpoints": "[" + api.listener.Addr().String() + "]",
			} {
				p.settings = append(p.settings, "--set", "g."+key+"="+value)
			}
			p.faulty = plugintest.NewFaulty(t, filepath.Join(p.dir, "plugins"), "gandi")
			p.do(t, "run", "-a", "g", "-i", "g", "-d", "a.test")
			shown := func() []byte {
				all := api.hosts()
				if len(all) == 0 {
					return nil
				}
				return api.leaf(all[len(all)-1])
			}
			var older, before []byte
			work := []string{"--force-renewal"}
			if verb == "rollback" {
				work = nil
			}
			p.faulty.EveryStep(t, "host", least, plugintest.Kill{
				Before: func() {
					older = shown()
					if verb == "rollback" {
						p.do(t, "renew", "--force-renewal")
					}
					before = shown()
				},
				Work: func() (string, error) { return p.run(t, verb, work...) },
				Next: func() (string, error) { return p.run(t, "renew") },
				Mended: func() {
					now, want := shown(), older
					if verb == "renew" && !bytes.Equal(now, before) {
						want = p.leaf(t, "live/a.test")
					}
					if !bytes.Equal(now, want) {
						t.Error("served is another certificate")
					}
				},
			})
			if hosted := api.hosts(); len(hosted) != 1 {
				t.Errorf("%v is hosted, want one certificate", hosted)
			}
		})
	}
}
