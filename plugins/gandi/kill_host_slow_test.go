//go:build slow

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
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
			p.mortal(t)
			p.do(t, "run", "-a", "g", "-i", "g", "-d", "a.test")
			shown := func() []byte {
				all := api.hosts()
				if len(all) == 0 {
					return nil
				}
				return api.leaf(all[len(all)-1])
			}
			const most = 60
			for n := 1; n <= most; n++ {
				args, older := []string{"--force-renewal"}, shown()
				if verb == "rollback" {
					p.do(t, "renew", args...)
					args = nil
				}
				before := shown()
				step := p.killed(t, n, verb, args...)
				if step == "" {
					if n <= least {
						t.Errorf("only %d steps", n-1)
					}
					if hosted := api.hosts(); len(hosted) != 1 {
						t.Errorf("%v is hosted, want one certificate", hosted)
					}
					return
				}
				out, err := p.run(t, "renew")
				if err != nil {
					t.Errorf("the next run: %v\n%s", err, out)
				}
				now, want := shown(), older
				if verb == "renew" && !bytes.Equal(now, before) {
					want = p.leaf(t, "live/a.test")
				}
				if !bytes.Equal(now, want) {
					t.Error("served is another certificate")
				}
				if t.Failed() {
					t.Fatalf("killed at step %s\n%s", step, out)
				}
			}
			t.Errorf("more than %d steps", most)
		})
	}
}

// mortal has certwright run the test binary as the plugin.
func (p *program) mortal(t *testing.T) {
	t.Helper()
	p.plugins = filepath.Join(p.dir, "plugins")
	must(t, os.Mkdir(p.plugins, 0o755))
	self, err := os.Executable()
	must(t, err)
	from, err := os.Open(self)
	must(t, err)
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(filepath.Join(p.plugins, pluginName), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(to, from)
	must(t, errors.Join(err, to.Close()))
}

// killed runs certwright, which is killed at the n-th step; empty: there are
// less steps, and it has done its work.
func (p *program) killed(t *testing.T, n int, verb string, args ...string) (step string) {
	t.Helper()
	path := filepath.Join(p.plugins, "fault")
	must(t, os.WriteFile(path, fmt.Append(nil, n), 0o600))
	out, err := p.run(t, verb, args...)
	text, missing := os.ReadFile(path + ".hit")
	if missing == nil {
		must(t, os.Remove(path+".hit"))
		return string(text)
	}
	must(t, os.Remove(path))
	if err != nil {
		t.Fatalf("after %d steps: %v\n%s", n-1, err, out)
	}
	return ""
}
