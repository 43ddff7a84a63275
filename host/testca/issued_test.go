package testca_test

import (
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/acme"

	"github.com/certwright/certwright/host/testca"
)

func TestIssuedCertificates(t *testing.T) {
	answers, port := serveAnswers(t)
	ca := start(t, testca.Options{HTTPPort: port})
	client := account(t, ca)
	leaf := issue(t, client, answers, "a.test")[0]

	// The serials of Pebble are positive and may need a leading zero in DER.
	serial := leaf.SerialNumber.Bytes()
	if serial[0] >= 0x80 {
		serial = append([]byte{0}, serial...)
	}
	id := base64.RawURLEncoding.EncodeToString(leaf.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(serial)
	info := func() string {
		t.Helper()
		response, err := httpClient(t, ca).Get(strings.TrimSuffix(ca.DirectoryURL(), "/dir") + "/draft-ietf-acme-ari-03/renewalInfo/" + id)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%d %s, %v", response.StatusCode, body, err)
		}
		return string(body)
	}
	if got := info(); !strings.Contains(got, "suggestedWindow") {
		t.Errorf("renewal information: %s", got)
	}
	if err := ca.SetRenewalInfo(leaf.SerialNumber, "ours"); err != nil {
		t.Fatal(err)
	}
	if got := info(); got != "ours" {
		t.Errorf("renewal information: %s", got)
	}
	if err := ca.SetRenewalInfo(big.NewInt(1), "ours"); err == nil || !strings.Contains(err.Error(), "renewal information of 1") {
		t.Errorf("renewal information of an unknown certificate: %v", err)
	}

	if _, revoked := ca.Revoked(leaf.SerialNumber); revoked {
		t.Error("a new certificate is revoked")
	}
	if err := client.RevokeCert(deadline(t), nil, leaf.Raw, acme.CRLReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	if reason, revoked := ca.Revoked(leaf.SerialNumber); !revoked || reason != 4 {
		t.Errorf("revoked %v, reason %d", revoked, reason)
	}
}
