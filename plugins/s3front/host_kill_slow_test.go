//go:build slow

package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

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
				h.faulty = plugintest.NewFaulty(t, filepath.Join(h.dir, "plugins"), "s3front")
				h.do(t, "run")
				ours := []string{cloud.serves(t)}
				work := []string{"renew", "--force-renewal"}
				if what == "rollback" {
					work = []string{"rollback"}
				}
				var before string
				h.faulty.EveryStep(t, victim, map[string]int{"renewal": 12, "rollback": 5}[what], plugintest.Kill{
					Before: func() {
						if what == "rollback" {
							h.do(t, "renew", "--force-renewal")
							ours = append(ours, cloud.serves(t))
						}
						before = cloud.serves(t)
					},
					Work: func() (string, error) { return h.try(t, work...) },
					Next: func() (string, error) { return h.try(t, "renew") },
					Mended: func() {
						now := cloud.serves(t)
						switch newest := (material{Leaf: string(h.leaf(t))}).print(); {
						case what == "renewal" && now != before && now != newest:
							t.Error("the distribution has neither the old certificate nor the new one")
						case what == "rollback" && !slices.Contains(ours, now):
							t.Error("the distribution has a certificate that it never had")
						}
						ours = append(ours, now)
						equal(t, map[string]object{}, cloud.objects("site"))
					},
				})
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
