// Package dnswait finds out where a TXT record has to go, and waits until every
// name server that the world may ask shows it.
//
// Nobody but the authoritative servers is asked for the name of a record before
// they all show it: a recursive resolver that is asked too early remembers that
// there is no such name, for as long as the zone's SOA says (RFC 2308 section
// 5). So a resolver is asked for names that exist (the zone around the name, its
// name servers, their addresses), the servers for the name itself.
package dnswait

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Options say how to look at DNS. The zero value asks the system's resolvers,
// port 53, waits 2 minutes and asks every 2 seconds.
type Options struct {
	// Resolvers are recursive resolvers, host:port. They find zones, and Wait
	// asks them in the end. Empty: those of /etc/resolv.conf find zones, and
	// Wait does not ask them: what a resolver on this machine remembers is not
	// what the CA sees.
	Resolvers []string
	// Port of authoritative servers; 0: 53.
	Port int
	// Timeout of the whole wait; 0: 2 minutes.
	Timeout time.Duration
	// Interval between two questions to a server, which are asked faster at
	// first; 0: 2 seconds.
	Interval time.Duration
	// Skip makes Wait return at once.
	Skip bool
	// Progress is told what does not stop the wait but is worth knowing: servers
	// that do not answer. It may be called from several goroutines. Nil: nobody
	// is told.
	Progress func(format string, args ...any)
}

// resolvConf is where the system names its resolvers.
const resolvConf = "/etc/resolv.conf"

// attempt is how long one answer may take.
const attempt = 2 * time.Second

// Finder locates records and waits for them. What it has found about zones it
// keeps, so it is to be made once per run. It is safe for concurrent use.
type Finder struct {
	resolvers []string
	// checks says that the resolvers are the user's, so Wait asks them too.
	checks   bool
	port     string
	timeout  time.Duration
	interval time.Duration
	attempt  time.Duration
	skip     bool
	progress func(format string, args ...any)
	clock    clock

	places  flight[Place]
	apexes  flight[string]
	servers flight[[]Server]

	// lines to one server are few, however many records wait.
	lineLock sync.Mutex
	lines    map[string]chan struct{}
}

// New checks the options; it asks nobody.
func New(o Options) (*Finder, error) {
	f := &Finder{
		resolvers: slices.Clone(o.Resolvers), checks: len(o.Resolvers) > 0, port: strconv.Itoa(cmp.Or(o.Port, 53)),
		timeout: cmp.Or(o.Timeout, 2*time.Minute), interval: cmp.Or(o.Interval, 2*time.Second),
		skip: o.Skip, progress: o.Progress, clock: realClock(), lines: map[string]chan struct{}{},
	}
	if f.progress == nil {
		f.progress = func(string, ...any) {}
	}
	switch {
	case o.Port < 0 || o.Port > 65535:
		return nil, fmt.Errorf("dns.port %d is no port: give one between 1 and 65535", o.Port)
	case o.Timeout < 0:
		return nil, fmt.Errorf("dns.timeout %s is negative: give for instance 2m", o.Timeout)
	case o.Interval < 0:
		return nil, fmt.Errorf("dns.interval %s is negative: give for instance 2s", o.Interval)
	}
	for _, r := range o.Resolvers {
		host, port, err := net.SplitHostPort(r)
		if n, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("dns.resolvers: %q is not host:port, for instance 192.0.2.53:53 or [2001:db8::53]:53", r)
		}
	}
	if !f.checks {
		f.resolvers = system(resolvConf)
	}
	// Three polls of a silent server, by UDP and TCP, leave time for the rest.
	f.attempt = min(attempt, f.timeout/10)
	return f, nil
}

// Resolvers that are asked, as host:port.
func (f *Finder) Resolvers() []string { return slices.Clone(f.resolvers) }

// system gives the resolvers of this machine. None is no error before one is
// needed.
func system(path string) []string {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range conf.Servers {
		out = append(out, net.JoinHostPort(s, conf.Port))
	}
	return out
}

var errNoResolver = errors.New("no DNS resolver is known, neither in dns.resolvers nor in " + resolvConf + ": set dns.resolvers")

// clock is how time passes.
type clock struct {
	// bound ends a context after a while, with errTimeout as its cause.
	bound func(context.Context, time.Duration) (context.Context, context.CancelFunc)
	// left is how long a bound context will last.
	left func(context.Context) time.Duration
	// pause waits, or until the context is done.
	pause func(context.Context, time.Duration)
}

var errTimeout = errors.New("the time for DNS is over")

func realClock() clock {
	return clock{
		bound: func(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, d, errTimeout)
		},
		left: func(ctx context.Context) time.Duration {
			end, ok := ctx.Deadline()
			if !ok {
				return 0
			}
			return time.Until(end)
		},
		pause: func(ctx context.Context, d time.Duration) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		},
	}
}
