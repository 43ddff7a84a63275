package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// The directives of a certificate.
const (
	engineDirective = "SSLEngine"
	certDirective   = "SSLCertificateFile"
	keyDirective    = "SSLCertificateKeyFile"
	chainDirective  = "SSLCertificateChainFile"
)

// certify has a virtual host that speaks TLS use a certificate. What says so
// already stays as it is, byte for byte.
func (c *config) certify(v *vhost, paths sdk.Paths) error {
	want := []struct{ name, value string }{
		{engineDirective, "on"}, {certDirective, paths.Fullchain}, {keyDirective, paths.Privkey}, {chainDirective, ""},
	}
	if c.facts.version[1] == 4 && c.facts.version[2] < 8 {
		// Before 2.4.8 intermediates are not read from the certificate's file.
		want[1].value, want[3].value = paths.Cert, paths.Chain
	}
	found := map[string][]place{}
	c.inside(v, func(p place) {
		for _, w := range want {
			if p.node.is(w.name) {
				found[w.name] = append(found[w.name], p)
			}
		}
	})
	for _, w := range want {
		places := found[w.name]
		if w.name == engineDirective {
			if v.engine == "" || v.engine == "off" {
				if err := c.settle(v, w.name, w.value, places); err != nil {
					return err
				}
			}
			continue
		}
		if err := c.settle(v, w.name, w.value, places); err != nil {
			return err
		}
	}
	return nil
}

// settle leaves exactly one directive with a value, or none for an empty value.
func (c *config) settle(v *vhost, name, value string, places []place) error {
	if value != "" && len(places) == 0 {
		v.add(innerIndent(v.node) + written(name, value) + "\n")
		c.changed(v.file)
		return nil
	}
	for i, p := range places {
		args := words(p.node.args)
		if i == 0 && value != "" && len(args) == 1 && c.same(args[0], value) {
			continue
		}
		if err := c.mayEdit(v, p); err != nil {
			return err
		}
		if i == 0 && value != "" {
			p.set(value)
		} else {
			p.remove()
		}
		c.changed(p.file)
	}
	return nil
}

// same compares two arguments, which may be paths.
func (c *config) same(arg, value string) bool {
	arg = c.resolve(arg)
	return strings.EqualFold(arg, value) && value == "on" || arg == value ||
		filepath.IsAbs(value) && c.absolute(arg) == filepath.Clean(value)
}

// mayEdit refuses to change a file that other virtual hosts include as well.
func (c *config) mayEdit(v *vhost, p place) error {
	if p.file == v.file {
		return nil
	}
	for _, other := range c.vhosts {
		if other == v {
			continue
		}
		shared := false
		c.inside(other, func(q place) { shared = shared || q.node == p.node })
		if shared {
			problem := sdk.Problemf(sdk.Conflict, "%s is set at %s:%d, which the virtual hosts at %s and %s share",
				p.node.name, p.file.path, p.node.line, v.where(), other.where())
			problem.Hint = "move it from there into each virtual host"
			return sdk.Permanent(problem)
		}
	}
	return nil
}

// answerTo adds a name to a virtual host that does not have it.
func (c *config) answerTo(v *vhost, name string) {
	if v.serves(name) || strings.HasPrefix(name, "*.") {
		return
	}
	directive := "ServerAlias"
	if v.name == "" {
		directive, v.name = "ServerName", name
	} else {
		v.aliases = append(v.aliases, name)
	}
	v.prepend(innerIndent(v.node) + written(directive, name) + "\n")
	c.changed(v.file)
}

// uses says whether a virtual host has a certificate file already.
func (c *config) uses(v *vhost, path string) bool {
	out := false
	c.inside(v, func(p place) {
		if args := words(p.node.args); p.node.is(certDirective) && len(args) == 1 && c.same(args[0], path) {
			out = true
		}
	})
	return out
}

// both refuses a virtual host that takes plain requests and TLS.
func (v *vhost) both(httpPort, httpsPort string) error {
	has := func(port string) bool {
		return slices.ContainsFunc(v.addrs, func(a address) bool { return a.port == port })
	}
	if v.engine == "on" || !has(httpPort) || !has(httpsPort) {
		return nil
	}
	p := sdk.Problemf(sdk.Conflict, "the virtual host at %s takes both plain requests and TLS", v.where())
	p.Hint = "make two of it: <VirtualHost *:" + httpPort + "> and <VirtualHost *:" + httpsPort + ">"
	return sdk.Permanent(p)
}
