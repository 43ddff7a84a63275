package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

func TestTCPWhereUDPDoesNotDo(t *testing.T) {
	done := answers(dns.RcodeSuccess)
	truncated := func(w dns.ResponseWriter, q *dns.Msg) {
		r := answerTo(q, dns.RcodeSuccess)
		r.Truncated = true
		_ = w.WriteMsg(r)
	}
	garbage := func(w dns.ResponseWriter, _ *dns.Msg) { _, _ = w.Write([]byte("not a message of DNS at all")) }
	forged := signedWith(t, otherSecret, macOf, time.Now)
	late := func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetRcode(q, dns.RcodeRefused)
		r.Id++ // of an earlier question
		_ = w.WriteMsg(r)
		done(w, q)
	}
	wordy := func(w dns.ResponseWriter, q *dns.Msg) {
		r := answerTo(q, dns.RcodeSuccess)
		for range 3 {
			r.Answer = append(r.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{strings.Repeat("x", 250)}})
		}
		_ = w.WriteMsg(r)
	}
	both := []string{"udp", "tcp"}
	for name, c := range map[string]struct {
		udp, tcp answerer
		change   func(*settings, *sdk.TXT)
		over     []string
	}{
		"truncated":           {udp: truncated, tcp: done, over: both},
		"garbage":             {udp: garbage, tcp: done, over: both},
		"done without a name": {udp: unsigned(dns.RcodeSuccess), tcp: done, over: both},
		"refused by a forger": {udp: unsigned(dns.RcodeRefused), tcp: done, over: both},
		"done by a forger":    {udp: forged, tcp: done, over: both},
		"lost": {udp: silent, tcp: done, over: both,
			change: func(s *settings, _ *sdk.TXT) { s.Timeout = 12 * time.Second }},
		"too large": {udp: silent, tcp: done, over: []string{"tcp"},
			change: func(_ *settings, txt *sdk.TXT) { txt.Value = strings.Repeat("v", 500) }},
		"UDP not wanted": {udp: silent, tcp: done, over: []string{"tcp"},
			change: func(s *settings, _ *sdk.TXT) { s.Protocol = "tcp" }},
		"an answer to others first": {udp: late, tcp: silent, over: []string{"udp"}},
		"more than 512 bytes":       {udp: wordy, tcp: silent, over: []string{"udp"}},
		"UDP does":                  {udp: done, tcp: silent, over: []string{"udp"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, c.udp, c.tcp)
			s, record := signing(f.addr), txt("value")
			if c.change != nil {
				c.change(&s, &record)
			}
			if _, err := configured(t, s).SetTXT(t.Context(), record); err != nil {
				t.Error(err)
			}
			if _, over := f.asked(); !slices.Equal(over, c.over) || f.bad != nil {
				t.Errorf("asked over %v, want %v; signatures %v", over, c.over, f.bad)
			}
		})
	}
}

// What fits into 512 bytes goes by UDP, signature included.
func TestTheLargestDatagram(t *testing.T) {
	f := startFake(t, answers(dns.RcodeSuccess), answers(dns.RcodeSuccess))
	s := signing(f.addr)
	s.TSIGAlgorithm = "hmac-sha512"
	r := configured(t, s)
	for n := range 250 {
		if _, err := r.SetTXT(t.Context(), txt(strings.Repeat("v", 150+n))); err != nil {
			t.Fatal(err)
		}
	}
	seen, over := f.asked()
	first := slices.Index(over, "tcp")
	if first <= 0 || slices.Contains(over[first:], "udp") {
		t.Fatalf("over %v", over)
	}
	if last := seen[first-1].Len(); last != mostUDP {
		t.Errorf("the largest datagram has %d bytes, not %d", last, mostUDP)
	}
}

// Nobody but the server that was asked can say that an update is done.
func TestSuccessWithoutProofIsNone(t *testing.T) {
	for name, c := range map[string]struct {
		answer answerer
		word   string
	}{
		"no signature":          {unsigned(dns.RcodeSuccess), "not signed"},
		"another secret":        {signedWith(t, otherSecret, macOf, time.Now), "signature"},
		"not to this question":  {signedWith(t, goodSecret, func(*dns.Msg) string { return strings.Repeat("ab", 32) }, time.Now), "signature"},
		"from an hour ago":      {signedWith(t, goodSecret, macOf, func() time.Time { return time.Now().Add(-time.Hour) }), "another time"},
		"an error in signature": {keyError(t, dns.RcodeBadTrunc, ""), "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, c.answer, c.answer)
			_, err := configured(t, signing(f.addr)).SetTXT(t.Context(), txt("value"))
			if p := sdk.ProblemOf(err); p == nil || p.Code != sdk.Credentials || !strings.Contains(p.Error(), c.word) || p.Hint == "" {
				t.Errorf("the problem is %+v", p)
			}
		})
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	query := func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(q.Copy()) }
	other := func(w dns.ResponseWriter, q *dns.Msg) {
		r := answerTo(q, dns.RcodeSuccess)
		r.Opcode = dns.OpcodeQuery
		_ = w.WriteMsg(r)
	}
	hangUp := func(w dns.ResponseWriter, _ *dns.Msg) { _ = w.Close() }
	for name, c := range map[string]answerer{"the question": query, "an answer to another question": other, "nothing": hangUp} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, silent, c)
			s := signing(f.addr)
			s.Protocol = "tcp"
			_, err := configured(t, s).SetTXT(t.Context(), txt("value"))
			unreachable(t, err, f.addr)
		})
	}
}

func unreachable(t *testing.T, err error, server string) {
	t.Helper()
	p := sdk.ProblemOf(err)
	if p == nil || p.Code != sdk.Unavailable || p.Retry != sdk.RetryLater || !strings.Contains(p.Hint, server) ||
		!strings.Contains(p.Error(), server) || strings.Contains(p.Error(), "\n") {
		t.Errorf("the problem is %+v", p)
	}
}

func TestServersThatAreNotThere(t *testing.T) {
	packets, stream := listenBoth(t)
	closed := stream.Addr().String()
	_, _ = packets.Close(), stream.Close()
	for _, protocol := range []string{"udp", "tcp"} {
		s := signing(closed)
		s.Protocol = protocol
		_, err := configured(t, s).SetTXT(t.Context(), txt("value"))
		unreachable(t, err, closed)
	}
	// RFC 6761 section 6.4: no resolver knows a name in "invalid".
	_, err := configured(t, signing("ns.invalid")).SetTXT(t.Context(), txt("value"))
	unreachable(t, err, "ns.invalid:53")
	if strings.Count(err.Error(), "lookup") != 1 {
		t.Errorf("the name is looked up twice: %v", err)
	}
}

func TestSilenceEnds(t *testing.T) {
	f := startFake(t, silent, silent)
	s := signing(f.addr)
	s.Timeout = 100 * time.Millisecond
	_, err := configured(t, s).SetTXT(t.Context(), txt("value"))
	unreachable(t, err, f.addr)
	if _, over := f.asked(); !slices.Contains(over, "udp") {
		t.Errorf("asked over %v", over)
	}
}

// A firewall may let datagrams through alone.
func TestAnAnswerCountsIfThereIsNoTCP(t *testing.T) {
	packets, stream := listenBoth(t)
	_ = stream.Close()
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(keyError(t, dns.RcodeBadKey, "")),
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	_, err := configured(t, signing(packets.LocalAddr().String())).SetTXT(t.Context(), txt("value"))
	if p := sdk.ProblemOf(err); p == nil || p.Code != sdk.Credentials {
		t.Errorf("the problem is %+v", p)
	}
	if err := errors.Join(server.Shutdown(), <-served); err != nil {
		t.Error(err)
	}
}

func TestCancelledCallsEnd(t *testing.T) {
	for _, protocol := range []string{"udp", "tcp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, silent, silent)
			p := sdk.ProblemOf(cancelled(t, f, protocol, func() {}))
			if !errors.Is(p, context.Canceled) || p.Code != sdk.Cancelled {
				t.Errorf("%+v", p)
			}
			if _, over := f.asked(); !slices.Equal(over, []string{protocol}) {
				t.Errorf("asked over %v", over)
			}
		})
	}
}

// What a server has been told it may do at any time; the cleanup must come
// after that.
func TestACancelledCallWaitsForTheServer(t *testing.T) {
	for _, protocol := range []string{"udp", "tcp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			slow := func(w dns.ResponseWriter, q *dns.Msg) {
				<-release
				answers(dns.RcodeSuccess)(w, q)
			}
			f := startFake(t, slow, slow)
			if err := cancelled(t, f, protocol, func() { close(release) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// cancelled cancels a call once the server has the message, then calls after,
// and gives what the call gave.
func cancelled(t *testing.T, f *fake, protocol string, after func()) error {
	t.Helper()
	s := signing(f.addr)
	s.Protocol, s.Timeout = protocol, time.Hour
	r := configured(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.SetTXT(ctx, txt("value"))
		ended <- err
	}()
	<-f.came
	cancel()
	after()
	return <-ended
}
