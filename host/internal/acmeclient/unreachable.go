package acmeclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/certwright/certwright/sdk"
)

// noAnswer is an error without an answer of the CA in it: nobody knows whether
// the request arrived.
type noAnswer struct{ error }

func (n *noAnswer) Unwrap() error { return n.error }

// unreachable says why no answer came, and what to do.
func unreachable(u *url.URL, err error) error {
	// net/http names the method and the whole URL once more.
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	err = sdk.WithCode(fmt.Errorf("no answer from %s: %w", u.Host, err), sdk.Unavailable)
	var unknown *net.DNSError
	hint := "check --server, the network and any proxy, then run it again"
	switch {
	case untrusted(err):
		hint = "give the root certificate of a private CA with --ca-bundle, or check --server"
	case plainHTTP(err):
		hint = "check the port in --server: what listens there does not speak HTTPS"
	case errors.As(err, &unknown):
		hint = "check the name in --server, and this machine's DNS"
	}
	return &noAnswer{sdk.Hint(err, "%s", hint)}
}

// untrusted says whether the other side has shown a certificate that we do not
// trust: waiting will not change that.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification)
}

// plainHTTP says whether the other side does not speak TLS.
func plainHTTP(err error) bool {
	var record tls.RecordHeaderError
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &record)
}

func badServer(server string) error {
	err := sdk.Problemf(sdk.InvalidConfig, "%q is not the address of a CA", server)
	return sdk.Hint(err, "give --server the https:// URL of an ACME directory, or a name such as letsencrypt")
}
