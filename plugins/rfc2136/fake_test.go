package main

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// Secrets of the tests; base64, as in a server's configuration.
const (
	goodSecret  = plugintest.Mark + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG9uZy4="
	otherSecret = plugintest.Mark + "YW5vdGhlciBzZWNyZXQsIHdoaWNoIGlzIHdyb25nIGhlcmU="
)

// answerer says what a fake server does with a message. It may write nothing.
type answerer func(w dns.ResponseWriter, q *dns.Msg)

// fake is a name server in this process that checks signatures by the key
// "key." and answers as it is told.
type fake struct {
	addr string

	mu   sync.Mutex
	seen []*dns.Msg
	over []string      // "udp" or "tcp" of each
	bad  []error       // what was wrong with a signature
	came chan struct{} // closed by the first message
}

func startFake(t *testing.T, udp, tcp answerer) *fake {
	t.Helper()
	packets, stream := listenBoth(t)
	f := &fake{addr: stream.Addr().String(), came: make(chan struct{})}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait) // runs after the shutdowns
	for network, server := range map[string]*dns.Server{"udp": {PacketConn: packets}, "tcp": {Listener: stream}} {
		answer := map[string]answerer{"udp": udp, "tcp": tcp}[network]
		server.UDPSize = 4096 // more than the client may send
		server.TsigSecret = map[string]string{"key.": goodSecret}
		// The library refuses updates unless it is told otherwise.
		server.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			f.note(network, q, w.TsigStatus())
			answer(w, q)
		})
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		serving.Go(func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return f
}

// listenBoth finds a port that is free for UDP and for TCP.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		stream, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", stream.Addr().String())
		if err == nil {
			return packets, stream
		}
		_ = stream.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil
}

func (f *fake) note(network string, q *dns.Msg, signature error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.over = append(f.seen, q), append(f.over, network)
	if signature != nil {
		f.bad = append(f.bad, signature)
	}
	if len(f.seen) == 1 {
		close(f.came)
	}
}

// asked gives the messages and the protocol of each.
func (f *fake) asked() ([]*dns.Msg, []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen), slices.Clone(f.over)
}

// answers gives a properly signed answer with this code.
func answers(rcode int) answerer {
	return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(answerTo(q, rcode)) }
}

func answerTo(q *dns.Msg, rcode int) *dns.Msg {
	r := new(dns.Msg).SetRcode(q, rcode)
	if key := q.IsTsig(); key != nil {
		r.SetTsig(key.Hdr.Name, key.Algorithm, fudge, time.Now().Unix())
	}
	return r
}

// unsigned answers a signed message without a signature.
func unsigned(rcode int) answerer {
	return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, rcode)) }
}

// signedWith signs an answer as somebody would who has only part of what it takes.
func signedWith(t *testing.T, secret string, mac func(q *dns.Msg) string, at func() time.Time) answerer {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		r := answerTo(q, dns.RcodeSuccess)
		r.IsTsig().TimeSigned = uint64(at().Unix())
		wire, _, err := dns.TsigGenerate(r, secret, mac(q), false)
		if err != nil {
			t.Errorf("sign: %v", err)
		}
		_, _ = w.Write(wire)
	}
}

func macOf(q *dns.Msg) string { return q.IsTsig().MAC }

// keyError answers NOTAUTH with an error in an empty signature (RFC 8945
// section 5.3.2), as real servers do.
func keyError(t *testing.T, code uint16, other string) answerer {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetRcode(q, dns.RcodeNotAuth)
		was := q.IsTsig()
		r.Extra = append(r.Extra, &dns.TSIG{
			Hdr:       dns.RR_Header{Name: was.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
			Algorithm: was.Algorithm, TimeSigned: was.TimeSigned, Fudge: fudge, OrigId: q.Id,
			Error: code, OtherData: other, OtherLen: uint16(len(other) / 2),
		})
		wire, err := r.Pack()
		if err != nil {
			t.Errorf("pack: %v", err)
		}
		_, _ = w.Write(wire)
	}
}

// silent answers nothing.
func silent(dns.ResponseWriter, *dns.Msg) {}

// configured gives an instance with the key of the fake servers.
func configured(t *testing.T, s settings) *rfc2136 {
	t.Helper()
	if s.TSIGAlgorithm == "" {
		s.TSIGAlgorithm = "hmac-sha256"
	}
	if s.Timeout == 0 {
		s.Timeout = time.Minute
	}
	if s.Protocol == "" {
		s.Protocol = "udp"
	}
	r := &rfc2136{}
	r.settings = s
	if err := r.Configure(t.Context(), sdk.Instance{Name: "test"}); err != nil {
		t.Fatal(err)
	}
	return r
}

func signing(server string) settings {
	return settings{Server: server, TSIGName: "KEY", TSIGSecret: goodSecret, TTL: time.Minute}
}

// txt is a value of the record that is asked for by default.
func txt(value string) sdk.TXT {
	return sdk.TXT{Zone: "zone.test", Name: "_acme-challenge.www.zone.test", Value: value}
}
