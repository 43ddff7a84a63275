package acmeclient_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/testca"
)

// topIssuer is the issuer of the last certificate of a chain.
func topIssuer(t *testing.T, chain []byte) string {
	t.Helper()
	var last *pem.Block
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		last = block
	}
	certificate, err := x509.ParseCertificate(last.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate.Issuer.CommonName
}

func TestAlternateChains(t *testing.T) {
	ca := startCA(t, testca.Options{NonceReject: 15, AlwaysValid: true, AlternateRoots: 2, ChainLength: 2})
	client := clientOf(t, ca, nil)
	ctx := bounded(t)
	register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	order, err := client.NewOrder(ctx, dnsNames("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	url := issue(ctx, t, client, order, p256(t), "a.test").Certificate

	var offered []string
	first, matched, err := client.CertificateChain(ctx, url, func(chain []byte) bool {
		offered = append(offered, topIssuer(t, chain))
		return false
	})
	if err != nil || matched || len(offered) != 3 {
		t.Fatalf("matched %v, offered %q, %v", matched, offered, err)
	}
	if topIssuer(t, first) != offered[0] {
		t.Error("what nobody wants is not the default")
	}
	for _, issuer := range offered {
		chain, matched, err := client.CertificateChain(ctx, url, func(chain []byte) bool { return topIssuer(t, chain) == issuer })
		if err != nil || !matched || topIssuer(t, chain) != issuer {
			t.Errorf("wanted %s: matched %v, got %s, %v", issuer, matched, topIssuer(t, chain), err)
		}
		verify(t, ca, chain, "a.test")
	}
	if chain, matched, err := client.CertificateChain(ctx, url, nil); err != nil || !matched || !bytes.Equal(chain, first) {
		t.Errorf("without a wish: matched %v, %v", matched, err)
	}
}

func TestOddAlternates(t *testing.T) {
	f := newFake(t)
	leaf := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}))
	ca := startCA(t, testca.Options{})
	stranger := string(ca.IssuerRoots())
	f.on("/cert", f.says(http.StatusOK, leaf,
		`Link: <$/directory>;rel="index", </cert/1>; title="a, <b>; \"c"; rel="alternate",<cert/2>;REL=alternate`,
		`Link: <$/cert/3>;rel="up alternate", <$/cert>;rel="alternate", <$/cert/3>;rel="alternate", <$/cert/4>;rel="up";rel="alternate"`,
		`Link: <ftp://x/cert>;rel="alternate", <$/cert/5>;rel="alternate"`,
		`Link: nonsense; rel="alternate", <unclosed`,
	))
	f.on("/cert/1", f.says(http.StatusNotFound, ""))
	f.on("/cert/2", f.says(http.StatusOK, "<html>"))
	f.on("/cert/3", f.says(http.StatusOK, stranger))
	f.on("/cert/5", f.says(http.StatusOK, leaf+leaf))
	client := f.client()
	chain, matched, err := client.CertificateChain(t.Context(), f.URL+"/cert", func(chain []byte) bool { return string(chain) != leaf })
	if err != nil || !matched || string(chain) != leaf+leaf {
		t.Errorf("matched %v, %v, %s", matched, err, chain)
	}
	asked := map[string]int{}
	for _, path := range []string{"/cert", "/cert/1", "/cert/2", "/cert/3", "/cert/4", "/cert/5", "/directory"} {
		asked[path] = f.count(path)
	}
	if diff := cmp.Diff(map[string]int{"/cert": 1, "/cert/1": 1, "/cert/2": 1, "/cert/3": 1, "/cert/4": 0, "/cert/5": 1, "/directory": 0}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	chain, matched, err = client.CertificateChain(t.Context(), f.URL+"/cert", func([]byte) bool { return false })
	if err != nil || matched || string(chain) != leaf {
		t.Errorf("matched %v, %v, %s", matched, err, chain)
	}

	plain := f.says(http.StatusOK, leaf)
	f.on("/cert", func(w http.ResponseWriter, r *http.Request) {
		for i := range 50 {
			w.Header().Add("Link", fmt.Sprintf(`<%s/many?%d>;rel="alternate"`, f.URL, i))
		}
		plain(w, r)
	})
	if _, _, err := client.CertificateChain(t.Context(), f.URL+"/cert", func([]byte) bool { return false }); err != nil {
		t.Error(err)
	}
	if got := f.count("/many"); got != 10 {
		t.Errorf("asked for %d alternates", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	if _, _, err := client.CertificateChain(ctx, f.URL+"/cert", func([]byte) bool { cancel(); return false }); err == nil {
		t.Error("a cancelled download is a success")
	}
	f.on("/cert", f.says(http.StatusNotFound, ""))
	_, _, err = client.CertificateChain(t.Context(), f.URL+"/cert", nil)
	wantRefusal(t, err, http.StatusNotFound, "")
}
