package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

// client sends updates to one server.
type client struct {
	server   string // host:port
	key      key
	protocol string // "udp" or "tcp"
	timeout  time.Duration
	now      func() time.Time
}

const (
	// fudge is how far two clocks may be apart (RFC 8945 section 10).
	fudge = 300
	// mostUDP is what every server takes in a datagram (RFC 1035 section 4.2.1).
	// Nothing larger is announced, because EDNS would be one more thing for a
	// server to refuse.
	mostUDP = 512
	// largestMAC is that of hmac-sha512.
	largestMAC = 64
	// grace is what a cancelled call may still take; the host allows it 5 s.
	grace = 3 * time.Second
	// bufferUDP is for servers that answer with more than they may.
	bufferUDP = 4096
)

// reply is an answer and whether it may be believed.
type reply struct {
	*dns.Msg
	// doubt is why the answer is not proven to be the server's. Nil: it is, or
	// there is no key to prove it with.
	doubt error
}

var errUnsigned = errors.New("it is not signed")

// update sends m and gives nil once the server has said that it has done it.
func (c client) update(ctx context.Context, m *dns.Msg, zone, what string) error {
	r, err := c.exchange(ctx, m)
	switch {
	case err == nil:
		return c.problem(r, zone, what)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	return c.unreachable(err, what)
}

// exchange asks the server. What one datagram does not settle (it is lost, or
// its answer is cut off, garbled or not proven to be the server's) is asked
// again over TCP, which nobody can do in the server's place without being on
// the path. An update may be sent twice: it has the same effect.
func (c client) exchange(ctx context.Context, m *dns.Msg) (reply, error) {
	start := time.Now()
	end := start.Add(c.timeout)
	if c.protocol == "tcp" || m.Len()+c.key.overhead() > mostUDP {
		return c.ask(ctx, "tcp", end, m)
	}
	first, udpErr := c.ask(ctx, "udp", start.Add(c.timeout/4), m)
	var lookup *net.DNSError
	if ctx.Err() != nil || errors.As(udpErr, &lookup) || udpErr == nil && !first.Truncated && first.doubt == nil {
		return first, udpErr
	}
	second, tcpErr := c.ask(ctx, "tcp", end, m)
	switch {
	case tcpErr == nil:
		return second, nil
	case udpErr == nil && !first.Truncated:
		return first, nil // a server that is not there over TCP has answered all the same
	case udpErr == nil:
		return reply{}, tcpErr
	}
	return reply{}, fmt.Errorf("%w; %w", udpErr, tcpErr)
}

// ask sends m once and reads the answer to it.
func (c client) ask(ctx context.Context, network string, deadline time.Time, m *dns.Msg) (reply, error) {
	dialing, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	wire, err := new(net.Dialer).DialContext(dialing, network, c.server)
	if err != nil {
		return reply{}, err
	}
	conn := &dns.Conn{Conn: wire, UDPSize: bufferUDP}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(deadline); err != nil {
		return reply{}, err
	}
	// From here on a server may be at work. If the call is cancelled, the answer
	// is still waited for a while: a server with several threads may otherwise
	// do what the cleanup asks for first, and this last (PowerDNS does).
	stop := context.AfterFunc(ctx, func() {
		if soon := time.Now().Add(grace); soon.Before(deadline) {
			_ = conn.SetDeadline(soon)
		}
	})
	defer stop()
	m = m.Copy() // signing changes it
	if c.key.name != "" {
		m.SetTsig(c.key.name, c.key.algorithm, fudge, c.now().Unix())
		conn.TsigSecret = map[string]string{c.key.name: c.key.secret}
	}
	answer, err := swap(conn, m)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no answer over %s in time: %w", strings.ToUpper(network), err)
	}
	return c.judge(m, answer, err)
}

// swap sends m and gives the answer to it. Answers to others, which may come to
// a datagram's port late, are passed over.
func swap(conn *dns.Conn, m *dns.Msg) (*dns.Msg, error) {
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	for {
		answer, err := conn.ReadMsg()
		if err != nil || answer.Id == m.Id {
			return answer, err
		}
	}
}

// judge separates what is no answer from an answer that is in doubt. The
// library checks a signature that is there; it does not ask for one.
func (c client) judge(m, answer *dns.Msg, err error) (reply, error) {
	signed := answer != nil && answer.IsTsig() != nil
	switch {
	case err != nil && !signed:
		return reply{}, err
	case !answer.Response || answer.Opcode != m.Opcode:
		return reply{}, errors.New("what came back is no answer to an update")
	case c.key.name == "":
		return reply{Msg: answer}, nil
	case !signed:
		return reply{Msg: answer, doubt: errUnsigned}, nil
	}
	return reply{Msg: answer, doubt: err}, nil
}

// overhead is the size of the key's signature in a message.
func (k key) overhead() int {
	if k.name == "" {
		return 0
	}
	empty := dns.TSIG{Hdr: dns.RR_Header{Name: k.name}, Algorithm: k.algorithm}
	return dns.Len(&empty) + largestMAC
}

// unreachable is the problem of a server that gave no answer.
func (c client) unreachable(err error, what string) error {
	p := sdk.Problemf(sdk.Unavailable, "%s: %w", what, err)
	return sdk.Hint(sdk.RetryAfter(p, 0), "check the setting server, and that %s can be reached over UDP and TCP from here", c.server)
}
