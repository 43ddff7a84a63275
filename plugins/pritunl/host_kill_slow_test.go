//go:build slow

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
// and for a rollback. The next run mends it: Pritunl serves the old certificate or
// the new one, each with its key, and a rollback still gives what was there
// before; the last one the certificate that somebody else had put there.
func TestHostKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		for what, least := range map[string]int{"renewal": 7, "rollback": 6} {
			t.Run(victim+"-"+what, func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				old := issued(t, "old.test")
				f.give(t, old.FullchainPEM, old.KeyPEM)
				write(t, f.caFile, string(old.ChainPEM))
				h := newHost(t, prefix, fmt.Sprintf(`  - name: pritunl
    sandbox: "off"
    settings: {endpoint: "%s", api_token: %s, api_secret: {file: %s}, ca_file: %s}
`, f.server.URL, goodToken, filepath.Join(filepath.Dir(f.caFile), "secret"), f.caFile))
				write(t, filepath.Join(filepath.Dir(f.caFile), "secret"), goodSecret+"\n")
				h.faulty(t)
				h.do(t, "run", "-a", "standalone", "-i", "pritunl", "-d", "vpn.a.test,www.a.test")
				ours := []string{f.has("server_key")}
				for n := 1; ; n++ {
					if what == "rollback" {
						h.do(t, "renew", "--force-renewal")
						ours = append(ours, f.has("server_key"))
					}
					before := f.has("server_key")
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
					now := f.has("server_key")
					switch newest := strings.TrimSpace(h.live(t, "vpn.a.test", "privkey.pem")); {
					case what == "renewal" && now != before && now != newest:
						t.Error("Pritunl has neither the old key nor the new one")
					case what == "rollback" && !slices.Contains(ours, now):
						t.Error("Pritunl has a key that it never had")
					}
					ours = append(ours, now)
					pair, err := tls.X509KeyPair([]byte(f.has("server_cert")), []byte(now))
					must(t, err)
					equal(t, printOfPair(pair), printOfShown(t, f.address()))
					if t.Failed() {
						t.Fatalf("killed at step %s\n%s", at, out)
					}
				}
				if what == "renewal" { // more were deployed than checkpoints are kept
					h.do(t, "rollback")
					equal(t, ours[len(ours)-1], f.has("server_key"))
					return
				}
				for range ours {
					if f.has("server_key") == trimmed(old.KeyPEM) {
						break
					}
					h.do(t, "rollback")
				}
				equal(t, trimmed(old.FullchainPEM), f.has("server_cert"))
				equal(t, trimmed(old.KeyPEM), f.has("server_key"))
				equal(t, string(old.LeafPEM), shown(t, f.address()))
			})
		}
	}
}

func printOfPair(pair tls.Certificate) string { return sum(pair.Certificate[0]) }

func printOfShown(t *testing.T, address string) string {
	t.Helper()
	text := shown(t, address)
	return printOf(&text)
}
