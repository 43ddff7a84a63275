package testca

import (
	"context"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxAliases ends a chain of CNAMEs that goes round in circles.
	maxAliases = 8
	// forwardTimeout is less than the 15 s that Pebble's validator waits.
	forwardTimeout = 5 * time.Second
)

// answer is the handler of one question.
func (d *DNS) answer(ctx context.Context, w dns.ResponseWriter, question *dns.Msg) {
	reply := new(dns.Msg).SetReply(question)
	reply.RecursionAvailable = true
	if len(question.Question) == 1 {
		q := question.Question[0]
		reply.Answer, reply.Ns, reply.Rcode = d.resolve(ctx, q.Name, q.Qtype)
		reply.Authoritative = d.zoneOf(q.Name) != ""
	} else {
		reply.Rcode = dns.RcodeFormatError
	}
	if w.RemoteAddr().Network() == "udp" {
		reply.Truncate(udpSize(question))
	}
	// The asker has gone if this fails; he asks again.
	_ = w.WriteMsg(reply)
}

func udpSize(question *dns.Msg) int {
	if opt := question.IsEdns0(); opt != nil {
		return max(int(opt.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

// resolve answers as a recursive resolver does: aliases first, then the records
// of the name at their end, or else what proves that there are none.
func (d *DNS) resolve(ctx context.Context, name string, qtype uint16) (answer, proof []dns.RR, rcode int) {
	for range maxAliases {
		records, proof, rcode := d.lookup(ctx, name, qtype)
		answer = append(answer, records...)
		target := ""
		for _, rr := range records {
			if rr.Header().Rrtype == qtype {
				return answer, nil, rcode
			}
			if alias, ok := rr.(*dns.CNAME); ok {
				target = alias.Target
			}
		}
		if target == "" || rcode != dns.RcodeSuccess {
			return answer, proof, rcode
		}
		name = target
	}
	return answer, nil, dns.RcodeServerFailure
}

// lookup finds what is known of one name, here or where its zone is.
func (d *DNS) lookup(ctx context.Context, name string, qtype uint16) (answer, proof []dns.RR, rcode int) {
	zone := d.zoneOf(name)
	if addr := d.forwardedTo(name); addr != "" {
		return forward(ctx, addr, name, qtype)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.names[dns.CanonicalName(name)]
	if e == nil {
		e = &entry{}
	}
	if e.servfail {
		return nil, nil, dns.RcodeServerFailure
	}
	if answer = e.records(name, qtype); len(answer) > 0 || zone == "" {
		return answer, nil, dns.RcodeSuccess
	}
	if dns.CanonicalName(name) == zone {
		answer = ofApex(zone, qtype)
	}
	if len(answer) == 0 {
		proof = ofApex(zone, dns.TypeSOA)
	}
	return answer, proof, dns.RcodeSuccess
}

// ofApex are the records that make a zone.
func ofApex(zone string, qtype uint16) []dns.RR {
	header := dns.RR_Header{Name: zone, Rrtype: qtype, Class: dns.ClassINET}
	switch qtype {
	case dns.TypeSOA:
		return []dns.RR{&dns.SOA{Hdr: header, Ns: "ns." + zone, Mbox: "hostmaster." + zone, Serial: 1}}
	case dns.TypeNS:
		return []dns.RR{&dns.NS{Hdr: header, Ns: "ns." + zone}}
	}
	return nil
}

// zoneOf gives the zone that this server itself holds and a name is in; empty:
// there is none.
func (d *DNS) zoneOf(name string) string {
	if d.forwardedTo(name) != "" {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	best := ""
	for zone := range d.own {
		if dns.IsSubDomain(zone, dns.CanonicalName(name)) && len(zone) > len(best) {
			best = zone
		}
	}
	return best
}

func (d *DNS) forwardedTo(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	best, addr := "", ""
	for zone, server := range d.zones {
		if dns.IsSubDomain(zone, dns.CanonicalName(name)) && len(zone) > len(best) {
			best, addr = zone, server
		}
	}
	return addr
}

// forward asks over UDP, and again over TCP if the answer did not fit.
func forward(ctx context.Context, addr, name string, qtype uint16) (answer, proof []dns.RR, rcode int) {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	reply, _, err := new(dns.Client).ExchangeContext(ctx, question, addr)
	if err == nil && reply.Truncated {
		reply, _, err = (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, question, addr)
	}
	if err != nil {
		return nil, nil, dns.RcodeServerFailure
	}
	return reply.Answer, reply.Ns, reply.Rcode
}

// records are those of an entry for a question, in the spelling of the question.
func (e *entry) records(name string, qtype uint16) []dns.RR {
	header := func(rrtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: dns.Fqdn(name), Rrtype: rrtype, Class: dns.ClassINET}
	}
	if e.cname != "" {
		return []dns.RR{&dns.CNAME{Hdr: header(dns.TypeCNAME), Target: dns.Fqdn(e.cname)}}
	}
	var out []dns.RR
	switch qtype {
	case dns.TypeA:
		addrs := e.a
		if addrs == nil {
			addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		}
		for _, a := range addrs {
			out = append(out, &dns.A{Hdr: header(dns.TypeA), A: a.AsSlice()})
		}
	case dns.TypeAAAA:
		for _, a := range e.aaaa {
			out = append(out, &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	case dns.TypeTXT:
		for _, value := range e.txt {
			out = append(out, &dns.TXT{Hdr: header(dns.TypeTXT), Txt: pieces(value)})
		}
	}
	return out
}

// pieces cuts a value into strings of at most 255 bytes (RFC 1035 section 3.3).
func pieces(value string) []string {
	out := []string{}
	for len(value) > 255 {
		out = append(out, value[:255])
		value = value[255:]
	}
	return append(out, value)
}
