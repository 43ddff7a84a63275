package sdk

import (
	"context"
	"fmt"
	"time"
)

// Challenge types of RFC 8555 section 8, RFC 8737 and
// draft-ietf-acme-dns-account-label. Others may appear; a plugin gets only the
// types that its description names.
const (
	HTTP01       = "http-01"
	DNS01        = "dns-01"
	TLSALPN01    = "tls-alpn-01"
	DNSAccount01 = "dns-account-01"
)

// Challenge is one proof that the CA asks for. The host has computed all of it.
type Challenge struct {
	// ID names the challenge in results. It is unique in an order.
	ID string
	// Type is "http-01", "dns-01", "tls-alpn-01", ...
	Type       string
	Identifier Identifier
	// Token and KeyAuthorization are those of RFC 8555 section 8.1.
	Token            string
	KeyAuthorization string
	// HTTP is set for http-01, DNS for dns-01 and dns-account-01, ALPN for
	// tls-alpn-01.
	HTTP *HTTPChallenge
	DNS  *DNSChallenge
	ALPN *ALPNChallenge
	// RawJSON is the challenge object as the CA sent it.
	RawJSON []byte
	// Receipt is what Perform reported, in Cleanup only. It may be empty even
	// if Perform reported one.
	Receipt []byte
}

// HTTPChallenge is the resource to serve on port 80 (RFC 8555 section 8.3).
type HTTPChallenge struct {
	// Path is "/.well-known/acme-challenge/" and the token.
	Path string
	Body []byte
}

// DNSChallenge is the TXT record to publish (RFC 8555 section 8.4).
type DNSChallenge struct {
	// Name is where the record goes, CNAMEs followed, without the final dot.
	Name  string
	Value string
	// Zone is the zone that holds Name; empty for plugins that find it
	// themselves ([SelfDNS]).
	Zone string
	// TTL is advice. Zero: the shortest that the provider allows.
	TTL time.Duration
}

// ALPNChallenge is the certificate to present to a client that offers the
// protocol "acme-tls/1" (RFC 8737).
type ALPNChallenge struct {
	ServerName string
	CertPEM    []byte
	KeyPEM     []byte
}

// Authenticator proves control of identifiers.
type Authenticator interface {
	// Perform puts the responses in place. One call carries every challenge of
	// an order that this instance was chosen for. It MUST report each one with
	// Reporter.Result as soon as it is in place. What fails is reported with
	// an Err, or all that was not reported fails with the error returned. The
	// same operation again (see OperationFrom) MUST leave no duplicate. It ends
	// within 5 s when the context is done.
	Perform(context.Context, []Challenge, Reporter) error
	// Cleanup takes them away. It MUST work from the challenge alone, in a new
	// process, after a Perform that failed half way or never ran; "already
	// gone" is success. What is not reported when it returns nil is taken as
	// removed.
	Cleanup(context.Context, []Challenge, Reporter) error
}

// Preferrer is an Authenticator that knows, before there is an order, which
// names it can serve.
type Preferrer interface {
	// Prefer answers for each identifier, in the order given.
	Prefer(context.Context, []Identifier) ([]Preference, error)
}

// Preference is the answer for one identifier.
type Preference struct {
	Identifier Identifier
	// ChallengeTypes, most preferred first. Empty with a nil Err: the types of
	// the description.
	ChallengeTypes []string
	// Err says why the identifier cannot be served ("not my zone").
	Err error
}

// Each handles one challenge at a time; see [OneByOne].
type Each interface {
	// PerformOne puts one response in place and returns a receipt, or nil. The
	// obligations are those of Authenticator.Perform.
	PerformOne(context.Context, Challenge) (receipt []byte, err error)
	// CleanupOne takes it away; "already gone" is success.
	CleanupOne(context.Context, Challenge) error
}

// OneByOne makes an Authenticator of an author who wants no batch. Challenges
// are handled one after the other, so it is safe without locks within a call;
// one that fails does not stop the others.
func OneByOne(e Each) Authenticator { return oneByOne{e} }

type oneByOne struct{ Each }

func (o oneByOne) unwrap() any { return o.Each }

func (o oneByOne) Perform(ctx context.Context, challenges []Challenge, r Reporter) error {
	for _, c := range challenges {
		if err := ctx.Err(); err != nil {
			return err
		}
		var receipt []byte
		err := guarded(func() (err error) {
			receipt, err = o.PerformOne(ctx, c)
			return err
		})
		r.Result(Result{Subject: c.ID, Receipt: receipt, Err: forChallenge(err, c)})
	}
	return nil
}

func (o oneByOne) Cleanup(ctx context.Context, challenges []Challenge, r Reporter) error {
	for _, c := range challenges {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := guarded(func() error { return o.CleanupOne(ctx, c) })
		r.Result(Result{Subject: c.ID, Err: forChallenge(err, c)})
	}
	return nil
}

func forChallenge(err error, c Challenge) error {
	if err == nil {
		return nil
	}
	return Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)
}
