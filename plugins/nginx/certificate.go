package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// ports are those that a name's visitors come to.
type ports struct{ http, https int }

// targets gives the blocks that are to show a certificate for a name: those
// that nginx takes for it on the HTTPS port, or else on any TLS address, or
// else its plain ones, which are then made TLS. None: no block has the name.
func (c *configuration) targets(name string, p ports) []*server {
	var https, tls, http, plain []*server
	add := func(list *[]*server, s *server) {
		if !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for _, e := range c.addresses() {
		s, how := c.choose(e, name)
		switch {
		case how.class == noMatch:
		case c.tls(e) && e.port == p.https:
			add(&https, s)
		case c.tls(e):
			add(&tls, s)
		case e.port == p.http:
			add(&http, s)
		default:
			add(&plain, s)
		}
	}
	for _, list := range [][]*server{https, tls, http, plain} {
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

// isTLS says whether a block is on any TLS address.
func (c *configuration) isTLS(s *server) bool {
	return slices.ContainsFunc(s.listens, func(l listen) bool { return l.tcp() && c.tls(l.endpoint()) })
}

// secure puts a certificate into a block, and makes it TLS if it is not.
func (c *configuration) secure(s *server, paths sdk.Paths, p ports) error {
	plain := !c.isTLS(s)
	if err := c.setPair(s, paths); err != nil {
		return err
	}
	if !plain {
		return nil
	}
	return c.addTLS(s, p)
}

// setPair makes the directives of a block name the pair, once.
func (c *configuration) setPair(s *server, paths sdk.Paths) error {
	if err := c.clearIncludes(s); err != nil {
		return err
	}
	for _, d := range []struct{ name, path string }{
		{"ssl_certificate", paths.Fullchain}, {"ssl_certificate_key", paths.Privkey},
	} {
		if err := c.setOne(s, d.name, d.path); err != nil {
			return err
		}
	}
	return nil
}

func (c *configuration) setOne(s *server, name, path string) error {
	if strings.Contains(path, "$") {
		return sdk.Problemf(sdk.Unsupported, "nginx takes the dollar sign in %s for a variable", path)
	}
	var found []place
	c.each(s.file, s.node.body, func(p place) {
		if p.node.name() == name && !p.node.isBlock() {
			found = append(found, p)
		}
	})
	if len(found) == 0 {
		s.file.insert(s.node.body, c.afterNames(s), line{text: name + " " + quote(path)})
		return nil
	}
	found[0].file.setArgs(found[0].in, found[0].node, path)
	// Of the others nginx would still show one to clients that prefer its kind.
	for _, extra := range found[1:] {
		extra.file.disable(extra.in, slices.Index(extra.in.nodes, extra.node))
	}
	return nil
}

// clearIncludes takes certificates out of a block that come from an included
// file. One that has nothing else is not included any more; one that is for this
// block only is edited like it.
func (c *configuration) clearIncludes(s *server) error {
	b := s.node.body
	for i := 0; i < len(b.nodes); i++ {
		n := b.nodes[i]
		if n.name() != "include" || n.isBlock() {
			continue
		}
		has, other, shared := false, false, false
		for _, f := range c.include(n.arg(1)) {
			shared = shared || c.included[f.real] > 1
			c.each(f, f.root, func(p place) {
				if strings.HasPrefix(p.node.name(), "ssl_certificate") && !p.node.isBlock() {
					has = true
				} else {
					other = true
				}
				shared = shared || c.included[p.file.real] > 1
			})
		}
		switch {
		case !has:
		case !other:
			s.file.disable(b, i)
			i--
		case shared:
			err := sdk.Problemf(sdk.Conflict, "the block that begins in %s line %d has its certificate from %q, which others include too",
				s.file.path, s.node.line, n.arg(1))
			return sdk.Hint(sdk.Permanent(err), "move ssl_certificate and ssl_certificate_key from the included file into the server blocks")
		}
	}
	return nil
}

// afterNames is where a directive goes that belongs to the block as a whole:
// behind its last listen, server_name or certificate.
func (c *configuration) afterNames(s *server) int {
	at := 0
	for i, n := range s.node.body.nodes {
		switch n.name() {
		case "listen", "server_name", "ssl_certificate", "ssl_certificate_key":
			at = i + 1
		}
	}
	return at
}

// addTLS has a plain block listen on the HTTPS port too, on the addresses that
// it has on the HTTP port, or else on those that it has.
func (c *configuration) addTLS(s *server, p ports) error {
	from := slices.DeleteFunc(slices.Clone(s.listens), func(l listen) bool { return !l.tcp() || l.port != p.http })
	if len(from) == 0 {
		from = slices.DeleteFunc(slices.Clone(s.listens), func(l listen) bool { return !l.tcp() })
	}
	if len(from) == 0 {
		return sdk.Hint(sdk.Problemf(sdk.Conflict, "the block that begins in %s line %d listens on no TCP address",
			s.file.path, s.node.line), "add a listen directive")
	}
	var lines []line
	if s.implied {
		lines = append(lines, line{text: fmt.Sprintf("listen %d", from[0].port)})
	}
	known := c.addresses()
	var done []endpoint
	for _, l := range from {
		e := endpoint{l.host, p.https}
		if slices.Contains(done, e) {
			continue
		}
		done = append(done, e)
		if slices.Contains(known, e) && !c.tls(e) {
			other := c.on(e)[0]
			err := sdk.Problemf(sdk.Conflict, "%s is to be TLS, but the block that begins in %s line %d has it as plain HTTP",
				e, other.file.path, other.node.line)
			return sdk.Hint(sdk.Permanent(err), "add the word ssl to that listen directive, or move it to another port")
		}
		text := fmt.Sprintf("listen %s ssl", e)
		// Options of an address may be given once only; they are like those of the
		// plain one.
		if l.has("ipv6only=off") && !slices.Contains(known, e) {
			text += " ipv6only=off"
		}
		lines = append(lines, line{text: text})
	}
	s.file.insert(s.node.body, c.afterListens(s), lines...)
	return nil
}

func (c *configuration) afterListens(s *server) int {
	at := 0
	for i, n := range s.node.body.nodes {
		if n.name() == "listen" {
			at = i + 1
		}
	}
	return at
}

// uncovered gives the names of a block that a certificate is not for.
func (s *server) uncovered(certified []string) []string {
	var out []string
	for _, name := range s.names {
		if isPlainName(name) && !slices.ContainsFunc(certified, func(c string) bool { return covers(c, name) }) {
			out = append(out, name)
		}
	}
	return out
}

// has says whether a block shows this pair.
func (c *configuration) has(s *server, paths sdk.Paths) bool {
	found := false
	c.each(s.file, s.node.body, func(p place) {
		if p.node.name() == "ssl_certificate" && filepath.Clean(p.node.arg(1)) == paths.Fullchain {
			found = true
		}
	})
	return found
}

// shown gives the addresses on which nginx shows a block's certificate for a
// name, as they can be asked from this machine.
func (c *configuration) shown(ctx context.Context, name string, s *server) (out []sdk.Endpoint, hidden []string) {
	for _, e := range c.addresses() {
		if !c.tls(e) || ctx.Err() != nil {
			continue
		}
		if chosen, _ := c.choose(e, name); chosen == nil || chosen.node != s.node {
			continue
		}
		switch local, masked := c.reached(e); {
		case c.proxyProtocol(e):
			hidden = append(hidden, fmt.Sprintf("%s wants the PROXY protocol", e))
		case masked:
			hidden = append(hidden, fmt.Sprintf("%s is listened on by other blocks too, which get what is asked from here", local.dial()))
		default:
			out = append(out, sdk.Endpoint{Address: e.dial(), ServerName: name, Kind: sdk.TLS})
			if e.host == "[::]" && c.both(e) {
				out = append(out, sdk.Endpoint{Address: endpoint{"*", e.port}.dial(), ServerName: name, Kind: sdk.TLS})
			}
		}
	}
	return out, hidden
}

// reached says that a wildcard address is masked: nginx serves what comes to a
// more specific one by the blocks of that.
func (c *configuration) reached(e endpoint) (local endpoint, masked bool) {
	switch e.host {
	case "*":
		local = endpoint{"127.0.0.1", e.port}
	case "[::]":
		local = endpoint{"[::1]", e.port}
	default:
		return e, false
	}
	return local, slices.Contains(c.addresses(), local)
}

// both says whether an IPv6 address takes IPv4 as well.
func (c *configuration) both(e endpoint) bool {
	return c.option(e, func(_ *server, l listen) bool { return l.has("ipv6only=off") })
}
