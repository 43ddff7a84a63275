package order

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

func caRefused(kind, detail string) error {
	return &model.ACMEError{Type: "urn:ietf:params:acme:error:" + kind, Detail: detail}
}

func nameFailed(name, instance, challenge string, err error) Failure {
	return Failure{Identifier: model.Identifier{Type: "dns", Value: name}, Instance: instance, Type: challenge, Err: err}
}

func TestFailedError(t *testing.T) {
	closed := caRefused("connection", "connection refused")
	err := &FailedError{[]Failure{
		nameFailed("z.test", "web", sdk.HTTP01, caRefused("unauthorized", "404")),
		nameFailed("m.test", "web", sdk.HTTP01, fmt.Errorf("wait for the validation: %w", closed)),
		nameFailed("b.test", "dns-a", sdk.DNS01, caRefused("unauthorized", "wrong TXT")),
		nameFailed("a.test", "", "", errors.New("no authenticator is named for it")),
		nameFailed("d.test", "dns-a", sdk.DNS01, errors.New("its process was killed")),
		nameFailed("c.test", "dns-a", sdk.DNS01, sdk.Problemf(sdk.Credentials, "set the record: %s", "the token\nis wrong")),
	}}
	want := `6 names could not be proven
  connection:
    m.test (http-01 by web): connection refused
  credentials:
    c.test (dns-01 by dns-a): set the record: the token
      is wrong
  not tried:
    a.test: no authenticator is named for it
  plugin failure:
    d.test (dns-01 by dns-a): its process was killed
  unauthorized:
    b.test (dns-01 by dns-a): wrong TXT
    z.test (http-01 by web): 404`
	if got := err.Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if !errors.Is(err, closed) {
		t.Error("a cause is lost")
	}
	if got := (&FailedError{err.Failures[:1]}).Error(); !strings.HasPrefix(got, "1 name could not be proven\n") {
		t.Error(got)
	}
}

func TestFailedHint(t *testing.T) {
	no := caRefused("unauthorized", "x")
	for want, failures := range map[string][]Failure{
		"": {nameFailed("a.test", "", "", errors.New("x"))},
		"make sure that http://a.test/ leads from the internet to port 80 of what the instance web serves": {
			nameFailed("z.test", "", "", errors.New("x")), nameFailed("a.test", "web", sdk.HTTP01, no), nameFailed("b.test", "d", sdk.DNS01, no),
		},
		"make sure that port 443 of a.test leads from the internet to what the instance web serves, with no TLS proxy between": {nameFailed("a.test", "web", sdk.TLSALPN01, no)},
		"look whether the TXT record _acme-challenge.a.test is what the instance d writes, at every name server of the zone":   {nameFailed("a.test", "d", sdk.DNS01, no)},
		"make a new token": {nameFailed("a.test", "web", sdk.HTTP01, no), nameFailed("b.test", "d", sdk.DNS01, sdk.Hint(errors.New("x"), "make a new token"))},
	} {
		if got := (&FailedError{failures}).Hint(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestFailureOf(t *testing.T) {
	why := &model.ACMEError{Detail: "404"}
	if err := failureOf(model.Authorization{Status: "invalid", Challenges: []model.ACMEChallenge{{}, {Error: why}}}); !errors.Is(err, why) {
		t.Error(err)
	}
	if err := failureOf(model.Authorization{Status: "expired"}); err == nil || err.Error() != "the authorization is expired, and the CA does not say why" {
		t.Error(err)
	}
}
