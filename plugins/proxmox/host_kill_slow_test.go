//go:build slow

package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

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
				h.faulty(t)
				h.do(t, "run", "-a", "standalone", "-i", "proxmox", "-d", "pve.a.test,www.a.test")
				ours := [][2]string{f.custom("pve1")}
				for n := 1; ; n++ {
					if what == "rollback" {
						h.do(t, "renew", "--force-renewal")
						ours = append(ours, f.custom("pve1"))
					}
					before := f.custom("pve1")
					write(t, filepath.Join(h.plugins, "fault"), fmt.Sprintf("%s %d", victim, n))
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
					if t.Failed() {
						t.Fatalf("killed at step %s\n%s", at, out)
					}
				}
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
