//go:build slow

package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// Plugin or host are killed at every step of what the plugin does: Perform,
// Cleanup, Deploy, Save, ConfigTest, Restart and Rollback, for a new certificate
// and for one that is there, in a directory and in a crt-list. The next run mends
// it: haproxy has what is in the files, the old certificate or the new one with
// its key, no transaction is open, and no entry is left in the map.
func TestKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		for _, what := range []string{"first", "renewal", "rollback"} {
			t.Run(victim+", "+what, func(t *testing.T) {
				t.Parallel()
				k := newKiller(t, prefix, victim, setup{crtList: what != "renewal"})
				k.everyStep(t, map[string]func(*testing.T, int){
					"first": k.first, "renewal": k.renewal, "rollback": k.rollback,
				}[what])
			})
		}
	}
}

// killer has one haproxy and one host for all steps of a scenario.
type killer struct {
	*host
	victim string
}

func newKiller(t *testing.T, prefix, victim string, s setup) *killer {
	t.Helper()
	p := start(t, s)
	k := &killer{host: newHost(t, prefix, p, p.settings(s)), victim: victim}
	k.faulty = plugintest.NewFaulty(t, filepath.Join(k.dir, "plugins"), "haproxy")
	k.do(t, "run", "-a", "haproxy", "-i", "haproxy", "-d", "a.test")
	return k
}

// everyStep goes on until a round has fewer steps than its number.
func (k *killer) everyStep(t *testing.T, round func(*testing.T, int)) {
	const least, most = 25, 200
	var steps []string
	w := k.proxy.watch(t, "a.test")
	defer func() {
		close(w.stop)
		<-w.done
		if len(w.errs) > 0 {
			t.Errorf("%d of %d requests failed, the first: %v", len(w.errs), w.n, w.errs[0])
		}
	}()
	for n := 1; n <= most; n++ {
		round(t, n)
		hit := k.faulty.Hit(t)
		if hit == "" {
			if n <= least {
				t.Errorf("only %d steps: %s", n-1, strings.Join(steps, "; "))
			}
			t.Logf("%d steps", n-1)
			return
		}
		steps = append(steps, hit)
		if t.Failed() {
			t.Fatalf("killed at step %s", hit)
		}
	}
	t.Errorf("more than %d steps", most)
}

// first obtains and deploys another certificate.
func (k *killer) first(t *testing.T, n int) {
	name := fmt.Sprintf("n%d.test", n)
	k.faulty.Set(t, "%s %d", k.victim, n)
	args := []string{"-a", "haproxy", "-i", "haproxy", "-d", name}
	_, err := k.try(t, "run", args...)
	if err != nil {
		k.mended(t)
		// It is not half done: the same again succeeds.
		k.do(t, "run", args...)
	}
	k.mended(t)
	k.proxy.shows(t, name, k.leaf(t, "live/"+name))
}

// renewal deploys the next version of the certificate that is there.
func (k *killer) renewal(t *testing.T, n int) {
	before := k.leaf(t, "live/a.test")
	k.faulty.Set(t, "%s %d", k.victim, n)
	if out, err := k.try(t, "renew", "--force-renewal"); err != nil {
		k.mended(t)
		if after := k.leaf(t, "live/a.test"); !bytes.Equal(before, after) {
			k.do(t, "install", "--cert-name", "a.test", "-i", "haproxy")
		} else if strings.Contains(out, "deploying") {
			t.Errorf("it was deployed and is not there:\n%s", out)
		}
	}
	k.mended(t)
	k.proxy.shows(t, "a.test", k.leaf(t, "live/a.test"))
}

// rollback takes a version back.
func (k *killer) rollback(t *testing.T, n int) {
	before := leafOfFile(t, k.proxy.file("a.test"))
	k.do(t, "renew", "--force-renewal")
	k.faulty.Set(t, "%s %d", k.victim, n)
	_, err := k.try(t, "rollback")
	k.mended(t)
	now := leafOfFile(t, k.proxy.file("a.test"))
	switch newest := k.leaf(t, "live/a.test"); {
	case bytes.Equal(now, before):
	case err == nil || !bytes.Equal(now, newest):
		t.Errorf("neither the version before nor the newest is in place (%v)", err)
	}
	k.proxy.shows(t, "a.test", now)
}

// mended runs certwright once more, as cron does, and looks at what is left.
func (k *killer) mended(t *testing.T) {
	t.Helper()
	if out, err := k.try(t, "renew"); err != nil {
		t.Errorf("the next run: %v\n%s", err, out)
	}
	k.proxy.inOrder(t, k.settings)
	if k.settings.Map != "" {
		if left := k.proxy.say(t, "show map "+k.proxy.acmeMap()); left != "" {
			t.Errorf("left in the map: %s", left)
		}
	}
	left, err := filepath.Glob(filepath.Join(k.proxy.certs(), ".*"))
	must(t, err)
	more, err := filepath.Glob(filepath.Join(k.proxy.dir, ".*"))
	must(t, err)
	if left = append(left, more...); len(left) > 0 {
		t.Errorf("left on disk: %q", left)
	}
}
