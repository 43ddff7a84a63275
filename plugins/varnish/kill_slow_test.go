//go:build slow

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Plugin or host are killed at every step of Perform and Cleanup. The next run
// mends it: the VCL of before is in use, nothing of ours is left, the same again
// succeeds, and no client has noticed anything.
func TestKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			c := start(t, plain, nil)
			h := newHost(t, prefix, c)
			h.faulty(t)
			// The fault is in files that a sandbox does not let it reach.
			h.set = append(h.set, "varnish.sandbox=off")
			h.do(t, "certonly", "-a", "varnish", "-d", "a.test") // the account
			clients := c.hammer(t)
			defer clients.end(t)
			const least, most = 12, 60
			for n := 1; n <= most; n++ {
				name := fmt.Sprintf("n%d.test", n)
				h.fault(t, "%s %d", victim, n)
				out, err := h.try(t, "certonly", "-a", "varnish", "-d", name)
				at := h.hit(t)
				if at == "" {
					if err != nil || n <= least {
						t.Errorf("after %d steps: %v\n%s", n-1, err, out)
					}
					return
				}
				if again, err := h.try(t, "renew"); err != nil {
					t.Errorf("the next run: %v\n%s\n%s", err, again, out)
				}
				c.asItWas(t, "boot")
				const often = 5
				if err != nil && n%often == 0 {
					h.do(t, "certonly", "-a", "varnish", "-d", name)
				}
				if t.Failed() {
					t.Fatalf("killed at step %s\n%s", at, out)
				}
			}
			t.Errorf("more than %d steps", most)
		})
	}
}

// faulty makes the host use the test binary as the plugin.
func (h *host) faulty(t *testing.T) {
	t.Helper()
	h.plugins = filepath.Join(h.dir, "plugins")
	must(t, os.Mkdir(h.plugins, 0o755))
	self, err := os.Executable()
	must(t, err)
	from, err := os.Open(self)
	must(t, err)
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(filepath.Join(h.plugins, pluginName), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(to, from)
	must(t, errors.Join(err, to.Close()))
}

func (h *host) fault(t *testing.T, format string, args ...any) {
	t.Helper()
	write(t, filepath.Join(h.plugins, "fault"), fmt.Sprintf(format, args...))
}

// hit says where the fault happened; empty: it did not, and will not.
func (h *host) hit(t *testing.T) string {
	t.Helper()
	_ = os.Remove(filepath.Join(h.plugins, "fault"))
	path := filepath.Join(h.plugins, "fault.hit")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(t, errors.Join(err, os.Remove(path)))
	return string(data)
}
