package plugintest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

// openDNS starts a name server for the zone, which takes updates (RFC 2136),
// unsigned or signed by the world's key, over UDP and TCP at one port.
func (w *world) openDNS() (string, error) {
	listener, packets, err := bothPorts()
	if err != nil {
		return "", err
	}
	for _, server := range []*dns.Server{
		{Listener: listener, Net: "tcp"}, {PacketConn: packets, Net: "udp"},
	} {
		server.Handler = dns.HandlerFunc(w.serveDNS)
		server.TsigSecret = map[string]string{tsigName: tsigSecret}
		server.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		started, ended := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			_ = server.ActivateAndServe()
		}()
		<-started
		w.closers = append(w.closers, func() {
			_ = server.Shutdown()
			<-ended
		})
	}
	return listener.Addr().String(), nil
}

func bothPorts() (net.Listener, net.PacketConn, error) {
	for range 50 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packets, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", listener.Addr().String())
		if err == nil {
			return listener, packets, nil
		}
		_ = listener.Close() // another has the UDP port of this number
	}
	return nil, nil, errNoPort
}

func (w *world) serveDNS(rw dns.ResponseWriter, r *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(r)
	update := r.Opcode == dns.OpcodeUpdate
	m := w.faults.meet(update)
	send := func() {
		if r.IsTsig() != nil && rw.TsigStatus() == nil {
			answer.SetTsig(tsigName, r.IsTsig().Algorithm, 300, int64(r.IsTsig().TimeSigned))
		}
		_ = rw.WriteMsg(answer)
	}
	fail := func() {
		m.met()
		if _, tcp := rw.RemoteAddr().(*net.TCPAddr); tcp && m.kind != unavailable && m.kind != limited {
			_ = rw.Close()
			return
		}
		answer.Rcode = dns.RcodeServerFailure // a datagram that gets none is a matter of waiting only
		send()
	}
	switch m.kind {
	case limited, unavailable, cutOff:
		fail()
		return
	case slow:
		m.met()
		m.wait(context.Background())
	case held:
		m.met()
		m.wait(context.Background())
		return
	}
	w.act(r, rw.TsigStatus(), answer)
	switch m.kind {
	case lostAnswer:
		fail()
	case doneAndHeld:
		m.met()
		m.wait(context.Background())
	default:
		send()
	}
}

// act does what a request says.
func (w *world) act(r *dns.Msg, signature error, answer *dns.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(r.Question) != 1:
		answer.Rcode = dns.RcodeFormatError
	case r.IsTsig() != nil && signature != nil:
		answer.Rcode = dns.RcodeNotAuth
	case r.Opcode == dns.OpcodeUpdate && !strings.EqualFold(r.Question[0].Name, w.zone):
		answer.Rcode = dns.RcodeNotAuth
	case r.Opcode == dns.OpcodeUpdate:
		for _, rr := range r.Ns {
			w.update(rr)
		}
	case r.Opcode == dns.OpcodeQuery:
		w.lookUp(r.Question[0], answer)
	default:
		answer.Rcode = dns.RcodeNotImplemented
	}
}

// update changes the zone by one record of an update (RFC 2136 section 2.5).
func (w *world) update(rr dns.RR) {
	h := rr.Header()
	name := strings.ToLower(h.Name)
	if !dns.IsSubDomain(w.zone, name) {
		return
	}
	switch h.Class {
	case dns.ClassANY:
		w.records[name] = slices.DeleteFunc(w.records[name], func(have dns.RR) bool {
			return h.Rrtype == dns.TypeANY || have.Header().Rrtype == h.Rrtype
		})
	case dns.ClassNONE:
		w.records[name] = slices.DeleteFunc(w.records[name], func(have dns.RR) bool { return sameData(have, rr) })
	default:
		if !slices.ContainsFunc(w.records[name], func(have dns.RR) bool { return sameData(have, rr) }) {
			w.records[name] = append(w.records[name], rr)
		}
	}
}

// sameData compares type and data; class and time to live do not matter.
func sameData(a, b dns.RR) bool {
	a, b = dns.Copy(a), dns.Copy(b)
	b.Header().Class = a.Header().Class
	return dns.IsDuplicate(a, b)
}

func (w *world) lookUp(q dns.Question, answer *dns.Msg) {
	name := strings.ToLower(q.Name)
	if !dns.IsSubDomain(w.zone, name) {
		answer.Rcode = dns.RcodeRefused
		return
	}
	answer.Authoritative = true
	soa := &dns.SOA{
		Hdr: dns.RR_Header{Name: w.zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 1},
		Ns:  "ns." + w.zone, Mbox: "hostmaster." + w.zone, Serial: 1, Refresh: 60, Retry: 60, Expire: 60, Minttl: 1,
	}
	for _, rr := range w.records[name] {
		if q.Qtype == dns.TypeANY || rr.Header().Rrtype == q.Qtype {
			answer.Answer = append(answer.Answer, rr)
		}
	}
	switch {
	case len(answer.Answer) > 0:
	case name == w.zone && q.Qtype == dns.TypeSOA:
		answer.Answer = []dns.RR{soa}
	case name == w.zone && q.Qtype == dns.TypeNS:
		answer.Answer = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: w.zone, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 1}, Ns: "ns." + w.zone}}
	default:
		if name != w.zone && len(w.records[name]) == 0 {
			answer.Rcode = dns.RcodeNameError
		}
		answer.Ns = []dns.RR{soa}
	}
}

// count makes the world a view for dns-01 that no fault disturbs.
func (w *world) count(_ context.Context, c sdk.Challenge) (int, string) {
	values := w.values(c.DNS.Name)
	n := 0
	for _, value := range values {
		if value == c.DNS.Value {
			n++
		}
	}
	return n, fmt.Sprintf("the name server has TXT %s %q", c.DNS.Name, values)
}

func (w *world) settles() bool { return false }

func (w *world) values(name string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, rr := range w.records[strings.ToLower(dns.Fqdn(name))] {
		if txt, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(txt.Txt, ""))
		}
	}
	return out
}

// add puts a record there that is another's.
func (w *world) add(rr dns.RR) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.update(rr)
}

// zoneText is all that the name server holds, sorted.
func (w *world) zoneText() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, records := range w.records {
		for _, rr := range records {
			out = append(out, rr.String())
		}
	}
	slices.Sort(out)
	return out
}
