package dnswait

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// perServer is how many questions one server is asked at once.
const perServer = 8

// exchange asks one server: over UDP, and over TCP if the answer does not fit or
// none comes (RFC 7766 section 5). No EDNS is used: every server and every
// middlebox understands that.
func (f *Finder) exchange(ctx context.Context, address string, question *dns.Msg) (*dns.Msg, error) {
	free, err := f.line(ctx, address)
	if err != nil {
		return nil, err
	}
	defer free()
	reply, err := f.over(ctx, "udp", address, question)
	if err == nil && !reply.Truncated {
		return reply, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	long, tcp := f.over(ctx, "tcp", address, question)
	switch {
	case tcp == nil:
		return long, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("it cannot be reached (%w)", err)
	}
	return nil, fmt.Errorf("its answer is too long for UDP, and by TCP it cannot be reached (%w)", tcp)
}

// line waits for one of the lines to a server.
func (f *Finder) line(ctx context.Context, address string) (free func(), err error) {
	f.lineLock.Lock()
	lines := f.lines[address]
	if lines == nil {
		lines = make(chan struct{}, perServer)
		f.lines[address] = lines
	}
	f.lineLock.Unlock()
	select {
	case lines <- struct{}{}:
		return func() { <-lines }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// over is one question and its answer. A new socket for each makes the port a
// second secret beside the ID (RFC 5452 section 9.2).
func (f *Finder) over(ctx context.Context, network, address string, question *dns.Msg) (*dns.Msg, error) {
	dialer := net.Dialer{Timeout: f.attempt}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, plainly(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(f.attempt)); err != nil {
		return nil, err
	}
	// A context that ends makes reading end.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	wire := &dns.Conn{Conn: conn, UDPSize: dns.DefaultMsgSize}
	if err := wire.WriteMsg(question); err != nil {
		return nil, plainly(err)
	}
	for {
		reply, err := wire.ReadMsg()
		if err != nil && network == "udp" && reply != nil {
			continue // not a DNS message; the right one may follow
		}
		if err != nil {
			return nil, plainly(err)
		}
		if answers(reply, question) {
			return reply, nil
		}
		if network == "tcp" {
			return nil, errors.New("it answers another question")
		}
	}
}

// answers says whether a reply belongs to a question. Some servers leave the
// question out of a refusal.
func answers(reply, question *dns.Msg) bool {
	if !reply.Response || reply.Id != question.Id {
		return false
	}
	if len(reply.Question) == 0 {
		return reply.Rcode != dns.RcodeSuccess
	}
	got, asked := reply.Question[0], question.Question[0]
	return same(got.Name, asked.Name) && got.Qtype == asked.Qtype && got.Qclass == asked.Qclass
}

// plainly says what a network error comes down to; the address is in the
// message around it.
func plainly(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("no answer")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused")
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return errors.New("there is no way there from here")
	}
	return err
}

func ask(name string, qtype uint16, recursive bool) *dns.Msg {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = recursive
	return m
}

// recurse asks the resolvers, one after the other, until one of them knows.
// NXDOMAIN is an answer. A server that only refers to others, because it is no
// resolver, is believed if nobody knows better.
func (f *Finder) recurse(ctx context.Context, name string, qtype uint16) (*dns.Msg, string, error) {
	if len(f.resolvers) == 0 {
		return nil, "", errNoResolver
	}
	var errs []error
	for range 2 {
		errs = nil
		var hint *dns.Msg
		var from string
		for _, r := range f.resolvers {
			reply, err := f.exchange(ctx, r, ask(name, qtype, true))
			if ctx.Err() != nil {
				return nil, "", context.Cause(ctx)
			}
			if err == nil && reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
				err = fmt.Errorf("it says %s", rcode(reply))
			}
			if child := refers(reply, name); err == nil && child != "" {
				hint, from = reply, r
				continue
			}
			if err == nil {
				return reply, r, nil
			}
			errs = append(errs, fmt.Errorf("ask the resolver %s for %s %s: %w", r, dns.TypeToString[qtype], name, err))
		}
		if hint != nil {
			return hint, from, nil
		}
	}
	return nil, "", errors.Join(errs...)
}

func rcode(m *dns.Msg) string {
	if text, ok := dns.RcodeToString[m.Rcode]; ok {
		return text
	}
	return fmt.Sprintf("the code %d", m.Rcode)
}

// canonical is how names are kept and handed out: in lower case, without the
// final dot.
func canonical(name string) string { return strings.TrimSuffix(dns.CanonicalName(name), ".") }

func same(a, b string) bool { return canonical(a) == canonical(b) }

// within says whether a name is the zone's apex or below it.
func within(zone, name string) bool { return dns.IsSubDomain(dns.Fqdn(zone), dns.Fqdn(name)) }
