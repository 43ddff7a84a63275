package testca

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/miekg/dns"
)

// DNS is a resolver on loopback, over UDP and TCP, that knows every name: A is
// 127.0.0.1, all else is empty, until it is told otherwise. Names are compared
// without case and with or without the final dot. Its methods are safe for
// concurrent use and take effect at once.
type DNS struct {
	addr    string
	servers []*dns.Server
	served  sync.WaitGroup
	// cancel ends the questions that are being passed on.
	cancel context.CancelFunc

	mu    sync.Mutex
	names map[string]*entry
	zones map[string]string
	// own are the zones that this server is authoritative for.
	own map[string]bool
}

// entry is what was set for a name. Nil addresses: the default.
type entry struct {
	a, aaaa  []netip.Addr
	txt      []string
	cname    string
	servfail bool
}

func startDNS(ctx context.Context, zones map[string]string) (*DNS, error) {
	packets, stream, err := listenBoth(ctx)
	if err != nil {
		return nil, fmt.Errorf("listening for DNS questions on loopback: %w", err)
	}
	d := &DNS{addr: stream.Addr().String(), names: map[string]*entry{}, zones: map[string]string{}, own: map[string]bool{}}
	serving, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	for zone, addr := range zones {
		d.Forward(zone, addr)
	}
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: stream}} {
		started := make(chan struct{})
		server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
			d.answer(serving, w, question)
		})
		server.NotifyStartedFunc = func() { close(started) }
		d.servers = append(d.servers, server)
		failed := make(chan error, 1)
		d.served.Go(func() { failed <- server.ActivateAndServe() })
		select {
		case <-started:
		case err := <-failed:
			return nil, errors.Join(fmt.Errorf("serving DNS on %s: %w", d.addr, err), d.close())
		}
	}
	return d, nil
}

// listenBoth finds a port that is free for UDP and for TCP.
func listenBoth(ctx context.Context) (net.PacketConn, net.Listener, error) {
	var config net.ListenConfig
	var last error
	for range 20 {
		stream, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packets, err := config.ListenPacket(ctx, "udp", stream.Addr().String())
		if err == nil {
			return packets, stream, nil
		}
		last = errors.Join(err, stream.Close())
	}
	return nil, nil, last
}

func (d *DNS) close() error {
	d.cancel()
	var errs []error
	for _, server := range d.servers {
		errs = append(errs, server.Shutdown())
	}
	d.served.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stopping the DNS server: %w", err)
	}
	return nil
}

// Addr is the resolver's address, host:port.
func (d *DNS) Addr() string { return d.addr }

// SetTXT gives a name these TXT values and no others.
func (d *DNS) SetTXT(name string, values ...string) {
	d.change(name, func(e *entry) { e.txt = slices.Clone(values) })
}

// AddTXT adds a TXT value to a name that does not have it yet.
func (d *DNS) AddTXT(name, value string) {
	d.change(name, func(e *entry) {
		if !slices.Contains(e.txt, value) {
			e.txt = append(e.txt, value)
		}
	})
}

// DeleteTXT takes TXT values from a name; without values, all of them.
func (d *DNS) DeleteTXT(name string, values ...string) {
	d.change(name, func(e *entry) {
		e.txt = slices.DeleteFunc(e.txt, func(v string) bool {
			return len(values) == 0 || slices.Contains(values, v)
		})
	})
}

// TXT gives the TXT values of a name.
func (d *DNS) TXT(name string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.names[dns.CanonicalName(name)]; e != nil {
		return slices.Clone(e.txt)
	}
	return nil
}

// SetA gives a name these IPv4 addresses; none: it has no A record.
func (d *DNS) SetA(name string, addrs ...netip.Addr) {
	d.change(name, func(e *entry) { e.a = append([]netip.Addr{}, addrs...) })
}

// SetAAAA gives a name these IPv6 addresses.
func (d *DNS) SetAAAA(name string, addrs ...netip.Addr) {
	d.change(name, func(e *entry) { e.aaaa = append([]netip.Addr{}, addrs...) })
}

// SetCNAME makes a name an alias; an empty target ends that.
func (d *DNS) SetCNAME(name, target string) {
	d.change(name, func(e *entry) { e.cname = target })
}

// SetSERVFAIL makes every question for a name fail.
func (d *DNS) SetSERVFAIL(name string) {
	d.change(name, func(e *entry) { e.servfail = true })
}

// Clear forgets what was set for a name.
func (d *DNS) Clear(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, dns.CanonicalName(name))
}

// Forward passes questions for a zone and what is below it to the DNS server at
// addr (host:port); an empty addr ends that. The longest zone wins, and what was
// set here for a name in such a zone is not looked at.
func (d *DNS) Forward(zone, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if addr == "" {
		delete(d.zones, dns.CanonicalName(zone))
		return
	}
	d.zones[dns.CanonicalName(zone)] = addr
}

// ServeZone makes this server authoritative for a zone: it has a SOA, and one
// name server at ns.<zone>, whose address is that of every name unless it was
// set. So a client can find the zone, and see what is in it at its own server.
func (d *DNS) ServeZone(zone string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.own[dns.CanonicalName(zone)] = true
}

func (d *DNS) change(name string, f func(*entry)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = dns.CanonicalName(name)
	e := d.names[name]
	if e == nil {
		e = &entry{}
		d.names[name] = e
	}
	f(e)
}
