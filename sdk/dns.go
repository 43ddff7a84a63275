package sdk

import (
	"context"
	"strings"
	"time"
)

// TXT is one value of one TXT record set.
type TXT struct {
	// Zone is the zone that holds the record, without the final dot. The host
	// has found it.
	Zone string
	// Name is the full name of the record, without the final dot.
	Name string
	// Value is the text, unquoted. Other values of the same name MUST be left
	// alone: they belong to other challenges.
	Value string
	// TTL is advice. Zero: the shortest that the provider allows.
	TTL time.Duration
	// Receipt is what set returned, in delete only; it may be lost.
	Receipt []byte
}

// Relative is Name without Zone: "_acme-challenge.www", or "@" for the zone
// itself.
func (t TXT) Relative() string {
	if strings.EqualFold(t.Name, t.Zone) {
		return "@"
	}
	return strings.TrimSuffix(t.Name, "."+t.Zone)
}

// DNSProvider is a DNS API, as a type: the obligations are those of the functions
// of [DNS]. It may also implement Preferrer, Configurer and HealthChecker.
type DNSProvider interface {
	SetTXT(context.Context, TXT) (receipt []byte, err error)
	DeleteTXT(context.Context, TXT) error
}

// DNSOf makes an Authenticator for dns-01 and dns-account-01 of a provider; see
// [DNS].
func DNSOf(p DNSProvider) Authenticator {
	return dnsAuthenticator{oneByOne: oneByOne{txtRecords{p.SetTXT, p.DeleteTXT}}, provider: p}
}

// DNS makes an Authenticator for dns-01 and dns-account-01 of two functions, which
// are the same for both: the host computes name and value. set adds one value to
// a record set and may return a receipt, for instance a record's ID; adding a
// value that is there already is success. delete removes that one value; a
// value that is not there is success. Neither waits for propagation and neither
// searches a zone: the host does both, for all names together.
func DNS(
	set func(context.Context, TXT) (receipt []byte, err error),
	remove func(context.Context, TXT) error,
) Authenticator {
	return dnsAuthenticator{oneByOne: oneByOne{txtRecords{set, remove}}}
}

type dnsAuthenticator struct {
	oneByOne
	// provider is nil for DNS.
	provider DNSProvider
}

func (d dnsAuthenticator) unwrap() any {
	if d.provider != nil {
		return d.provider
	}
	return d.oneByOne.unwrap()
}

type txtRecords struct {
	set    func(context.Context, TXT) ([]byte, error)
	remove func(context.Context, TXT) error
}

func (t txtRecords) PerformOne(ctx context.Context, c Challenge) ([]byte, error) {
	txt, err := txtOf(c)
	if err != nil {
		return nil, err
	}
	return t.set(ctx, txt)
}

func (t txtRecords) CleanupOne(ctx context.Context, c Challenge) error {
	txt, err := txtOf(c)
	if err != nil {
		return err
	}
	return t.remove(ctx, txt)
}

func txtOf(c Challenge) (TXT, error) {
	if c.DNS == nil {
		return TXT{}, Permanent(Problemf(Unsupported, "a challenge of type %s has no DNS record", c.Type))
	}
	return TXT{Zone: c.DNS.Zone, Name: c.DNS.Name, Value: c.DNS.Value, TTL: c.DNS.TTL, Receipt: c.Receipt}, nil
}
