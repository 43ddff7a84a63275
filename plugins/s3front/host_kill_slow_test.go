//go:build slow

package main

import (
	"crypto/tls"
	"encoding/pem"
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

	"github.com/certwright/certwright/sdk"
)

const pluginName = "certwright-plugin-s3front"

// asPlugin: the test binary, under the name of the plugin, is the plugin with
// steps at which it is killed. The host starts it as it does the real one.
func asPlugin() {
	path := os.Args[0]
	if filepath.Base(path) != pluginName {
		return
	}
	f := newFront()
	k := killing{path: filepath.Join(filepath.Dir(path), "fault")}
	f.step, f.patience = k.step, hasty
	sdk.Serve(declaration(f))
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
// its challenges included, and for a rollback. The next run mends it: no object is
// in the bucket, the store has our certificate once and the distribution serves it,
// the old one or the new one, and a rollback still gives what was there before; the
// last one the viewer certificate that somebody else had chosen.
func TestHostKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, victim := range []string{"plugin", "host"} {
		// Each store once for each verb.
		for what, store := range map[string]string{"renewal": inACM, "rollback": inIAM} {
			if victim == "host" {
				store = map[string]string{inACM: inIAM, inIAM: inACM}[store]
			}
			t.Run(victim+"-"+what, func(t *testing.T) {
				t.Parallel()
				cloud := start(t)
				who := cloud.open("session")
				cloud.bucket("site", who)
				cloud.names("site", "a.test", "www.a.test")
				theirs, wrong := newStored(who, materialOf(certificate(t, "a.test", "www.a.test")))
				if wrong != nil {
					t.Fatal(wrong)
				}
				cloud.acm["arn:theirs"] = theirs
				chosen := viewer("<ACMCertificateArn>arn:theirs</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion>")
				cloud.distribution("E1", who, documentOf("<ViewerCertificate>"+string(chosen)+"</ViewerCertificate>", "a.test", "www.a.test"))
				h := newHost(t, prefix, cloud)
				h.configure(t, fmt.Sprintf(`
server: %s
ca_bundle: %s
agree_tos: true
instances:
  - name: s3front
    sandbox: "off"
    settings: {endpoint: "%s", bucket: site, distributions: [E1], store: %s, wait: 30s, endpoints: ["%s"], %s}
certificates:
  - {names: [a.test, www.a.test], authenticate: [{with: [s3front]}], deploy: [s3front]}
`, h.ca.DirectoryURL(), h.path("ca.pem"), cloud.url, store, cloud.edge, h.secrets(t, "keys", who)))
				h.faulty(t)
				h.do(t, "run")
				ours := []string{cloud.serves(t)}
				for n := 1; ; n++ {
					if what == "rollback" {
						h.do(t, "renew", "--force-renewal")
						ours = append(ours, cloud.serves(t))
					}
					before := cloud.serves(t)
					must(t, os.WriteFile(filepath.Join(h.plugins, "fault"), []byte(fmt.Sprintf("%s %d", victim, n)), 0o600))
					out, err := map[string]func() (string, error){
						"renewal":  func() (string, error) { return h.try(t, "renew", "--force-renewal") },
						"rollback": func() (string, error) { return h.try(t, "rollback") },
					}[what]()
					at := h.hit(t)
					if at == "" {
						if least := map[string]int{"renewal": 12, "rollback": 5}[what]; err != nil || n <= least {
							t.Errorf("after %d steps: %v\n%s", n-1, err, out)
						}
						break
					}
					if again, err := h.try(t, "renew"); err != nil {
						t.Errorf("the next run: %v\n%s\n%s", err, again, out)
					}
					now := cloud.serves(t)
					switch newest := (material{Leaf: string(h.leaf(t))}).print(); {
					case what == "renewal" && now != before && now != newest:
						t.Error("the distribution has neither the old certificate nor the new one")
					case what == "rollback" && !slices.Contains(ours, now):
						t.Error("the distribution has a certificate that it never had")
					}
					ours = append(ours, now)
					equal(t, map[string]object{}, cloud.objects("site"))
					if t.Failed() {
						t.Fatalf("killed at step %s\n%s", at, out)
					}
				}
				if what == "renewal" { // more were deployed than checkpoints are kept
					h.do(t, "rollback")
					equal(t, ours[len(ours)-1], cloud.serves(t))
					h.do(t, "renew", "--force-renewal") // its end removes what is not used any more
					equal(t, 2, len(cloud.acmCertificates())+len(cloud.iamCertificates()))
					return
				}
				for range ours {
					if cloud.serves(t) == theirs.print() {
						break
					}
					h.do(t, "rollback")
				}
				now, err := viewerOf([]byte(cloud.document("E1")))
				must(t, err)
				equal(t, chosen, now)
				equal(t, []string{"arn:theirs"}, cloud.acmCertificates())
				equal(t, nil, cloud.iamCertificates())
			})
		}
	}
}

// serves tells the certificate that CloudFront's servers show for both names.
func (f *fake) serves(t *testing.T) string {
	t.Helper()
	var prints []string
	for _, name := range []string{"a.test", "www.a.test"} {
		conn, err := (&tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", f.edge)
		must(t, err)
		leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		must(t, conn.Close())
		prints = append(prints, material{Leaf: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))}.print())
	}
	equal(t, prints[0], prints[1])
	return prints[0]
}
