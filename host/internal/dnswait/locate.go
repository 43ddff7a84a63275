package dnswait

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

const (
	// maxAliases is how many CNAMEs in a row are followed; resolvers stop at
	// some 8 to 16.
	maxAliases = 8
	// maxCuts is how many delegations are followed down to one name.
	maxCuts = 8
)

// Place is where a record goes.
type Place struct {
	// Name of the record, aliases followed, and the zone that holds it, both in
	// lower case without the final dot.
	Name, Zone string
	// Servers are all authoritative servers of the zone, by every address.
	Servers []Server
}

// Server is one address of one name server.
type Server struct {
	Name string
	// Address is host:port.
	Address string
}

func (s Server) String() string { return fmt.Sprintf("%s (%s)", s.Name, s.Address) }

// Locate finds where a TXT record of this name has to go: it follows CNAME and
// the delegation of the name itself.
func (f *Finder) Locate(ctx context.Context, name string) (Place, error) {
	if _, ok := dns.IsDomainName(name); !ok || canonical(name) == "" {
		return Place{}, fmt.Errorf("find the zone of %q: it is no domain name", name)
	}
	name = canonical(name)
	p, err := f.places.do(ctx, name, func(ctx context.Context) (Place, error) { return f.locate(ctx, name) })
	if err != nil {
		return Place{}, fmt.Errorf("find the zone of %s: %w", name, err)
	}
	p.Servers = slices.Clone(p.Servers)
	return p, nil
}

func (f *Finder) locate(ctx context.Context, name string) (Place, error) {
	chain := []string{name}
	for {
		p, target, err := f.descend(ctx, name)
		if err != nil {
			return p, err
		}
		if target == "" {
			f.places.keep(p.Name, p)
			return p, nil
		}
		loops := slices.Contains(chain, target)
		chain = append(chain, target)
		switch {
		case loops:
			return p, fmt.Errorf("the CNAMEs go round in a circle: %s", strings.Join(chain, " -> "))
		case len(chain) > maxAliases+1:
			return p, fmt.Errorf("more than %d CNAMEs in a row: %s", maxAliases, strings.Join(chain, " -> "))
		}
		name = target
	}
}

// descend goes from the zone around a name down to the one that holds it, by
// what the zones' own servers say; or it finds that the name is an alias.
func (f *Finder) descend(ctx context.Context, name string) (p Place, target string, err error) {
	p.Name = name
	if p.Zone, err = f.around(ctx, name); err != nil {
		return p, "", err
	}
	if p.Servers, err = f.serversOf(ctx, p.Zone); err != nil {
		return p, "", err
	}
	for range maxCuts {
		reply, err := f.anyOf(ctx, p, name)
		if err != nil {
			return p, "", err
		}
		if target := alias(reply, name); target != "" {
			return p, target, nil
		}
		if child, servers := referral(reply, p.Zone, name); child != "" {
			p.Zone, p.Servers = child, f.addresses(ctx, child, servers, reply)
			if ctx.Err() != nil {
				return p, "", context.Cause(ctx)
			}
			continue
		}
		zone := apex(reply, name)
		switch {
		case zone == "" && reply.Authoritative:
			// A server that holds the zone and leaves its SOA out.
			return p, "", nil
		case zone == "":
			return p, "", fmt.Errorf("nobody says which zone below %s holds it", p.Zone)
		case zone != p.Zone:
			// One server may hold the zone and the one below it.
			p.Zone = zone
			p.Servers, err = f.serversOf(ctx, zone)
		}
		return p, "", err
	}
	return p, "", fmt.Errorf("more than %d delegations below each other, the last one to %s", maxCuts, p.Zone)
}

// anyOf asks all servers of a place for the SOA of a name and takes the first
// answer that is one. If there is none, the resolver has to be asked, at the
// price that it will remember if the name does not exist yet.
func (f *Finder) anyOf(ctx context.Context, p Place, name string) (*dns.Msg, error) {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	replies := make(chan *dns.Msg, len(p.Servers))
	errs := make([]error, len(p.Servers))
	var group errgroup.Group
	for i, s := range p.Servers {
		group.Go(func() error {
			reply, err := f.exchange(asking, s.Address, ask(name, dns.TypeSOA, false))
			if err == nil {
				if child, _ := referral(reply, p.Zone, name); child == "" {
					err = lame(reply)
				}
			}
			if err != nil {
				errs[i] = fmt.Errorf("ask %s of the zone %s: %w", s, p.Zone, err)
				return nil
			}
			replies <- reply
			stop()
			return nil
		})
	}
	_ = group.Wait() // errors are in errs
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case reply := <-replies:
		return reply, nil
	default:
	}
	reply, _, err := f.recurse(ctx, name, dns.TypeSOA)
	if err != nil {
		return nil, errors.Join(errors.Join(errs...), err)
	}
	return reply, nil
}

// around finds the zone that a name's parent is in, by walking up until a
// resolver knows a SOA. Labels that begin with an underscore are not asked for:
// they may not exist yet.
func (f *Finder) around(ctx context.Context, name string) (string, error) {
	_, base, _ := strings.Cut(name, ".")
	for strings.HasPrefix(base, "_") {
		_, base, _ = strings.Cut(base, ".")
	}
	if base == "" {
		return "", errors.New("there is no zone around it: it is a top level name")
	}
	return f.apexes.do(ctx, base, func(ctx context.Context) (string, error) { return f.walk(ctx, base) })
}

func (f *Finder) walk(ctx context.Context, base string) (string, error) {
	for name := base; name != ""; _, name, _ = strings.Cut(name, ".") {
		reply, resolver, err := f.recurse(ctx, name, dns.TypeSOA)
		if err != nil {
			return "", err
		}
		zone := apex(reply, name)
		if child := refers(reply, name); zone == "" && child != "" {
			zone = child // nobody knows more than who else would know
		}
		if zone != "" {
			return zone, nil
		}
		if reply.Rcode == dns.RcodeNameError && onlyRoot(reply) {
			return "", fmt.Errorf("the resolver %s knows no zone that holds %s: check the name, or set dns.resolvers to one that knows it", resolver, base)
		}
	}
	return "", fmt.Errorf("no zone holds %s, by %s: check the name, or set dns.resolvers to a resolver that knows it", base, strings.Join(f.resolvers, ", "))
}

// onlyRoot says that the root zone itself denies the name.
func onlyRoot(reply *dns.Msg) bool {
	return slices.ContainsFunc(reply.Ns, func(rr dns.RR) bool {
		soa, ok := rr.(*dns.SOA)
		return ok && soa.Hdr.Name == "."
	})
}

// serversOf finds every address of every name server of a zone.
func (f *Finder) serversOf(ctx context.Context, zone string) ([]Server, error) {
	return f.servers.do(ctx, zone, func(ctx context.Context) ([]Server, error) {
		reply, resolver, err := f.recurse(ctx, zone, dns.TypeNS)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, rr := range slices.Concat(reply.Answer, reply.Ns) {
			if ns, ok := rr.(*dns.NS); ok && same(ns.Hdr.Name, zone) {
				names = append(names, canonical(ns.Ns))
			}
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("the resolver %s knows no name server of the zone %s", resolver, zone)
		}
		servers := f.addresses(ctx, zone, names, reply)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return servers, nil
	})
}

// addresses finds those of name servers, IPv4 and IPv6. One without any is told
// of: the others may do.
func (f *Finder) addresses(ctx context.Context, zone string, names []string, along *dns.Msg) []Server {
	slices.Sort(names)
	names = slices.Compact(names)
	found := make([][]string, len(names))
	errs := make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(perServer)
	for i, name := range names {
		group.Go(func() error {
			found[i], errs[i] = f.resolve(ctx, name)
			return nil
		})
	}
	_ = group.Wait() // errors are in errs
	var out []Server
	for i, name := range names {
		if len(found[i]) == 0 {
			found[i] = glue(along, name)
		}
		if len(found[i]) == 0 && ctx.Err() == nil {
			f.progress("the name server %s of the zone %s has no address: %v", name, zone, errs[i])
		}
		for _, address := range found[i] {
			out = append(out, Server{Name: name, Address: net.JoinHostPort(address, f.port)})
		}
	}
	return out
}

// resolve gives the addresses of a host, as far as they are to be had.
func (f *Finder) resolve(ctx context.Context, name string) ([]string, error) {
	var out []string
	var errs []error
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		reply, _, err := f.recurse(ctx, name, qtype)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, rr := range reply.Answer {
			out = append(out, addressOf(rr, "")...)
		}
	}
	if len(out) == 0 && len(errs) == 0 {
		return nil, errors.New("it has neither A nor AAAA records")
	}
	slices.Sort(out)
	return slices.Compact(out), errors.Join(errs...)
}
