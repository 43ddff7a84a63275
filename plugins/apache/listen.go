package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/certwright/certwright/sdk"
)

func (l listen) any() bool { return l.host == "" || l.host == "0.0.0.0" || l.host == "::" }

// address is as it stands in a Listen directive.
func (l listen) address() string {
	if l.host == "" {
		return l.port
	}
	return hostPort(l.host, l.port)
}

func (c *config) on(port string) []listen {
	var out []listen
	for _, l := range c.listens {
		if l.port == port {
			out = append(out, l)
		}
	}
	return out
}

// ensureListen has httpd listen on a port at the addresses where it listens on
// another one, and gives what is new.
func (c *config) ensureListen(port, like string, https bool) []listen {
	have := c.on(port)
	models := c.on(like)
	if len(models) == 0 {
		models = []listen{{}}
	}
	var added []listen
	for _, m := range models {
		covered := slices.ContainsFunc(have, func(l listen) bool { return l.host == m.host || l.any() })
		// A socket for any address beside one for a single address is refused.
		if covered || m.any() && len(have) > 0 {
			continue
		}
		l := listen{host: m.host, port: port, https: https}
		have, added = append(have, l), append(added, l)
	}
	if len(added) == 0 {
		return nil
	}
	at := c.listenPlace(like, https)
	outside := ""
	if at.node != nil {
		outside = indent(at.node.raw)
	}
	start := outside
	var text strings.Builder
	if https {
		fmt.Fprintf(&text, "%s<IfModule mod_ssl.c>\n", start)
		start += "    "
	}
	for _, l := range added {
		text.WriteString(start + "Listen " + l.address())
		if https && port != "443" {
			text.WriteString(" https")
		}
		text.WriteString("\n")
	}
	if https {
		fmt.Fprintf(&text, "%s</IfModule>\n", outside)
	}
	if at.node != nil {
		at.insertAfter(text.String())
	} else {
		at.file.append(text.String())
	}
	c.changed(at.file)
	c.listens = append(c.listens, added...)
	return added
}

// listenPlace is behind the last Listen for a port, or the last of all, or
// without a node the end of the main file. What depends on mod_ssl stands behind
// what loads it: httpd looks whether the module is there when it comes to the
// condition.
func (c *config) listenPlace(port string, https bool) place {
	var out listen
	for _, l := range c.listens {
		if l.place.node != nil && (l.port == port || out.place.node == nil) {
			out = l
		}
	}
	switch {
	case https && c.tls.node != nil && (out.place.node == nil || out.step < c.tlsStep):
		return c.tls.behindLoads()
	case out.place.node == nil:
		return place{file: c.order[0]}
	}
	return out.place
}

// free checks that nobody else has the addresses: httpd would end when it is
// told to take them.
func free(listens []listen) error {
	for _, l := range listens {
		address := hostPort(l.host, l.port)
		socket, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			p := sdk.Problemf(sdk.Conflict, "httpd has to listen on %s, which another program has", address)
			p.Hint = fmt.Sprintf("find that program with ss -ltnp 'sport = :%s', or choose another https_port", l.port)
			return p
		}
		if err == nil { // who may not try will hear it from httpd
			_ = socket.Close()
		}
	}
	return nil
}

// contacts are the addresses where a virtual host is to be reached on a port,
// from this machine.
func (c *config) contacts(v *vhost, port string) []string {
	if c.proxied && !c.excepted {
		return nil
	}
	var out []string
	for _, a := range v.addrs {
		if !a.onPort(port) {
			continue
		}
		if a.host != "" {
			if isLocal(a.host) {
				out = append(out, hostPort(a.host, port))
			}
			continue
		}
		for _, l := range c.on(port) {
			if !l.any() {
				if !c.claimed(l.host, port, v) {
					out = append(out, hostPort(l.host, port))
				}
				continue
			}
			for _, host := range c.local(l.host, port, v) {
				out = append(out, hostPort(host, port))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// isLocal says whether an address is one of this machine; a name may be. Behind
// a translation of addresses a virtual host may name one that nothing reaches.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	all, err := net.InterfaceAddrs()
	if ip == nil || err != nil || ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		network, ok := a.(*net.IPNet)
		return ok && network.IP.Equal(ip)
	})
}

// claimed says whether a request to an address goes to other virtual hosts than
// one for any address.
func (c *config) claimed(host, port string, but *vhost) bool {
	return slices.ContainsFunc(c.vhosts, func(v *vhost) bool {
		return v != but && slices.ContainsFunc(v.addrs, func(a address) bool { return a.host == host && a.onPort(port) })
	})
}

// local gives an address of this machine for each family that a socket for any
// address takes.
func (c *config) local(host, port string, v *vhost) []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return []string{"127.0.0.1"}
	}
	var four, six string
	consider := func(ip net.IP) {
		if ip.IsLinkLocalUnicast() || c.claimed(ip.String(), port, v) {
			return
		}
		family := &six
		if ip.To4() != nil {
			family = &four
		}
		if *family == "" || ip.IsLoopback() {
			*family = ip.String()
		}
	}
	for _, a := range all {
		if network, ok := a.(*net.IPNet); ok {
			consider(network.IP)
		}
	}
	var out []string
	if four != "" && host != "::" {
		out = append(out, four)
	}
	if six != "" && host != "0.0.0.0" {
		out = append(out, six)
	}
	return out
}
