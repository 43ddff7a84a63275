package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Server        string        `setting:"server,required" doc:"name server that takes updates of the zones, the primary as a rule: host or host:port"`
	TSIGName      string        `setting:"tsig_name" doc:"name of the TSIG key; without one, updates are not signed"`
	TSIGSecret    sdk.Secret    `setting:"tsig_secret" doc:"secret of the TSIG key, base64 as the server's configuration has it"`
	TSIGAlgorithm string        `setting:"tsig_algorithm" default:"hmac-sha256" choices:"hmac-sha1,hmac-sha224,hmac-sha256,hmac-sha384,hmac-sha512" doc:"algorithm of the TSIG key"`
	TTL           time.Duration `setting:"ttl" default:"60s" doc:"time to live of the records"`
	Timeout       time.Duration `setting:"timeout" default:"10s" doc:"how long the server may take for one update, over UDP and TCP together"`
	Protocol      string        `setting:"protocol" default:"udp" choices:"udp,tcp" doc:"udp turns to TCP where UDP does not do; tcp never uses UDP"`
}

// rfc2136 is the provider of DNS.
type rfc2136 struct {
	settings settings
	client   client
}

var _ interface {
	sdk.DNSProvider
	sdk.Configurer
} = (*rfc2136)(nil)

// Configure checks the settings; it asks nobody.
func (r *rfc2136) Configure(context.Context, sdk.Instance) error {
	client, err := clientOf(r.settings)
	if err != nil {
		return err
	}
	r.client = client
	return nil
}

// SetTXT adds one value. A record that is there already is not added again by any
// server (RFC 2136 section 3.4.2.2), so there is nothing to remember.
func (r *rfc2136) SetTXT(ctx context.Context, txt sdk.TXT) ([]byte, error) {
	record, err := recordOf(txt, r.settings.TTL)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg).SetUpdate(dns.Fqdn(txt.Zone))
	m.Insert([]dns.RR{record})
	what := fmt.Sprintf("add a TXT value to %s in zone %s at %s", txt.Name, txt.Zone, r.client.server)
	return nil, r.client.update(ctx, m, txt.Zone, what)
}

// DeleteTXT deletes that one value and leaves the others alone (RFC 2136 section
// 2.5.4). A server takes a value that is not there as deleted.
func (r *rfc2136) DeleteTXT(ctx context.Context, txt sdk.TXT) error {
	record, err := recordOf(txt, 0)
	if err != nil {
		return err
	}
	m := new(dns.Msg).SetUpdate(dns.Fqdn(txt.Zone))
	m.Remove([]dns.RR{record})
	what := fmt.Sprintf("delete a TXT value of %s in zone %s at %s", txt.Name, txt.Zone, r.client.server)
	return r.client.update(ctx, m, txt.Zone, what)
}

// recordOf gives the record of one value. The host's advice on the TTL is not
// asked: the setting has a default.
func recordOf(txt sdk.TXT, ttl time.Duration) (*dns.TXT, error) {
	for _, name := range []string{txt.Zone, txt.Name} {
		if _, ok := dns.IsDomainName(name); !ok || name == "" {
			return nil, sdk.Permanent(sdk.Problemf(sdk.Internal,
				"the host asked for a record %q in the zone %q: %q is not a domain name", txt.Name, txt.Zone, name))
		}
	}
	return &dns.TXT{
		Hdr: dns.RR_Header{
			Name: dns.Fqdn(txt.Name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(ttl / time.Second),
		},
		Txt: characterStrings(txt.Value),
	}, nil
}

// characterStrings cuts a value into pieces of at most 255 bytes (RFC 1035
// section 3.3) and writes them as the library wants them: its texts are those
// of a zone file, where a backslash escapes.
func characterStrings(value string) []string {
	const most = 255
	var out []string
	for len(value) > most {
		out = append(out, value[:most])
		value = value[most:]
	}
	out = append(out, value)
	for i, s := range out {
		out[i] = strings.ReplaceAll(s, `\`, `\\`)
	}
	return out
}
