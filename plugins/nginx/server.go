package main

import (
	"context"
	"os"
	"slices"
	"strings"
)

// server is one server block, a virtual host.
type server struct {
	place
	order int
	// ordinal counts the blocks with the same names in a file.
	ordinal int
	names   []string
	listens []listen
	// implied: there is no listen directive, and the address is nginx's default.
	implied bool
	// sslOn is the old directive that makes all addresses of the block TLS.
	sslOn bool
}

// collect finds the server blocks.
func (c *configuration) collect(ctx context.Context) error {
	c.each(c.main, c.main.root, func(p place) {
		if p.node.name() != "http" || p.node.body == nil {
			return
		}
		if c.http == nil {
			c.http = &p
		}
		sslOn := false
		c.each(p.file, p.node.body, func(p place) {
			switch {
			case p.node.name() == "ssl":
				sslOn = p.node.arg(1) == "on"
			case p.node.name() != "server" || p.node.body == nil:
			case slices.ContainsFunc(c.servers, func(s *server) bool { return s.node == p.node }):
				// Its file is included twice; nginx takes the first.
			default:
				s := &server{place: p, order: len(c.servers)}
				c.servers = append(c.servers, s)
				c.readServer(ctx, s)
				for _, o := range c.servers[:s.order] {
					if o.file == s.file && slices.Equal(o.names, s.names) {
						s.ordinal++
					}
				}
			}
		})
		for _, s := range c.servers {
			s.sslOn = s.sslOn || sslOn
		}
	})
	for path := range c.files {
		c.countIncludes(c.files[path].root)
	}
	return ctx.Err()
}

func (c *configuration) countIncludes(b *block) {
	for _, n := range b.nodes {
		if n.name() == "include" && !n.isBlock() {
			for _, f := range c.include(n.arg(1)) {
				c.included[f.real]++
			}
		}
		if n.body != nil {
			c.countIncludes(n.body)
		}
	}
}

func (c *configuration) readServer(ctx context.Context, s *server) {
	c.each(s.file, s.node.body, func(p place) {
		switch p.node.name() {
		case "listen":
			s.listens = append(s.listens, parseListen(ctx, p)...)
		case "server_name":
			for _, name := range p.node.args() {
				if name == "$hostname" {
					name, _ = os.Hostname()
				}
				if !strings.HasPrefix(name, "~") {
					name = strings.ToLower(name)
				}
				s.names = append(s.names, name)
			}
		case "ssl":
			s.sslOn = p.node.arg(1) == "on"
		}
	})
	if len(s.listens) == 0 {
		s.implied = true
		s.listens = []listen{{host: "*", port: defaultPort()}}
	}
}

// defaultPort is where a block without listen is: nginx's own rule.
func defaultPort() int {
	if os.Getuid() == 0 {
		return 80
	}
	return 8000
}

// endpoint is an address and port that nginx listens on by TCP.
type endpoint struct {
	host string // "*", "[::]", "127.0.0.1", "[::1]"
	port int
}

// addresses gives all that is listened on, sorted.
func (c *configuration) addresses() []endpoint {
	var out []endpoint
	for _, s := range c.servers {
		for _, l := range s.listens {
			if l.tcp() && !slices.Contains(out, l.endpoint()) {
				out = append(out, l.endpoint())
			}
		}
	}
	slices.SortFunc(out, func(a, b endpoint) int {
		if a.port != b.port {
			return a.port - b.port
		}
		return strings.Compare(a.host, b.host)
	})
	return out
}

// on gives the blocks that listen on an address, in nginx's order.
func (c *configuration) on(e endpoint) []*server {
	var out []*server
	for _, s := range c.servers {
		if s.listensOn(e) {
			out = append(out, s)
		}
	}
	return out
}

func (s *server) listensOn(e endpoint) bool {
	return slices.ContainsFunc(s.listens, func(l listen) bool { return l.tcp() && l.endpoint() == e })
}

// tls says whether an address is TLS: if one block says so, it is for all.
func (c *configuration) tls(e endpoint) bool {
	return c.option(e, func(s *server, l listen) bool { return l.ssl || s.sslOn })
}

func (c *configuration) proxyProtocol(e endpoint) bool {
	return c.option(e, func(_ *server, l listen) bool { return l.has("proxy_protocol") })
}

func (c *configuration) option(e endpoint, is func(*server, listen) bool) bool {
	for _, s := range c.servers {
		for _, l := range s.listens {
			if l.tcp() && l.endpoint() == e && is(s, l) {
				return true
			}
		}
	}
	return false
}

// v6 says whether any block listens on IPv6.
func (c *configuration) v6() bool {
	return slices.ContainsFunc(c.addresses(), func(e endpoint) bool { return strings.HasPrefix(e.host, "[") })
}

// choose gives the block that nginx takes for a name on an address, and how it
// matches; the default one, with no match, if no name does.
func (c *configuration) choose(e endpoint, name string) (*server, match) {
	var best *server
	var how match
	servers := c.on(e)
	for _, s := range servers {
		for _, pattern := range s.names {
			if m := matches(pattern, name); m.better(how) {
				best, how = s, m
			}
		}
	}
	if best != nil {
		return best, how
	}
	for _, s := range servers {
		if slices.ContainsFunc(s.listens, func(l listen) bool {
			return l.tcp() && l.endpoint() == e && l.isDefault()
		}) {
			return s, match{}
		}
	}
	if len(servers) > 0 {
		return servers[0], match{}
	}
	return nil, match{}
}
