package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// challengePrefix is where http-01 is asked for (RFC 8555 section 8.3).
const challengePrefix = "/.well-known/acme-challenge/"

type settings struct {
	HTTPPort int    `setting:"http_port" default:"80" doc:"port on which http-01 is answered; the CA always asks port 80"`
	TLSPort  int    `setting:"tls_port" default:"443" doc:"port on which tls-alpn-01 is answered; the CA always asks port 443"`
	Address  string `setting:"address" doc:"the only IP address to listen on; empty: all of IPv6 and IPv4"`
}

// standalone is the authenticator. Its ports are shared by all orders of the
// process: each is open while there is something to answer on it.
type standalone struct {
	settings settings
	web      *port
	alpn     *port
}

var _ interface {
	sdk.Authenticator
	sdk.Configurer
} = (*standalone)(nil)

func newStandalone() *standalone {
	return &standalone{
		web:  newPort(sdk.HTTP01, "http_port", webServer),
		alpn: newPort(sdk.TLSALPN01, "tls_port", alpnServer),
	}
}

// Configure checks the settings; nothing is bound before Perform.
func (s *standalone) Configure(context.Context, sdk.Instance) error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	for _, p := range []struct {
		setting string
		number  int
	}{{"http_port", s.settings.HTTPPort}, {"tls_port", s.settings.TLSPort}} {
		if p.number < 1 || p.number > 65535 {
			wrong(p.setting, "use a port from 1 to 65535", "setting %s: %d is not a TCP port", p.setting, p.number)
		}
	}
	if s.settings.HTTPPort == s.settings.TLSPort {
		wrong("tls_port", "give http_port and tls_port different ports",
			"setting tls_port: port %d is that of http_port already, and one port cannot answer both", s.settings.TLSPort)
	}
	if a := s.settings.Address; a != "" {
		if _, err := netip.ParseAddr(a); err != nil {
			wrong("address", "use one IP address of this machine, or leave the setting out to listen on all",
				"setting address: %q is not an IP address", a)
		}
	}
	s.web.number, s.web.address = s.settings.HTTPPort, s.settings.Address
	s.alpn.number, s.alpn.address = s.settings.TLSPort, s.settings.Address
	return errors.Join(errs...)
}

// Perform answers the challenges from now on. Only the ports that they need
// are opened.
func (s *standalone) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	batches := map[*port][]entry{}
	for _, c := range challenges {
		p, e, err := s.entryOf(c)
		if err != nil {
			r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)})
			continue
		}
		batches[p] = append(batches[p], e)
	}
	owner := sdk.OperationFrom(ctx).Lineage
	for _, p := range []*port{s.web, s.alpn} {
		batch := batches[p]
		if len(batch) == 0 {
			continue
		}
		err := p.place(ctx, owner, batch, r)
		if ctx.Err() != nil {
			// Nobody waits for an answer any more: what this call opened is closed now.
			for _, p := range []*port{s.web, s.alpn} {
				p.remove(owner, keys(batches[p]))
			}
			return ctx.Err()
		}
		for _, e := range batch {
			r.Result(sdk.Result{Subject: e.id, Err: err})
		}
	}
	return nil
}

// Cleanup stops answering. A process that answers nothing, because the one that
// did is gone, has nothing to take away.
func (s *standalone) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	byPort := map[*port][]string{}
	for _, c := range challenges {
		switch c.Type {
		case sdk.HTTP01:
			byPort[s.web] = append(byPort[s.web], pathOf(c))
		case sdk.TLSALPN01:
			byPort[s.alpn] = append(byPort[s.alpn], serverNameOf(c))
		}
	}
	for p, keys := range byPort {
		p.remove(sdk.OperationFrom(ctx).Lineage, keys)
	}
	for _, c := range challenges {
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

// entryOf says on which port a challenge is answered, and with what.
func (s *standalone) entryOf(c sdk.Challenge) (*port, entry, error) {
	switch c.Type {
	case sdk.HTTP01:
		if c.HTTP == nil || !strings.HasPrefix(c.HTTP.Path, challengePrefix) || len(c.HTTP.Body) == 0 {
			return nil, entry{}, sdk.Problemf(sdk.Internal, "the host sent no path below %s with a body", challengePrefix)
		}
		return s.web, entry{id: c.ID, key: pathOf(c), proof: string(c.HTTP.Body)}, nil
	case sdk.TLSALPN01:
		if c.ALPN == nil || serverNameOf(c) == "" {
			return nil, entry{}, sdk.Problemf(sdk.Internal, "the host sent no certificate with a server name")
		}
		certificate, err := tls.X509KeyPair(c.ALPN.CertPEM, c.ALPN.KeyPEM)
		if err != nil {
			return nil, entry{}, sdk.Problemf(sdk.Internal, "read the challenge's certificate and key: %w", err)
		}
		e := entry{id: c.ID, key: serverNameOf(c), proof: c.KeyAuthorization, certificate: &certificate}
		if e.proof == "" {
			e.proof = string(c.ALPN.CertPEM)
		}
		return s.alpn, e, nil
	}
	err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this plugin answers http-01 and tls-alpn-01 only"))
	return nil, entry{}, sdk.Hint(err, "choose another authenticator for this name")
}

func pathOf(c sdk.Challenge) string {
	if c.HTTP != nil {
		return c.HTTP.Path
	}
	return challengePrefix + c.Token
}

// serverNameOf is the SNI value with which the CA will ask. Names are compared
// without case; an IP address is asked for by its reverse name (RFC 8738
// section 6), because SNI cannot carry an address.
func serverNameOf(c sdk.Challenge) string {
	name := c.Identifier.Value
	if c.ALPN != nil && c.ALPN.ServerName != "" {
		name = c.ALPN.ServerName
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return reverseName(ip)
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// reverseName is the name of RFC 1034 section 5.2.1 and RFC 3596 section 2.5.
func reverseName(ip netip.Addr) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	raw := ip.Unmap().AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if len(raw) == 4 {
			fmt.Fprintf(&b, "%d.", raw[i])
			continue
		}
		b.Write([]byte{digits[raw[i]&0xf], '.', digits[raw[i]>>4], '.'})
	}
	if len(raw) == 4 {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}
