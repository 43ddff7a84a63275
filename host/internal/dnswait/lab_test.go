package dnswait

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a small internet: authoritative servers at addresses of their own and
// one common port, and a resolver that knows every zone.
type lab struct {
	t        *testing.T
	port     int
	zones    []*zone
	resolver *server

	mu       sync.Mutex
	progress []string
	// remembers makes the resolver keep that there is no such name.
	remembers bool
	denied    map[string]*dns.Msg
}

// zone is what its primary holds. Servers may have copies of their own.
type zone struct {
	mu      sync.Mutex
	name    string
	records []dns.RR
	minimum uint32
}

// server answers for zones. change may change an answer, or give nil to say
// nothing at all.
type server struct {
	lab     *lab
	address string
	zones   []*zone
	// behind is the server that answers in truth; empty: this one does.
	behind  string
	changes sync.Mutex
	change  func(network string, question dns.Question, reply *dns.Msg) *dns.Msg

	mu    sync.Mutex
	asked []string
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, denied: map[string]*dns.Msg{}}
	l.resolver = &server{lab: l}
	for range 50 {
		stream, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(stream.Addr().String())
		_ = stream.Close()
		l.port, _ = strconv.Atoi(port)
		if l.free() {
			l.resolver.serve("127.0.0.1")
			return l
		}
	}
	t.Fatal("no port is free at every address")
	return nil
}

var addresses = []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"}

// free says whether the port is free everywhere, for both protocols.
func (l *lab) free() bool {
	for _, a := range addresses {
		stream, packets, err := l.listen(a)
		if err != nil {
			return false
		}
		_, _ = stream.Close(), packets.Close()
	}
	return true
}

func (l *lab) at(host string) string { return net.JoinHostPort(host, strconv.Itoa(l.port)) }

func (l *lab) listen(host string) (net.Listener, net.PacketConn, error) {
	stream, err := new(net.ListenConfig).Listen(l.t.Context(), "tcp", l.at(host))
	if err != nil {
		return nil, nil, err
	}
	packets, err := new(net.ListenConfig).ListenPacket(l.t.Context(), "udp", l.at(host))
	if err != nil {
		_ = stream.Close()
		return nil, nil, err
	}
	return stream, packets, nil
}

// server starts one at an address.
func (l *lab) server(host string, zones ...*zone) *server {
	l.t.Helper()
	s := &server{lab: l, zones: zones}
	s.serve(host)
	return s
}

func (s *server) serve(host string) {
	t := s.lab.t
	t.Helper()
	stream, packets, err := s.lab.listen(host)
	if err != nil {
		t.Fatal(err)
	}
	s.address = s.lab.at(host)
	var served sync.WaitGroup
	t.Cleanup(served.Wait)
	for _, d := range []*dns.Server{{Listener: stream}, {PacketConn: packets}} {
		started := make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		d.Handler = dns.HandlerFunc(s.handle)
		served.Go(func() { _ = d.ActivateAndServe() })
		<-started
		t.Cleanup(func() { _ = d.Shutdown() })
	}
}

func (s *server) handle(w dns.ResponseWriter, question *dns.Msg) {
	q := question.Question[0]
	network := w.RemoteAddr().Network()
	s.mu.Lock()
	s.asked = append(s.asked, network+" "+dns.TypeToString[q.Qtype]+" "+strings.ToLower(q.Name))
	s.mu.Unlock()
	if s.behind != "" {
		reply, _, err := (&dns.Client{Net: network, Timeout: time.Minute}).Exchange(question, s.behind)
		if err == nil {
			_ = w.WriteMsg(reply)
		}
		return
	}
	reply := new(dns.Msg).SetReply(question)
	if s == s.lab.resolver {
		s.lab.resolve(q, reply)
	} else {
		s.answer(q, reply)
	}
	s.changes.Lock()
	if s.change != nil {
		reply = s.change(network, q, reply)
	}
	s.changes.Unlock()
	if reply == nil {
		return
	}
	if network == "udp" {
		reply.Truncate(dns.MinMsgSize)
	}
	_ = w.WriteMsg(reply)
}

// changing has every answer go through a function, one after the other.
func (s *server) changing(f func(network string, question dns.Question, reply *dns.Msg) *dns.Msg) {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.change = f
}

// count says how many questions contained the text.
func (s *server) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, a := range s.asked {
		if strings.Contains(a, text) {
			n++
		}
	}
	return n
}

func (s *server) answer(q dns.Question, reply *dns.Msg) {
	z := deepest(s.zones, q.Name)
	if z == nil {
		reply.Rcode = dns.RcodeRefused
		return
	}
	z.answer(q, reply)
}

func deepest(zones []*zone, name string) *zone {
	var best *zone
	for _, z := range zones {
		if dns.IsSubDomain(z.name, name) && (best == nil || dns.CountLabel(z.name) > dns.CountLabel(best.name)) {
			best = z
		}
	}
	return best
}

// answer is RFC 1034 section 4.3.2, in short.
func (z *zone) answer(q dns.Question, reply *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, rr := range z.records {
		owner := rr.Header().Name
		if rr.Header().Rrtype == dns.TypeNS && !strings.EqualFold(owner, z.name) && dns.IsSubDomain(owner, q.Name) {
			reply.Ns = append(reply.Ns, rr)
			for _, glue := range z.records {
				if t := glue.Header().Rrtype; (t == dns.TypeA || t == dns.TypeAAAA) && same(glue.Header().Name, rr.(*dns.NS).Ns) {
					reply.Extra = append(reply.Extra, glue)
				}
			}
		}
	}
	if len(reply.Ns) > 0 {
		return
	}
	reply.Authoritative = true
	exists := strings.EqualFold(q.Name, z.name)
	for _, rr := range append([]dns.RR{z.soa()}, z.records...) {
		h := rr.Header()
		exists = exists || dns.IsSubDomain(q.Name, h.Name)
		if strings.EqualFold(h.Name, q.Name) && (h.Rrtype == q.Qtype || h.Rrtype == dns.TypeCNAME) {
			reply.Answer = append(reply.Answer, rr)
		}
	}
	if len(reply.Answer) == 0 {
		reply.Ns = []dns.RR{z.soa()}
	}
	if !exists {
		reply.Rcode = dns.RcodeNameError
	}
}

func (z *zone) soa() dns.RR {
	return rr(fmt.Sprintf("%s 3600 IN SOA hidden.invalid. root.invalid. 1 1 1 1 %d", z.name, z.minimum))
}

// resolve answers from every zone of the lab, aliases followed.
func (l *lab) resolve(q dns.Question, reply *dns.Msg) {
	reply.RecursionAvailable = true
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.denied[dns.CanonicalName(q.Name)]; old != nil {
		reply.Rcode, reply.Ns = old.Rcode, old.Ns
		return
	}
	name := q.Name
	for range 20 {
		z := deepest(l.zones, name)
		if z == nil {
			reply.Rcode, reply.Ns = dns.RcodeNameError, []dns.RR{rr(". 3600 IN SOA a.invalid. b.invalid. 1 1 1 1 1")}
			break
		}
		part := new(dns.Msg)
		z.answer(dns.Question{Name: name, Qtype: q.Qtype, Qclass: q.Qclass}, part)
		reply.Answer = append(reply.Answer, part.Answer...)
		reply.Ns, reply.Rcode = part.Ns, part.Rcode
		if len(part.Answer) != 1 || part.Answer[0].Header().Rrtype != dns.TypeCNAME || q.Qtype == dns.TypeCNAME {
			break
		}
		name = part.Answer[0].(*dns.CNAME).Target
	}
	if reply.Rcode == dns.RcodeNameError && l.remembers {
		l.denied[dns.CanonicalName(q.Name)] = reply
	}
}

func (l *lab) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.denied)
}

// zone makes one whose name servers are at these addresses, and has the resolver
// know it.
func (l *lab) zone(name string, hosts ...string) *zone {
	z := &zone{name: dns.Fqdn(name), minimum: 60}
	for i, h := range hosts {
		kind := "A"
		if strings.Contains(h, ":") {
			kind = "AAAA"
		}
		z.add(fmt.Sprintf("%s 300 IN NS ns%d.%s", z.name, i+1, z.name), fmt.Sprintf("ns%d.%s 300 IN %s %s", i+1, z.name, kind, h))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zones = append(l.zones, z)
	return z
}

func rr(text string) dns.RR {
	out, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return out
}

func (z *zone) add(texts ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, text := range texts {
		z.records = append(z.records, rr(text))
	}
}

// copied is a copy that a secondary has, from before what comes later.
func (z *zone) copied() *zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	return &zone{name: z.name, minimum: z.minimum, records: slices.Clone(z.records)}
}

// finder asks the lab, fast; checks says that Wait asks the resolver too.
func (l *lab) finder(checks bool) *Finder {
	l.t.Helper()
	f, err := New(Options{
		Resolvers: []string{l.resolver.address}, Port: l.port, Interval: 4 * time.Millisecond,
		Progress: func(format string, args ...any) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.progress = append(l.progress, fmt.Sprintf(format, args...))
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	f.checks = checks
	return f
}

func (l *lab) told(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.progress, func(p string) bool { return strings.Contains(p, text) })
}

func (l *lab) bounded() context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	l.t.Cleanup(cancel)
	return ctx
}

func (l *lab) locate(f *Finder, name string) Place {
	l.t.Helper()
	p, err := f.Locate(l.bounded(), name)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}
