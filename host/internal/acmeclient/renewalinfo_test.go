package acmeclient_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

// certificate is one with the two numbers that make its CertID.
func certificate(t *testing.T, key *ecdsa.PrivateKey, issuerKey []byte, serial *big.Int) *x509.Certificate {
	t.Helper()
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}, SubjectKeyId: issuerKey}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: serial}, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestCertID(t *testing.T) {
	key := p256(t)
	issuer := []byte{0x69, 0x88, 0x5B, 0x6B, 0x87, 0x46, 0x40, 0x41, 0xE1, 0xB3, 0x7B, 0x84, 0x7B, 0xA0, 0xAE, 0x2C, 0xDE, 0x01, 0xC8, 0xD4}
	for want, tt := range map[string]struct {
		issuer []byte
		serial int64
	}{
		// The example of RFC 9773 section 4.1: a zero before 0x87.
		"aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE": {issuer, 0x87654321},
		"aYhba4dGQEHhs3uEe6CuLN4ByNQ.Bw":      {issuer, 7},
		"_w.AP8":                              {[]byte{0xff}, 255},
	} {
		got, err := acmeclient.CertID(certificate(t, key, tt.issuer, big.NewInt(tt.serial)))
		if err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if _, err := acmeclient.CertID(certificate(t, key, nil, big.NewInt(1))); err == nil || !strings.Contains(err.Error(), "does not name its issuer's key") {
		t.Errorf("without an issuer's key: %v", err)
	}
	if _, err := acmeclient.CertID(&x509.Certificate{AuthorityKeyId: issuer, SerialNumber: big.NewInt(1)}); err == nil {
		t.Error("a certificate that was never encoded has a CertID")
	}
}

func TestRenewalInfoOfPebble(t *testing.T) {
	ca := startCA(t, testca.Options{NonceReject: 15, AlwaysValid: true})
	client := clientOf(t, ca, nil)
	ctx := bounded(t)
	register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	leaf, _ := issued(ctx, t, client, "a.test")
	id, err := acmeclient.CertID(leaf)
	if err != nil {
		t.Fatal(err)
	}
	// Whoever asks needs no account.
	nobody := clientOf(t, ca, nil)
	info, err := nobody.RenewalInfo(ctx, id)
	if err != nil || !info.Start.After(leaf.NotBefore) || !info.End.Before(leaf.NotAfter) || info.RetryAfter != 6*time.Hour {
		t.Errorf("%+v, %v", info, err)
	}
	if err := client.Revoke(ctx, leaf.Raw, 0); err != nil {
		t.Fatal(err)
	}
	if info, err = nobody.RenewalInfo(ctx, id); err != nil || !info.End.Before(time.Now()) {
		t.Errorf("revoked: %+v, %v", info, err)
	}
	if err := ca.SetRenewalInfo(leaf.SerialNumber, "{}"); err != nil {
		t.Fatal(err)
	}
	if info, err = nobody.RenewalInfo(ctx, id); err == nil || !strings.Contains(err.Error(), "asking when to renew the certificate "+id+": ") {
		t.Errorf("nothing: %+v, %v", info, err)
	}
	_, err = nobody.RenewalInfo(ctx, strings.Split(id, ".")[0]+".Bw")
	if refused := new(model.ACMEError); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func TestRenewalInfoAnswers(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	start, end := now.Add(24*time.Hour), now.Add(48*time.Hour)
	window := `"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-03T00:00:00Z"}`
	for name, tt := range map[string]struct {
		body  string
		retry string
		want  acmeclient.RenewalInfo
		err   string
	}{
		"plain":         {`{` + window + `,"x":1}`, "", acmeclient.RenewalInfo{RetryAfter: 6 * time.Hour}, ""},
		"explained":     {`{` + window + `,"explanationURL":"https://ca.test/why"}`, "21600", acmeclient.RenewalInfo{Explanation: "https://ca.test/why", RetryAfter: 6 * time.Hour}, ""},
		"bad link":      {`{` + window + `,"explanationURL":"javascript:alert(1)"}`, "7200", acmeclient.RenewalInfo{RetryAfter: 2 * time.Hour}, ""},
		"soon":          {`{` + window + `}`, "0", acmeclient.RenewalInfo{RetryAfter: time.Minute}, ""},
		"late":          {`{` + window + `}`, "86400000", acmeclient.RenewalInfo{RetryAfter: 24 * time.Hour}, ""},
		"date":          {`{` + window + `}`, now.Add(3 * time.Hour).Format(http.TimeFormat), acmeclient.RenewalInfo{RetryAfter: 3 * time.Hour}, ""},
		"past date":     {`{` + window + `}`, now.Add(-3 * time.Hour).Format(http.TimeFormat), acmeclient.RenewalInfo{RetryAfter: time.Minute}, ""},
		"gibberish":     {`{` + window + `}`, "soon", acmeclient.RenewalInfo{RetryAfter: 6 * time.Hour}, ""},
		"no window":     {`{}`, "", acmeclient.RenewalInfo{}, "no suggested window"},
		"half a window": {`{"suggestedWindow":{"start":"2026-01-02T00:00:00Z"}}`, "", acmeclient.RenewalInfo{}, "no suggested window"},
		"no times":      {`{"suggestedWindow":{"start":"now","end":"then"}}`, "", acmeclient.RenewalInfo{}, "no suggested window"},
		"html":          {`<html>`, "", acmeclient.RenewalInfo{}, "no suggested window"},
		"backwards":     {`{"suggestedWindow":{"start":"2026-01-03T00:00:00Z","end":"2026-01-02T00:00:00Z"}}`, "", acmeclient.RenewalInfo{}, "ends at 2026-01-02T00:00:00Z, not after"},
		"no time":       {`{"suggestedWindow":{"start":"2026-01-03T00:00:00Z","end":"2026-01-03T00:00:00Z"}}`, "", acmeclient.RenewalInfo{}, "not after"},
		"huge":          {`{"x":"` + strings.Repeat("x", 2<<20) + `"}`, "", acmeclient.RenewalInfo{}, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/dir", f.says(http.StatusOK, `{"newNonce":"$/nonce","newAccount":"$/account","newOrder":"$/new-order","renewalInfo":"$/ari/"}`))
			var headers []string
			if tt.retry != "" {
				headers = []string{"Retry-After: " + tt.retry}
			}
			f.on("/ari/AQ.Ag", f.says(http.StatusOK, tt.body, headers...))
			client := f.client(func(o *acmeclient.Options) { o.Now = func() time.Time { return now } })
			got, err := client.RenewalInfo(t.Context(), "AQ.Ag")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			tt.want.Start, tt.want.End = start, end
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestRenewalInfoRefusals(t *testing.T) {
	f := newFake(t)
	if _, err := f.client().RenewalInfo(t.Context(), "AQ.Ag"); !errors.Is(err, acmeclient.ErrNoRenewalInfo) {
		t.Errorf("a CA without it: %v", err)
	}
	f.on("/dir", f.says(http.StatusOK, `{"newNonce":"$/nonce","newAccount":"$/account","newOrder":"$/new-order","renewalInfo":"$/ari"}`))
	client := f.client()
	for _, id := range []string{"", "AQ", "AQ.", ".Ag", "AQ.Ag.Ag", "../x.Ag", "AQ==.Ag", "AQ.A/g=", "AQ\n.Ag"} {
		if _, err := client.RenewalInfo(t.Context(), id); err == nil || !strings.Contains(err.Error(), "not an identifier") {
			t.Errorf("%q: %v", id, err)
		}
	}
	f.on("/ari/AQ.Ag", inTurn(hangUp, hangUp, f.says(http.StatusBadGateway, ""), f.refuses(http.StatusTooManyRequests, "rateLimited", "Retry-After: 7200")))
	_, err := client.RenewalInfo(t.Context(), "AQ.Ag")
	if got := wantRefusal(t, err, http.StatusTooManyRequests, "rateLimited").RetryAfter; got != 2*time.Hour {
		t.Errorf("RetryAfter %v", got)
	}
	if len(f.posted("/ari/AQ.Ag")) != 0 {
		t.Error("the question was signed")
	}
}
