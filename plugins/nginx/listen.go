package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// listen is one address of a listen directive.
type listen struct {
	place
	host    string
	port    int
	unix    bool
	ssl     bool
	options []string
}

func (l listen) endpoint() endpoint { return endpoint{l.host, l.port} }

func (l listen) has(option string) bool { return slices.Contains(l.options, option) }

func (l listen) isDefault() bool { return l.has("default_server") || l.has("default") }

// tcp leaves out sockets in the file system and QUIC, which is UDP.
func (l listen) tcp() bool { return !l.unix && !l.has("quic") && !l.has("http3") }

// parseListen reads a listen directive, which may name a range of ports or a
// host with several addresses.
func parseListen(ctx context.Context, p place) []listen {
	args := p.node.args()
	if len(args) == 0 {
		return nil
	}
	l := listen{place: p, options: args[1:]}
	l.ssl = l.has("ssl")
	if strings.HasPrefix(args[0], "unix:") {
		l.unix = true
		return []listen{l}
	}
	host, ports := splitListen(args[0])
	first, last, _ := strings.Cut(ports, "-")
	from, err := strconv.Atoi(first)
	to, errTo := strconv.Atoi(last)
	if errTo != nil {
		to = from
	}
	if err != nil || from < 1 || to > 65535 {
		return nil // nginx says what is wrong
	}
	var out []listen
	for _, h := range hosts(ctx, host) {
		for port := from; port <= to; port++ {
			l.host, l.port = h, port
			out = append(out, l)
		}
	}
	return out
}

// splitListen tells apart "80", "*:80", "host", "host:80", "[::]" and "[::]:80".
func splitListen(text string) (host, ports string) {
	if strings.HasPrefix(text, "[") {
		host, ports, _ = strings.Cut(text, "]")
		if ports = strings.TrimPrefix(ports, ":"); ports == "" {
			ports = "80"
		}
		return host + "]", ports
	}
	host, ports, ok := strings.Cut(text, ":")
	switch {
	case ok:
		return host, ports
	case text != "" && strings.Trim(text, "0123456789-") == "":
		return "*", text
	}
	return text, "80"
}

// hosts gives the canonical form of an address, and the addresses of a name.
func hosts(ctx context.Context, host string) []string {
	if host == "*" || host == "" {
		return []string{"*"}
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []string{canonicalHost(a)}
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return []string{host}
	}
	var out []string
	for _, a := range found {
		if text := canonicalHost(a.Unmap()); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

func canonicalHost(a netip.Addr) string {
	switch {
	case a.Is4() && a.IsUnspecified():
		return "*"
	case a.Is6():
		return "[" + a.String() + "]"
	}
	return a.String()
}

// String is how a listen directive names the address.
func (e endpoint) String() string {
	if e.host == "*" {
		return strconv.Itoa(e.port)
	}
	return e.host + ":" + strconv.Itoa(e.port)
}

// dial is where the address can be reached from this machine.
func (e endpoint) dial() string {
	host := strings.Trim(e.host, "[]")
	switch host {
	case "*":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, strconv.Itoa(e.port))
}
