package acmeclient_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
)

func TestStrangeChallenges(t *testing.T) {
	f := newFake(t)
	f.on("/authz", f.says(http.StatusOK, `{
		"status": "pending", "expires": "some day", "wildcard": true, "new": [1],
		"identifier": {"type": "dns", "value": "A.Test"},
		"challenges": [
			{"type": "quantum-01", "url": "$/c/0", "status": "pending", "photons": {"spin": "up"}},
			{"type": "dns-persist-01", "url": "$/c/1", "status": "pending", "token": 42},
			"no object at all",
			{"type": "http-01", "url": "$/c/3", "status": "invalid", "token": "tok", "error": {"type": "urn:ietf:params:acme:error:dns", "detail": "NXDOMAIN"}},
			{"type": "dns-01", "url": "$/c/4", "status": "pending", "token": "tok", "error": "not an object"}
		],
		"combinations": [[0], [1, 3], [9], [], [-1]]
	}`))
	z, err := f.client().Authorization(t.Context(), f.URL+"/authz")
	if err != nil {
		t.Fatal(err)
	}
	if raw := string(z.Challenges[0].RawJSON); !strings.Contains(raw, `"photons": {"spin": "up"}`) {
		t.Errorf("the challenge as sent was lost: %s", raw)
	}
	for i := range z.Challenges {
		z.Challenges[i].RawJSON = nil
	}
	want := model.Authorization{
		URL: f.URL + "/authz", Status: "pending",
		Identifier: model.Identifier{Type: "dns", Value: "a.test", Wildcard: true},
		Challenges: []model.ACMEChallenge{
			{Type: "quantum-01", URL: f.URL + "/c/0", Status: "pending"},
			{Type: "dns-persist-01", URL: f.URL + "/c/1", Status: "pending"},
			{},
			{Type: "http-01", URL: f.URL + "/c/3", Status: "invalid", Token: "tok", Error: &model.ACMEError{Type: "urn:ietf:params:acme:error:dns", Detail: "NXDOMAIN"}},
			{Type: "dns-01", URL: f.URL + "/c/4", Status: "pending", Token: "tok"},
		},
		Combinations: [][]int{{0}, {1, 3}},
	}
	if diff := cmp.Diff(want, z); diff != "" {
		t.Errorf("authorization (-want +got):\n%s", diff)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, body := range map[string]string{"html": "<html>", "empty": "", "list": "[]", "other": `{"a":1}`} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/it", f.says(http.StatusOK, body))
			client := f.client()
			if _, err := client.Order(t.Context(), f.URL+"/it"); err == nil || !strings.Contains(err.Error(), "is not an order") {
				t.Errorf("order: %v", err)
			}
			if _, err := client.Authorization(t.Context(), f.URL+"/it"); err == nil || !strings.Contains(err.Error(), "is not one") {
				t.Errorf("authorization: %v", err)
			}
		})
	}
	if _, err := newFake(t).client().Order(t.Context(), "http://127.0.0.1/order"); err == nil || !strings.Contains(err.Error(), "not one of https") {
		t.Errorf("an order without TLS: %v", err)
	}
}

func TestTokens(t *testing.T) {
	f := newFake(t)
	client := f.client()
	for _, token := range []string{"", "../../etc/passwd", "a/b", "a.b", "a=", "a+b", "a b", "ä", "a\x00", strings.Repeat("a", 256)} {
		if _, err := client.KeyAuthorization(token); err == nil {
			t.Errorf("KeyAuthorization took %q", token)
		}
		if _, err := client.DNS01Value(token); err == nil {
			t.Errorf("DNS01Value took %q", token)
		}
		if path, err := client.HTTP01Path(token); err == nil {
			t.Errorf("HTTP01Path took %q: %s", token, path)
		}
		if _, _, err := client.TLSALPN01Certificate(token, dnsNames("a.test")[0]); err == nil {
			t.Errorf("TLSALPN01Certificate took %q", token)
		}
	}
}

func TestChallengeMaterial(t *testing.T) {
	client := newFake(t).client()
	const token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	authorization, err := client.KeyAuthorization(token)
	if err != nil || !strings.HasPrefix(authorization, token+".") || len(authorization) != len(token)+1+43 {
		t.Errorf("key authorization %q, %v", authorization, err)
	}
	digest := sha256.Sum256([]byte(authorization))
	if got, err := client.DNS01Value(token); err != nil || got != base64.RawURLEncoding.EncodeToString(digest[:]) {
		t.Errorf("dns-01 value %q, %v", got, err)
	}
	if got, err := client.HTTP01Path(token); err != nil || got != "/.well-known/acme-challenge/"+token {
		t.Errorf("http-01 path %q, %v", got, err)
	}
	for _, id := range []model.Identifier{{Type: "dns", Value: "a.test"}, {Type: "ip", Value: "192.0.2.1"}, {Type: "ip", Value: "2001:db8::1"}} {
		certPEM, keyPEM, err := client.TLSALPN01Certificate(token, id)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		names := append([]string{}, pair.Leaf.DNSNames...)
		for _, ip := range pair.Leaf.IPAddresses {
			names = append(names, ip.String())
		}
		if !cmp.Equal(names, []string{id.Value}) {
			t.Errorf("certificate for %s names %q", id, names)
		}
		// RFC 8737 section 3: a critical extension with the digest.
		found := false
		for _, e := range pair.Leaf.Extensions {
			found = found || e.Id.String() == "1.3.6.1.5.5.7.1.31" && e.Critical && string(e.Value) == "\x04\x20"+string(digest[:])
		}
		if !found {
			t.Errorf("certificate for %s lacks the digest", id)
		}
	}
}

func TestCertificates(t *testing.T) {
	f := newFake(t)
	leaf := f.Certificate()
	block := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
	for name, tt := range map[string]struct{ body, want, err string }{
		"plain":           {block, block, ""},
		"chain":           {block + block, block + block, ""},
		"text around":     {"subject=a\n" + strings.ReplaceAll(block, "\n", "\r\n") + "\nissuer=b\n" + block + "\n\n", block + block, ""},
		"headers":         {strings.Replace(block, "-----\n", "-----\nProc-Type: x\n\n", 1), block, ""},
		"key":             {block + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "", `a "PRIVATE KEY" among`},
		"nothing":         {"", "", "no certificate in PEM"},
		"der":             {string(leaf.Raw), "", "no certificate in PEM"},
		"leaf is no cert": {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "cannot be read"},
		"more than 1 MiB": {strings.Repeat(block, 2<<20/len(block)), "", "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			f.on("/cert", f.says(http.StatusOK, tt.body))
			got, err := f.client().Certificate(t.Context(), f.URL+"/cert")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.HasPrefix(err.Error(), "downloading the certificate ") {
					t.Errorf("error %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("%v\n%s", err, got)
			}
			if !x509.NewCertPool().AppendCertsFromPEM(got) {
				t.Error("not a PEM of certificates")
			}
		})
	}
}
