package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/certwright/certwright/sdk"
)

// entry is one answer: key is the path or the server name that is asked for,
// proof what is proven by it. certificate is set for tls-alpn-01 only.
type entry struct {
	id          string
	key         string
	proof       string
	certificate *tls.Certificate
}

func keys(batch []entry) []string {
	out := make([]string, 0, len(batch))
	for _, e := range batch {
		out = append(out, e.key)
	}
	return out
}

// held is an entry in place. Several orders may hold the same one: a CA may
// give a pending authorization to two orders. Owners are lineages, of which the
// host runs one order at a time.
type held struct {
	entry
	owners map[string]bool
}

// port is one TCP port that answers for all orders of the process. The
// listeners are open while there are entries.
type port struct {
	challenge string // the challenge type, for messages
	setting   string // the setting that says the number, for messages
	number    int
	address   string // empty: all addresses of both families
	listen    func(ctx context.Context, network, address string) (net.Listener, error)
	server    func(*port) (*http.Server, *tls.Config) // no config: plain text

	// turn is held by the one call that opens the port, so that a person is
	// asked once. Never taken with mu held.
	turn chan struct{}

	mu      sync.Mutex
	entries map[string]held
	changed chan struct{} // closed and replaced when an entry goes
	open    *opened       // nil: closed
}

// opened is a running server and the goroutines that accept for it.
type opened struct {
	server    *http.Server
	accepting sync.WaitGroup
}

func newPort(challenge, setting string, server func(*port) (*http.Server, *tls.Config)) *port {
	// Plain TCP: no CA speaks multipath TCP, and a sandbox that confines ports
	// would see another protocol.
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return &port{
		challenge: challenge, setting: setting, server: server, listen: config.Listen,
		turn: make(chan struct{}, 1), entries: map[string]held{}, changed: make(chan struct{}),
	}
}

// place answers the whole batch or nothing of it. Another order that proves
// something else under the same key, which is possible for tls-alpn-01 only, is
// waited for; as a batch is placed at once, two orders never wait for each
// other.
func (p *port) place(ctx context.Context, owner string, batch []entry, r sdk.Reporter) error {
	told := false
	for {
		placed, busy, gone := p.put(owner, batch)
		switch {
		case placed:
			return nil
		case gone != nil:
			if !told {
				r.Progress(busy.id, fmt.Sprintf("%s for %s waits for another order that proves the same name", p.challenge, busy.key))
				told = true
			}
			select {
			case <-gone:
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			if err := p.openUp(ctx, r); err != nil {
				return err
			}
		}
	}
}

// put adds the batch if the port is open and no other order is in the way; gone
// then tells when to try again.
func (p *port) put(owner string, batch []entry) (placed bool, busy entry, gone <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range batch {
		h, ok := p.entries[e.key]
		others := len(h.owners) > 1 || !h.owners[owner]
		if ok && h.proof != e.proof && others {
			return false, e, p.changed
		}
	}
	if p.open == nil {
		return false, entry{}, nil
	}
	for _, e := range batch {
		h := p.entries[e.key]
		if h.proof != e.proof || h.owners == nil {
			h = held{entry: e, owners: map[string]bool{}}
		}
		h.owners[owner] = true
		p.entries[e.key] = h
	}
	return true, entry{}, nil
}

// remove takes the owner's entries away and closes the port with the last one.
// A caller without a name removes for everybody, and an entry without one is
// anybody's. Keys that are not there are gone already.
func (p *port) remove(owner string, keys []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range keys {
		h, ok := p.entries[key]
		if !ok {
			continue
		}
		delete(h.owners, owner)
		delete(h.owners, "")
		if owner == "" || len(h.owners) == 0 {
			delete(p.entries, key)
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
	if p.open != nil && len(p.entries) == 0 {
		// Still locked, so that nobody binds the port before it is free. Neither
		// waits for a request that is being answered.
		_ = p.open.server.Close()
		p.open.accepting.Wait()
		p.open = nil
	}
}

// find gives the answer for a key.
func (p *port) find(key string) (entry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.entries[key]
	return h.entry, ok
}

func (p *port) isOpen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open != nil
}

// maxAsks ends a dialogue with a program that says yes for ever.
const maxAsks = 20

// openUp opens the port unless it is open. If another program has it, the
// person, if there is one, may end that program and try again.
func (p *port) openUp(ctx context.Context, r sdk.Reporter) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for asked := 0; !p.isOpen(); asked++ {
		listeners, err := p.bind(ctx, r)
		if err == nil {
			p.start(listeners)
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || asked == maxAsks {
			return p.explain(err)
		}
		question := fmt.Sprintf("Port %d is in use by another program. Stop that program, then try again? [Y/n] ", p.number)
		line, askErr := r.Ask(ctx, question)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if answer := strings.ToLower(strings.TrimSpace(line)); askErr != nil || answer != "" && !strings.HasPrefix("yes", answer) {
			return p.explain(err)
		}
	}
	return nil
}

type family struct{ name, network, host string }

func (p *port) families() []family {
	if p.address == "" {
		return []family{{"IPv6", "tcp6", "::"}, {"IPv4", "tcp4", "0.0.0.0"}}
	}
	if ip, err := netip.ParseAddr(p.address); err == nil && ip.Is4() {
		return []family{{"IPv4", "tcp4", p.address}}
	}
	return []family{{"IPv6", "tcp6", p.address}}
}

// bind listens on each family. One that works is enough if this machine lacks
// the other, or cannot listen there, which is told. If another program has the
// port in one family, nothing is bound: nobody knows by which one the CA comes,
// and it would ask that program.
func (p *port) bind(ctx context.Context, r sdk.Reporter) ([]net.Listener, error) {
	var listeners []net.Listener
	failed := map[string]error{}
	var worst error
	for _, f := range p.families() {
		l, err := p.listen(ctx, f.network, net.JoinHostPort(f.host, strconv.Itoa(p.number)))
		if err == nil {
			listeners = append(listeners, l)
			continue
		}
		if worst == nil || lacking(worst) {
			worst = err
		}
		if !lacking(err) {
			failed[f.name] = err
		}
	}
	taken := slices.ContainsFunc(slices.Collect(maps.Values(failed)), func(err error) bool { return errors.Is(err, syscall.EADDRINUSE) })
	if taken {
		for _, l := range listeners {
			_ = l.Close()
		}
		listeners = nil
	}
	if len(listeners) == 0 {
		return nil, worst
	}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		r.Progress("", fmt.Sprintf("warning: port %d is not answered over %s: %v; a CA that comes that way will not find the answer",
			p.number, name, failed[name]))
	}
	return listeners, nil
}

// lacking says that the machine has no such address family.
func lacking(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT) ||
		errors.Is(err, syscall.EADDRNOTAVAIL)
}

func (p *port) start(listeners []net.Listener) {
	server, config := p.server(p)
	o := &opened{server: server}
	for _, l := range listeners {
		if config != nil {
			l = tls.NewListener(l, config)
		}
		o.accepting.Go(func() {
			if err := o.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				fmt.Fprintf(os.Stderr, "stopped listening on %s: %v\n", l.Addr(), err)
			}
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = o
}

// explain says what the user can do about a port that cannot be had.
func (p *port) explain(err error) error {
	elsewhere := fmt.Sprintf("set %s to a free port above 1023 to which port %d is redirected", p.setting, p.number)
	problem := sdk.Problemf(sdk.Unavailable, "listen on port %d for %s: %w", p.number, p.challenge, err)
	switch {
	case errors.Is(err, syscall.EACCES) && p.number < 1024:
		problem = sdk.Problemf(sdk.PermissionDenied,
			"listen on port %d for %s: ports below 1024 need privileges: %w", p.number, p.challenge, err)
		problem.Retry = sdk.RetryNever
		problem.Hint = fmt.Sprintf("run certwright as root, or give the plugin the privilege (setcap cap_net_bind_service=+ep %s), or %s",
			executable(), elsewhere)
	case errors.Is(err, syscall.EACCES):
		problem = sdk.Problemf(sdk.PermissionDenied,
			"listen on port %d for %s: this process lacks the privileges, perhaps by a security policy: %w", p.number, p.challenge, err)
		problem.Retry = sdk.RetryNever
		problem.Hint = fmt.Sprintf("allow the plugin to bind port %d, or %s", p.number, elsewhere)
	case errors.Is(err, syscall.EADDRINUSE):
		problem = sdk.Problemf(sdk.Conflict, "listen on port %d for %s: another program has the port: %w", p.number, p.challenge, err)
		problem.Retry = sdk.RetryLater
		problem.Hint = fmt.Sprintf("stop the program that listens on port %d (ss -ltnp shows it), or %s, "+
			"or use the webroot plugin if it is a web server", p.number, elsewhere)
		if p.address == "" {
			problem.Hint += "; if the CA comes to one address only, set address to it"
		}
	case errors.Is(err, syscall.EADDRNOTAVAIL) && p.address != "":
		problem.Hint = fmt.Sprintf("set address to an IP address of this machine instead of %s, or leave it out", p.address)
	}
	return problem
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}
