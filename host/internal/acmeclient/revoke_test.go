package acmeclient_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

func TestRevocation(t *testing.T) {
	ca := startCA(t, testca.Options{NonceReject: 15, AlwaysValid: true})
	client := clientOf(t, ca, nil)
	ctx := bounded(t)
	account := p256(t)
	url := register(t, client, acmeclient.Registration{Key: account, TermsAgreed: true})
	first, firstKey := issued(ctx, t, client, "a.test")
	second, secondKey := issued(ctx, t, client, "b.test")

	wantRefused := func(what, kind string, err error) {
		t.Helper()
		if refused := new(model.ACMEError); !errors.As(err, &refused) || refused.Short() != kind || !strings.Contains(err.Error(), "revoking a certificate at "+ca.DirectoryURL()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantRefused("with another key", "unauthorized", client.RevokeWithKey(ctx, firstKey, second.Raw, 1))
	wantRefused("not a certificate of this CA", "malformed", client.Revoke(ctx, []byte("x"), 0))
	stranger := clientOf(t, ca, nil)
	if err := stranger.Revoke(ctx, first.Raw, 0); err == nil || !strings.Contains(err.Error(), "no account is set") {
		t.Errorf("without an account: %v", err)
	}
	register(t, stranger, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	wantRefused("by another account", "unauthorized", stranger.Revoke(ctx, first.Raw, 0))

	nobody := clientOf(t, ca, nil)
	for range 2 {
		if err := client.Revoke(ctx, first.Raw, 4); err != nil {
			t.Errorf("by account: %v", err)
		}
		if err := nobody.RevokeWithKey(ctx, secondKey, second.Raw, 1); err != nil {
			t.Errorf("by the certificate's key: %v", err)
		}
	}
	for certificate, want := range map[*x509.Certificate]int{first: 4, second: 1} {
		if reason, revoked := ca.Revoked(certificate.SerialNumber); !revoked || reason != want {
			t.Errorf("revoked %v for reason %d, want %d", revoked, reason, want)
		}
	}
	client.SetAccount(account, url)
	if err := client.Revoke(ctx, second.Raw, 0); err != nil {
		t.Errorf("revoked already, by somebody else: %v", err)
	}
}

func TestRevocationRequests(t *testing.T) {
	f := newFake(t)
	client := f.client()
	if err := client.Revoke(t.Context(), []byte("DER"), 0); err == nil || !strings.Contains(err.Error(), "does not offer") {
		t.Errorf("a CA without it: %v", err)
	}
	f.on("/dir", f.says(http.StatusOK, `{"newNonce":"$/nonce","newAccount":"$/account","newOrder":"$/new-order","revokeCert":"$/revoke"}`))
	f.on("/revoke", inTurn(hangUp, f.says(http.StatusBadGateway, ""), f.says(http.StatusOK, "")))
	client = f.client()
	if err := client.Revoke(t.Context(), []byte("DER"), 0); err != nil {
		t.Error(err)
	}
	if err := client.Revoke(t.Context(), []byte("DER"), 10); err != nil {
		t.Error(err)
	}
	unspecified := `{"certificate":"REVS"}`
	if diff := cmp.Diff([]string{unspecified, unspecified, unspecified, `{"certificate":"REVS","reason":10}`}, f.posted("/revoke")); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	for _, reason := range []int{-1, 7, 11} {
		if err := client.Revoke(t.Context(), []byte("DER"), reason); err == nil || !strings.Contains(err.Error(), "there is no reason") {
			t.Errorf("reason %d: %v", reason, err)
		}
	}
	var none crypto.Signer
	if err := client.RevokeWithKey(t.Context(), none, []byte("DER"), 1); err == nil || !strings.Contains(err.Error(), "no key was given") {
		t.Errorf("without a key: %v", err)
	}
	if got := f.count("/revoke"); got != 4 {
		t.Errorf("asked %d times", got)
	}
}
