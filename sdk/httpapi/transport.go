package httpapi

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// PinError is a server whose certificate is not the pinned one.
type PinError struct {
	// Got is the SHA-256 of the certificate that was shown, in hex.
	Got string
}

func (e *PinError) Error() string {
	return "the server shows the certificate with the SHA-256 " + e.Got + ", not the pinned one"
}

func transport(o Options, host string) (*http.Transport, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		content, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, sdk.Problemf(sdk.InvalidConfig, "read the CA file: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(content) {
			return nil, sdk.Hint(sdk.Problemf(sdk.InvalidConfig, "read the CA file %s: no certificate in PEM form is in it", o.CAFile),
				"name a file with one or more BEGIN CERTIFICATE blocks")
		}
	}
	accept := chain(settings.RootCAs, host)
	if o.Fingerprint != "" {
		pin, err := hex.DecodeString(strings.ReplaceAll(o.Fingerprint, ":", ""))
		if err != nil || len(pin) != sha256.Size {
			return nil, sdk.Hint(sdk.Problemf(sdk.InvalidConfig, "pin the fingerprint %q: it is no SHA-256 in hex", o.Fingerprint),
				"take it from: openssl x509 -noout -fingerprint -sha256 -in CERTIFICATE")
		}
		// The pin says more than a chain would: this certificate and no other.
		accept = func(state tls.ConnectionState) error {
			if got := fingerprint(state); got != hex.EncodeToString(pin) {
				return &PinError{Got: got}
			}
			return nil
		}
	}
	if o.Fingerprint != "" || o.Also != nil {
		settings.InsecureSkipVerify = true
		settings.VerifyConnection = func(state tls.ConnectionState) error {
			if o.Also != nil && o.Also(fingerprint(state)) {
				return nil
			}
			return accept(state)
		}
	}
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("http.DefaultTransport was replaced")
	}
	t := standard.Clone()
	t.TLSClientConfig = settings
	return t, nil
}

func fingerprint(state tls.ConnectionState) string {
	sum := sha256.Sum256(state.PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}

// chain verifies as crypto/tls does by itself; nil: the system's roots. A
// connection to an address has no server name: then host is what the certificate
// must be for. Without any name Verify would not look at names at all.
func chain(roots *x509.CertPool, host string) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		intermediates := x509.NewCertPool()
		for _, c := range state.PeerCertificates[1:] {
			intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: cmp.Or(state.ServerName, host), Intermediates: intermediates})
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}

// trust gives the hint for a certificate that is not trusted, nothing for other
// errors.
func trust(err error) string {
	var pin *PinError
	var chain *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pin):
		return "compare that fingerprint with the server's own; if it was renewed, pin the new one"
	case errors.As(err, &chain):
		return "name the CA of the server's certificate, or pin its fingerprint, in the settings"
	}
	return ""
}

// plain drops method and address, which url.Error repeats.
func plain(err error) error {
	var wrapped *url.Error
	if !errors.As(err, &wrapped) {
		return err
	}
	if wrapped.Timeout() {
		return fmt.Errorf("no answer in time: %w", wrapped.Err)
	}
	return wrapped.Err
}
