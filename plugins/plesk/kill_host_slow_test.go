//go:build slow

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
			p.mortal(t)
			p.do(t, "run", "-a", "a", "-i", "a", "-d", "a.test", "-d", "b.test")
			const most = 60
			for n := 1; n <= most; n++ {
				args, older := []string{"--force-renewal"}, f.serves(t, "a.test")
				if verb == "rollback" {
					p.do(t, "renew", args...)
					args = nil
				}
				before := f.serves(t, "a.test")
				step := p.killed(t, n, verb, args...)
				if step == "" {
					if n <= least {
						t.Errorf("only %d steps", n-1)
					}
					return
				}
				out, err := p.run(t, "renew")
				if err != nil {
					t.Errorf("the next run: %v\n%s", err, out)
				}
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
