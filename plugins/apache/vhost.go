package main

import (
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
)

// vhost is a <VirtualHost> that is in force. Those that mod_macro makes are not
// seen, so nothing is ever put into one.
type vhost struct {
	place
	addrs   []address
	name    string
	aliases []string
	// engine is what SSLEngine says; empty: nothing.
	engine string
}

// address is one of a virtual host. An empty host is any address, an empty port
// any port.
type address struct {
	host string
	port string
}

// splitAddress reads "80", "*:80", "192.0.2.1:80", "[2001:db8::1]:80", "name".
func splitAddress(text string) (host, port string) {
	if _, err := strconv.ParseUint(text, 10, 16); err == nil {
		return "", text
	}
	host = text
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		host, port = text[:i], text[i+1:]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	host = strings.ToLower(host)
	if host == "*" || host == "_default_" {
		host = ""
	}
	if port == "*" {
		port = ""
	}
	return host, port
}

func (a address) onPort(port string) bool { return a.port == "" || a.port == port }

func (c *config) addVhost(p place) {
	if slices.ContainsFunc(c.vhosts, func(v *vhost) bool { return v.node == p.node }) {
		return // its file is included twice
	}
	v := &vhost{place: p}
	for _, word := range words(p.node.args) {
		host, port := splitAddress(c.resolve(word))
		v.addrs = append(v.addrs, address{host: host, port: port})
	}
	c.inside(v, func(p place) {
		args := words(p.node.args)
		for i := range args {
			args[i] = strings.ToLower(c.resolve(args[i]))
		}
		if len(args) == 0 {
			return
		}
		switch strings.ToLower(p.node.name) {
		case "servername":
			v.name = hostOf(args[0])
		case "serveralias":
			v.aliases = append(v.aliases, args...)
		case "sslengine":
			v.engine = args[0]
		case "remoteipproxyprotocol", "remoteipproxyprotocolexceptions":
			c.noteProxy(p.node.name, args[0])
		}
	})
	c.vhosts = append(c.vhosts, v)
}

// inside visits the directives of a virtual host itself, not those in a
// <Directory> or the like.
func (c *config) inside(v *vhost, visit func(place)) {
	err := c.walk(v.file, &v.node.children, []*node{v.node}, 0, func(p place) bool {
		if p.node.kind == directive {
			visit(p)
		}
		return false
	})
	if c.err == nil {
		c.err = err
	}
}

// hostOf takes scheme and port off a ServerName.
func hostOf(name string) string {
	if _, rest, ok := strings.Cut(name, "://"); ok {
		name = rest
	}
	host, _ := splitAddress(name)
	return strings.TrimSuffix(host, ".")
}

// names are all of a virtual host.
func (v *vhost) names() []string {
	var out []string
	for _, name := range append([]string{v.name}, v.aliases...) {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// secure says whether it speaks TLS.
func (v *vhost) secure(httpsPort string) bool {
	if v.engine != "" {
		return v.engine != "off"
	}
	return slices.ContainsFunc(v.addrs, func(a address) bool { return a.port == httpsPort })
}

func (v *vhost) onPort(port string) bool {
	return slices.ContainsFunc(v.addrs, func(a address) bool { return a.onPort(port) })
}

// points says how well a virtual host fits a name: its very name 3, a wildcard 2,
// an address 1, and 3 more if it speaks TLS; 0 is not at all.
func (v *vhost) points(name, httpsPort string) int {
	points := 0
	switch {
	case slices.Contains(v.names(), name):
		points = 3
	case slices.ContainsFunc(v.names(), func(pattern string) bool { return wildcard(pattern, name) }):
		points = 2
	case slices.ContainsFunc(v.addrs, func(a address) bool { return a.host == name }):
		points = 1
	}
	if points > 0 && v.secure(httpsPort) {
		points += 3
	}
	return points
}

// serves says whether a request for a name is meant for it.
func (v *vhost) serves(name string) bool {
	return slices.ContainsFunc(v.names(), func(pattern string) bool { return pattern == name || wildcard(pattern, name) })
}

// wildcard matches a ServerAlias with * and ? as httpd does: they stand for dots
// too.
func wildcard(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok && strings.ContainsAny(pattern, "*?")
}

// hostPort is host:port as one writes it.
func hostPort(host, port string) string { return net.JoinHostPort(host, port) }
