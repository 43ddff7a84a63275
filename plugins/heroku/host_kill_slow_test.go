//go:build slow

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

const pluginName = "certwright-plugin-heroku"

// asPlugin: the test binary, under the name of the plugin, is the plugin with
// steps at which it is killed. The host starts it as it does the real one.
func asPlugin() {
	path := os.Args[0]
	if filepath.Base(path) != pluginName {
		return
	}
	h := newHeroku()
	k := killing{path: filepath.Join(filepath.Dir(path), "fault")}
	h.step, h.pause = k.step, time.Millisecond
	sdk.Serve(declaration(h))
	os.Exit(0)
}

// killing is read from a file of one line, "plugin N": at the N-th step the plugin
// is killed, or "host N": the host before it. The file is removed, so that it
// happens once, and what happened is in a file beside it.
type killing struct {
	mu    sync.Mutex // steps come side by side
	path  string
	count int
}

func (k *killing) step(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	data, err := os.ReadFile(k.path)
	if err != nil {
		return
	}
	victim, rest, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	if n, err := strconv.Atoi(rest); err != nil || n != k.count {
		return
	}
	_ = os.WriteFile(k.path+".hit", []byte(fmt.Sprintf("%d %s", k.count, what)), 0o600)
	_ = os.Remove(k.path)
	if victim == "host" {
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

// faulty makes the host use the test binary as the plugin.
func (h *host) faulty(t *testing.T) {
	t.Helper()
	h.plugins = h.path("plugins")
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

// hit says where the kill happened; empty: it did not, and will not.
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
				h.faulty(t)
				h.do(t, "run")
				ours := []string{cloud.serves("www.a.test")}
				for n := 1; ; n++ {
					if what == "rollback" {
						h.do(t, "renew", "--force-renewal")
						ours = append(ours, cloud.serves("www.a.test"))
					}
					before := cloud.serves("www.a.test")
					must(t, os.WriteFile(filepath.Join(h.plugins, "fault"), []byte(fmt.Sprintf("%s %d", victim, n)), 0o600))
					out, err := map[string]func() (string, error){
						"renewal":  func() (string, error) { return h.try(t, "renew", "--force-renewal") },
						"rollback": func() (string, error) { return h.try(t, "rollback") },
					}[what]()
					at := h.hit(t)
					if at == "" {
						if err != nil || n <= least {
							t.Errorf("after %d steps: %v\n%s", n-1, err, out)
						}
						break
					}
					if again, err := h.try(t, "renew"); err != nil {
						t.Errorf("the next run: %v\n%s\n%s", err, again, out)
					}
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
					if t.Failed() {
						t.Fatalf("killed at step %s\n%s", at, out)
					}
				}
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
