package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// service is one line of master.cf.
type service struct {
	// id is name/type, as postconf -P has it.
	id, name, kind, command string
	overrides               map[string]string
}

// parseServices reads what postconf -M and postconf -P print.
func parseServices(lines, overrides []string) []service {
	const columns = 8
	var out []service
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) < columns {
			continue
		}
		s := service{id: words[0] + "/" + words[1], name: words[0], kind: words[1], command: words[columns-1], overrides: map[string]string{}}
		for _, override := range overrides {
			rest, ok := strings.CutPrefix(override, s.id+"/")
			if name, value, isPair := strings.Cut(rest, " ="); ok && isPair {
				s.overrides[name] = strings.TrimSpace(value)
			}
		}
		out = append(out, s)
	}
	return out
}

// override is an option of a service in master.cf that undoes what is wanted.
type override struct{ service, name, value string }

func (o override) String() string {
	return fmt.Sprintf("%s: %s = %s", o.service, o.name, o.value)
}

// worse gives the overrides that are less secure than the rules demand, and
// those that name certificates of their own, in the order of master.cf.
func worse(services []service, rules []rule, main map[string]string, chain []string) []override {
	var out []override
	for _, s := range services {
		for _, r := range rules {
			value, ok := s.overrides[r.name]
			if !ok {
				continue
			}
			if _, bad := r.better(value, main); bad {
				out = append(out, override{s.id, r.name, value})
			}
		}
		for _, name := range s.ownCertificates(chain) {
			out = append(out, override{s.id, name, s.overrides[name]})
		}
	}
	return out
}

func (s service) ownCertificates(chain []string) []string {
	var out []string
	for _, name := range certificates {
		value, ok := s.overrides[name]
		if ok && value != "" && !slices.Equal(splitList(value), chain) || ok && value == "" && name == certificates[0] {
			out = append(out, name)
		}
	}
	return out
}

// endpoints gives where smtpd speaks TLS, and says of which services it cannot
// be known.
func endpoints(services []service, main map[string]string, chain []string) (out []sdk.Endpoint, unproven []string) {
	for _, s := range services {
		if s.kind != "inet" || s.command != "smtpd" && s.command != "postscreen" {
			continue
		}
		get := func(name string) string {
			if value, ok := s.overrides[name]; ok {
				return value
			}
			return main[name]
		}
		wrapped := strings.EqualFold(get("smtpd_tls_wrappermode"), "yes")
		switch {
		case get("smtpd_tls_security_level") == "none" && !wrapped:
			continue
		case len(s.ownCertificates(chain)) > 0:
			unproven = append(unproven, s.id+" has a certificate of its own in master.cf")
			continue
		case get("smtpd_upstream_proxy_protocol") != "" || s.command == "postscreen" && get("postscreen_upstream_proxy_protocol") != "":
			unproven = append(unproven, s.id+" is for connections from a proxy only")
			continue
		}
		host, port, err := splitService(s.name)
		if err != nil {
			unproven = append(unproven, s.id+": "+err.Error())
			continue
		}
		kind := sdk.SMTP
		if wrapped {
			kind = sdk.TLS
		}
		for _, address := range reachable(host, main) {
			e := sdk.Endpoint{Address: net.JoinHostPort(address, port), Kind: kind}
			if !slices.Contains(out, e) {
				out = append(out, e)
			}
		}
	}
	return out, unproven
}

// splitService takes the first column of an inet service apart: port, host:port
// or [host]:port, the port by its name or number.
func splitService(name string) (host, port string, err error) {
	port = name
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		host, port = strings.Trim(name[:i], "[]"), name[i+1:]
	}
	n, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", port) // by /etc/services
	if err != nil || n == 0 {
		return "", "", fmt.Errorf("%q is no TCP port", port)
	}
	return host, fmt.Sprint(n), nil
}

// reachable gives the hosts at which a service that listens at host is asked.
func reachable(host string, main map[string]string) []string {
	every := []string{"localhost"} // of both kinds, as far as they are there
	switch strings.ToLower(main["inet_protocols"]) {
	case "ipv4":
		every = []string{"127.0.0.1"}
	case "ipv6":
		every = []string{"::1"}
	}
	switch host {
	case "0.0.0.0", "*":
		return []string{"127.0.0.1"}
	case "::":
		return []string{"::1"}
	case "":
	default:
		return []string{host}
	}
	var out []string
	for _, name := range splitList(main["inet_interfaces"]) {
		switch strings.ToLower(name) {
		case "all", "loopback-only":
			return every
		}
		out = append(out, strings.Trim(name, "[]"))
	}
	if len(out) == 0 {
		return every
	}
	return out
}
