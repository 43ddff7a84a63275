package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Without the runtime API: a reload by the master, and by a new process that
// takes the listeners over. No request fails, and a certificate that the server
// would not take is never served.
func TestReload(t *testing.T) {
	for _, how := range []string{"master", "new process"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := start(t, setup{master: how == "master"})
			s := p.settings(setup{})
			worker := filepath.Join(p.dir, "admin.sock")
			s.Socket, s.Map = "", ""
			s.Reload = fmt.Sprintf("kill -USR2 %d", p.process.Process.Pid)
			if how != "master" {
				s.Reload = takeover(t, p, worker)
			}
			h := plugin(t, s, t.TempDir())
			first, second := issue(t, "a.test"), issue(t, "a.test")
			// deploy does it as the host does: a reload is over a moment later.
			deploy := func(d sdk.Deployment, run string) {
				deployed(t, h, d, run)
				p.comesToServe(t, "a.test", d)
			}
			before := tree(t, p.certs())
			deploy(first, "1")
			w := p.watch(t, "a.test")
			deploy(second, "2")
			rolledBack(t, h, "a.test", "2")
			p.comesToServe(t, "a.test", first)

			_, err := stage(t.Context(), h, second, "3", &recorder{})
			must(t, err)
			mixed(t, p.file("a.test"))
			wantError(t, h.ConfigTest(during(t.Context(), "a.test", "3 test"), &recorder{}), sdk.ConfigTestFailed, p.file("a.test"))
			rolledBack(t, h, "a.test", "3")
			p.comesToServe(t, "a.test", first)
			seen := w.end(t, leafOf(first), leafOf(second))
			if seen[0] != 0 || seen[len(seen)-1] != 0 {
				t.Errorf("the certificates were seen in the order %v", seen)
			}
			rolledBack(t, h, "a.test", "1")
			equal(t, before, tree(t, p.certs()))
		})
	}
}

// comesToServe waits until every new connection shows a certificate: the
// workers of before have let the listeners go.
func (p *proxy) comesToServe(t *testing.T, name string, d sdk.Deployment) {
	t.Helper()
	p.comesToShow(t, name, leafOf(d))
}

func (p *proxy) comesToShow(t *testing.T, name string, want []byte) {
	t.Helper()
	inRow := 0
	eventually(t, "the certificate is served", func() error {
		for ; inRow < 20; inRow++ {
			for _, address := range []string{loopback(p.tls), loopback6(p.tls)} {
				leaf, err := served(t.Context(), address, name)
				if err != nil || !bytes.Equal(leaf, want) {
					inRow = 0
					return fmt.Errorf("%s serves another certificate (%w)", address, err)
				}
			}
		}
		return nil
	})
}

// takeover writes a reload command that starts a new haproxy, which gets the
// listeners from the old one and then ends it. It may do so because the command
// here runs in the test's own process group.
func takeover(t *testing.T, p *proxy, worker string) string {
	t.Helper()
	pid := filepath.Join(p.dir, "pid")
	write(t, pid, fmt.Sprint(p.process.Process.Pid))
	t.Cleanup(func() {
		out, err := exec.CommandContext(context.Background(), "/bin/sh", "-c", "kill -TERM $(cat "+pid+")").CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return fmt.Sprintf("%s -D -f %s -p %s -x %s -sf $(cat %s)", program, p.config, pid, worker, pid)
}
