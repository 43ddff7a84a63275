package dnswait

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// alias gives what a name is a CNAME for, by a reply; empty: it is none.
func alias(reply *dns.Msg, name string) string {
	for _, rr := range reply.Answer {
		if c, ok := rr.(*dns.CNAME); ok && same(c.Hdr.Name, name) {
			return canonical(c.Target)
		}
	}
	return ""
}

// apex gives the zone that holds a name, by a reply to a question for its SOA:
// the owner of the SOA in the answer, or of that which proves that there is none
// (RFC 2308 section 3). Those of other names, reached by an alias, say nothing.
func apex(reply *dns.Msg, name string) string {
	if alias(reply, name) != "" {
		return ""
	}
	for _, rr := range slices.Concat(reply.Answer, reply.Ns) {
		if soa, ok := rr.(*dns.SOA); ok && within(soa.Hdr.Name, name) {
			return canonical(soa.Hdr.Name)
		}
	}
	return ""
}

// referral gives the zone below this one that a server says others hold, and
// their names (RFC 1034 section 4.3.2).
func referral(reply *dns.Msg, zone, name string) (child string, servers []string) {
	if reply.Authoritative || reply.Rcode != dns.RcodeSuccess || len(reply.Answer) > 0 {
		return "", nil
	}
	for _, rr := range reply.Ns {
		ns, ok := rr.(*dns.NS)
		if !ok || !within(ns.Hdr.Name, name) || same(ns.Hdr.Name, zone) || !within(zone, ns.Hdr.Name) {
			continue
		}
		child = canonical(ns.Hdr.Name)
		servers = append(servers, canonical(ns.Ns))
	}
	return child, servers
}

// refers gives the zone that a server which was asked as a resolver, and is
// none, refers to; empty: it has an answer.
func refers(reply *dns.Msg, name string) string {
	if reply == nil || reply.RecursionAvailable {
		return ""
	}
	child, _ := referral(reply, "", name)
	return child
}

// glue gives the addresses that came along.
func glue(reply *dns.Msg, server string) []string {
	var out []string
	for _, rr := range reply.Extra {
		out = append(out, addressOf(rr, server)...)
	}
	return out
}

func addressOf(rr dns.RR, server string) []string {
	switch rr := rr.(type) {
	case *dns.A:
		if server == "" || same(rr.Hdr.Name, server) {
			return []string{rr.A.String()}
		}
	case *dns.AAAA:
		if server == "" || same(rr.Hdr.Name, server) {
			return []string{rr.AAAA.String()}
		}
	}
	return nil
}

// texts gives the values of a name. A value may be cut into several strings
// (RFC 1035 section 3.3.14), which the CA puts together as well.
func texts(reply *dns.Msg, name string) []string {
	owner := name
	for range maxAliases {
		next := alias(reply, owner)
		if next == "" {
			break
		}
		owner = next
	}
	var out []string
	for _, rr := range reply.Answer {
		if t, ok := rr.(*dns.TXT); ok && same(t.Hdr.Name, owner) {
			out = append(out, strings.Join(t.Txt, ""))
		}
	}
	return out
}

// lacking gives the values that are not among those shown.
func lacking(want, shown []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(v string) bool { return slices.Contains(shown, v) })
}

// remembered is how long a resolver will go on giving this answer: by the
// records, or by the SOA that came with a negative one (RFC 2308 section 5).
func remembered(reply *dns.Msg) time.Duration {
	var least uint32
	var found bool
	note := func(ttl uint32) {
		if !found || ttl < least {
			least, found = ttl, true
		}
	}
	for _, rr := range reply.Answer {
		note(rr.Header().Ttl)
	}
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			note(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return time.Duration(least) * time.Second
}

// lame says why an answer of an authoritative server is none; nil: it is one.
func lame(reply *dns.Msg) error {
	switch {
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return fmt.Errorf("it says %s", rcode(reply))
	case !reply.Authoritative:
		return errors.New("it does not hold the zone (its answer is not authoritative)")
	}
	return nil
}
