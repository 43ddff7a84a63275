//go:build slow

package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Killed anywhere between the first file and the last directory: one Cleanup
// in a new process brings everything back, byte by byte.
func TestFilesKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	s := startSSH(t, t.TempDir())
	for name, text := range map[string]string{"a.test": "RewriteEngine on", "b.test": ""} {
		docs := mkdirs(t, s.dir, "vhosts", name, "htdocs")
		if text != "" {
			must(t, os.WriteFile(filepath.Join(mkdirs(t, docs, ".well-known"), ".htaccess"), []byte(text), 0o640))
		}
	}
	before := tree(t, s.dir)
	for n := 1; ; n++ {
		v := victim{
			Settings: map[string]string{
				"sftp_server": s.address, "sftp_user": s.user, "sftp_key": string(s.key), "instance_type": "php", "host_key": s.settings().HostKey,
			},
			State: t.TempDir(), Challenges: []sdk.Challenge{challenge("a.test", "one"), challenge("b.test", "two")}, KillAt: n,
		}
		done := v.run(t)
		must(t, cleanup(t, configured(t, v.settings(), v.State), v.Challenges...))
		if after := tree(t, s.dir); after != before {
			t.Fatalf("step %d: before\n%s\nafter\n%s", n, before, after)
		}
		if done {
			if n < 20 {
				t.Fatalf("only %d steps", n-1)
			}
			return
		}
	}
}

// Killed anywhere in a deployment or a rollback: what the host does next leaves
// one certificate, the old one or the new one.
func TestUploadsKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, rollback := range []bool{false, true} {
		for n := 1; ; n++ {
			f := newFakeRPC(t)
			first, second := certificate(t, "a.test"), certificate(t, "a.test")
			v := victim{
				Settings: map[string]string{"api_key": goodKey, "rpc_endpoint": f.endpoint()},
				State:    t.TempDir(), Deployment: second, Rollback: rollback, KillAt: n,
			}
			g := configured(t, v.settings(), v.State)
			must(t, deploy(t.Context(), g, first, "1"))
			ended(t, g, "a.test")
			if rollback {
				must(t, deploy(t.Context(), g, second, "2"))
				ended(t, g, "a.test")
			}
			done := v.run(t)
			// A deployment is taken back, a roll back is brought to its end: both
			// by the operation of before, which may be done already.
			next := configured(t, v.settings(), v.State)
			if !rollback { // the host asks what has become of Save
				left := f.hosts()
				rolledBack(t, next, "a.test", 0, "rollback-0")
				if now := f.hosts(); !slices.Equal(now, left) {
					t.Fatalf("step %d: asking changes %v into %v", n, left, now)
				}
			}
			saved, err := next.Save(during(t.Context(), "a.test", "2save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, &recorder{})
			must(t, err)
			count := 1
			if !rollback && saved.ID == "" {
				count = 0
			}
			rolledBack(t, next, "a.test", count, "rollback")
			wantHosted(t, f, first)
			if done {
				if n < 8 {
					t.Fatalf("only %d steps", n-1)
				}
				break
			}
		}
	}
}
