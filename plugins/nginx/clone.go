package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// copied is how a block is marked that was made for a name without one.
const copied = managed + ": copy of the default server for "

// blockFor gives a name without a block one: that which was made for another
// name of the same certificate, or a copy of the default server.
func (c *configuration) blockFor(name string, paths sdk.Paths, p ports) error {
	for _, s := range c.servers {
		if !strings.Contains(s.node.lead(), copied) || !c.has(s, paths) || slices.ContainsFunc(c.servers, func(o *server) bool {
			return o.isSplit() && c.whole(o) == s // another name would be missing over plain HTTP
		}) {
			continue
		}
		for _, n := range s.node.body.nodes {
			if n.name() == "server_name" {
				s.file.setArgs(s.node.body, n, append(n.args(), name)...)
				c.roomFor(name)
				return nil
			}
		}
	}
	from, err := c.defaultServer(name, p)
	if err != nil {
		return err
	}
	if !from.isSplit() {
		return c.copyOf(from, name, nil)
	}
	whole := c.whole(from)
	if whole == nil {
		err := sdk.Problemf(sdk.NotFound, "no server block of nginx has the name %s, and the default_server, which begins in %s line %d, only sends visitors to HTTPS",
			name, from.file.path, from.node.line)
		return sdk.Hint(sdk.Permanent(err), "write server_name %s; into the server block that is to serve it", name)
	}
	return c.copyOf(whole, name, from.plain())
}

// defaultServer gives the one block that is marked as default.
func (c *configuration) defaultServer(name string, p ports) (*server, error) {
	var onHTTP, onHTTPS, all []*server
	for _, s := range c.servers {
		for _, l := range s.listens {
			if !l.isDefault() {
				continue
			}
			for _, list := range []struct {
				to   *[]*server
				when bool
			}{{&onHTTP, l.port == p.http}, {&onHTTPS, l.port == p.https}, {&all, true}} {
				if list.when && !slices.Contains(*list.to, s) {
					*list.to = append(*list.to, s)
				}
			}
		}
	}
	for _, list := range [][]*server{onHTTP, onHTTPS, all} {
		if len(list) == 1 {
			return list[0], nil
		}
	}
	text := "no block is marked default_server that could be copied for it"
	if len(all) > 1 {
		text = "several blocks are marked default_server"
	}
	err := sdk.Problemf(sdk.NotFound, "no server block of nginx has the name %s, and %s", name, text)
	return nil, sdk.Hint(sdk.Permanent(err), "write server_name %s; into the server block that is to serve it", name)
}

// onceOnly are the options of listen that may be given once for an address.
func onceOnly(option string) bool {
	name, _, _ := strings.Cut(option, "=")
	switch name {
	case "default_server", "default", "ipv6only", "reuseport", "backlog", "bind", "fastopen", "deferred",
		"so_keepalive", "setfib", "rcvbuf", "sndbuf", "accept_filter", "multipath":
		return true
	}
	return false
}

// copyOf makes a block like another one for a name, with more addresses.
func (c *configuration) copyOf(s *server, name string, more []line) error {
	b, err := parse(s.node.text())
	if err != nil {
		return fmt.Errorf("copy the default server in %s line %d: %w", s.file.path, s.node.line, err)
	}
	n := b.nodes[0]
	named := false
	for i := 0; i < len(n.body.nodes); i++ {
		switch d := n.body.nodes[i]; d.name() {
		case "listen":
			args := slices.DeleteFunc(d.args(), onceOnly)
			if !slices.Equal(args, d.args()) {
				s.file.setArgs(n.body, d, args...)
			}
		case "server_name":
			if named {
				s.file.remove(n.body, i)
				i--
				continue
			}
			s.file.setArgs(n.body, d, name)
			named = true
		}
	}
	indent, at := s.file.indentOf(s.in), slices.Index(s.in.nodes, s.node)+1
	n.after = " " + managed
	s.file.insertNode(s.in, at, n, indent)
	// It is on a line of its own, above the block.
	n.setLead(n.lead() + copied + name + s.file.eol + indent)
	if !named {
		// indentOf needs the block to be in its place.
		s.file.insert(n.body, len(n.body.nodes), line{text: "server_name " + quote(name)})
	}
	first := slices.IndexFunc(n.body.nodes, func(d *node) bool { return d.name() == "listen" })
	s.file.insert(n.body, max(first, 0), more...)
	c.roomFor(name)
	return nil
}

// roomFor raises server_names_hash_bucket_size if a name does not fit, which
// nginx would refuse.
func (c *configuration) roomFor(name string) {
	const pointer, least = 8, 128
	need := pointer + (len(name)+2+pointer-1)/pointer*pointer + pointer
	if c.http == nil || need <= 64 {
		return
	}
	size := least
	for size < need {
		size *= 2
	}
	var found *place
	c.each(c.http.file, c.http.node.body, func(p place) {
		if p.node.name() == "server_names_hash_bucket_size" {
			found = &p
		}
	})
	if found == nil {
		c.http.file.insert(c.http.node.body, 0, line{text: fmt.Sprintf("server_names_hash_bucket_size %d", size)})
		return
	}
	now := 0
	if _, err := fmt.Sscanf(found.node.arg(1), "%d", &now); err != nil || now < size {
		found.file.setArgs(found.in, found.node, fmt.Sprint(size))
	}
}
