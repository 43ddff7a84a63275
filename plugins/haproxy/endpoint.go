package main

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

// endpoints gives the addresses at which haproxy serves the certificate in a
// file: of TLS binds that name it, its directory, or the crt-list.
func (c configuration) endpoints(file, directory, list string) []string {
	var out []string
	for _, b := range c.binds {
		if b.ssl && !b.closed && b.serves(file, directory, list) {
			out = append(out, b.reachable()...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (b bind) serves(file, directory, list string) bool {
	named := func(paths []string, path string) bool {
		return path != "" && slices.ContainsFunc(paths, func(p string) bool { return samePath(p, path) })
	}
	return named(b.crts, file) || named(b.crts, directory) || named(b.crtLists, list)
}

// plain gives the addresses at which haproxy speaks HTTP without TLS.
func (c configuration) plain() []string {
	var out []string
	for _, b := range c.binds {
		if b.web && !b.ssl && !b.closed {
			out = append(out, b.reachable()...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reachable gives host:port for each address that this machine can connect to.
func (b bind) reachable() []string {
	var out []string
	for _, address := range b.addresses {
		family, rest, prefixed := strings.Cut(address, "@")
		if !prefixed {
			family, rest = "", address
		}
		colon := strings.LastIndexByte(rest, ':')
		if colon < 0 || strings.HasPrefix(rest, "/") || family != "" && family != "ipv4" && family != "ipv6" {
			continue // a socket that is no TCP port, or was opened by another process
		}
		host, port := strings.Trim(rest[:colon], "[]"), rest[colon+1:]
		port, _, _ = strings.Cut(port, "-") // of a range, the first
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			continue
		}
		switch {
		case host == "::" || family == "ipv6" && (host == "" || host == "*"):
			out = append(out, net.JoinHostPort("::1", port))
			if !b.dual {
				continue
			}
			host = "127.0.0.1"
		case host == "" || host == "*" || host == "0.0.0.0":
			host = "127.0.0.1"
		}
		out = append(out, net.JoinHostPort(host, port))
	}
	return out
}
