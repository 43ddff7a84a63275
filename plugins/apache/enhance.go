package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// The enhancements.
const (
	redirect = "redirect"
	hsts     = "hsts"
)

const (
	redirectFlags = "[END,NE,R=permanent]"
	hstsHeader    = "Strict-Transport-Security"
	// A year, as the preload lists want it at least.
	hstsValue = "max-age=31536000"
)

// redirectTarget is where the rule leads.
func redirectTarget(httpsPort string) string {
	if httpsPort == "443" {
		return "https://%{SERVER_NAME}%{REQUEST_URI}"
	}
	return "https://%{SERVER_NAME}:" + httpsPort + "%{REQUEST_URI}"
}

// ready finds the virtual host that serves a name by TLS.
func (c *config) ready(name, httpsPort string) (*vhost, error) {
	v := c.best(name, httpsPort)
	if v == nil || !v.secure(httpsPort) {
		p := sdk.Problemf(sdk.NotFound, "no virtual host of httpd serves %s by TLS", name)
		p.Hint = "deploy a certificate for it first: certwright install"
		return nil, sdk.Permanent(p)
	}
	return v, nil
}

// redirect sends plain requests for a name to https.
func (a *apache) redirect(ws *workspace, facts facts, name string) (effect, error) {
	httpPort, httpsPort := a.settings.httpPort(), a.settings.httpsPort()
	c, err := load(ws, facts)
	if err != nil {
		return effect{}, err
	}
	secure, err := c.ready(name, httpsPort)
	if err != nil {
		return effect{}, err
	}
	if _, err := c.enable("rewrite"); err != nil {
		return effect{}, err
	}
	var plain []*vhost
	for _, v := range c.vhosts {
		if !v.secure(httpsPort) && v.onPort(httpPort) && (v.serves(name) || slices.Contains(v.names(), name)) {
			plain = append(plain, v)
		}
	}
	if len(plain) == 0 {
		listens := c.ensureListen(httpPort, httpsPort, false)
		return effect{listens: listens, note: "a virtual host of its own redirects to https"}, c.redirectVhost(secure, name, httpPort, redirectTarget(httpsPort))
	}
	present := true
	for _, v := range plain {
		done, err := c.redirectIn(v, name, redirectTarget(httpsPort))
		if err != nil {
			return effect{}, err
		}
		present = present && done
	}
	if present {
		return effect{note: "the redirect to https is already present"}, nil
	}
	return effect{}, nil
}

// redirectIn puts the redirect into a plain virtual host, and says whether it was
// there.
func (c *config) redirectIn(v *vhost, name, target string) (present bool, err error) {
	var engine place
	var conditions, ours []place
	foreign, byRule := false, false
	c.inside(v, func(p place) {
		switch {
		case p.node.is("RewriteEngine"):
			engine = p
		case p.node.is("RewriteCond"):
			conditions = append(conditions, p)
		case p.node.is("RewriteRule"):
			all := len(conditions) == 0 && rewritesToHTTPS(p.node) && catchesAll(p.node)
			switch {
			case isOurs(p.node, target) && len(conditions) > 0:
				ours = conditions
			default:
				foreign = true
			}
			byRule = byRule || all
			conditions = nil
		default:
			present = present || redirectsToHTTPS(v, p.node)
		}
	})
	off := engine.node != nil && !strings.EqualFold(strings.TrimSpace(engine.node.args), "on")
	known := slices.ContainsFunc(ours, func(p place) bool { return isConditionFor(p.node, name) })
	switch {
	case present || !off && (byRule || known):
		return true, nil
	case foreign && c.rulesAreOff(v):
		p := sdk.Problemf(sdk.Conflict, "the virtual host at %s has rewrite rules that are switched off, so that none can be added", v.where())
		p.Hint = "remove them, or RewriteEngine off, there"
		return false, sdk.Permanent(p)
	}
	start := innerIndent(v.node)
	switch {
	case known:
	case ours != nil:
		first := ours[0]
		first.insertBefore(indent(first.node.raw) + written("RewriteCond", conditionFor(name)...) + " [OR]\n")
		c.changed(first.file)
	default:
		v.prepend(start + "RewriteEngine on\n" +
			start + written("RewriteCond", conditionFor(name)...) + "\n" +
			start + "RewriteRule ^ " + target + " " + redirectFlags + "\n")
	}
	if off {
		engine.set("on")
		c.changed(engine.file)
	}
	c.changed(v.file)
	return false, nil
}

// catchesAll: a rule for every path.
func catchesAll(n *node) bool {
	args := words(n.args)
	return len(args) > 1 && slices.Contains([]string{"^", ".*", "(.*)", "^(.*)$", "^.*$", "^/?(.*)", "^/?(.*)$", "^/(.*)$", "^/(.*)"}, args[0])
}

// isOurs knows the rule that is written here, and that certbot writes.
func isOurs(n *node, target string) bool {
	args := words(n.args)
	return len(args) == 3 && args[0] == "^" && args[1] == target && args[2] == redirectFlags
}

// conditionFor is the test of RewriteCond for a name.
func conditionFor(name string) []string {
	if domain, ok := strings.CutPrefix(name, "*."); ok {
		return []string{"%{SERVER_NAME}", `^[^.]+\.` + regexp.QuoteMeta(domain) + "$"}
	}
	return []string{"%{SERVER_NAME}", "=" + name}
}

func isConditionFor(n *node, name string) bool {
	args, want := words(n.args), conditionFor(name)
	return len(args) >= 2 && args[0] == want[0] && args[1] == want[1]
}

// redirectVhost makes a virtual host that only redirects one name.
func (c *config) redirectVhost(secure *vhost, name, httpPort, target string) error {
	file := "le-redirect-" + strings.ReplaceAll(name, "*", "_") + ".conf"
	dir := filepath.Join(c.facts.serverRoot, "sites-available")
	if !c.ws.isDir(dir) {
		dir = filepath.Dir(secure.file.path)
	}
	real, err := c.ws.real(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	if c.ws.exists(real) && c.files[real] == nil {
		p := sdk.Problemf(sdk.Conflict, "%s is there, but httpd does not read it", real)
		p.Hint = "remove it, or have httpd include it"
		return sdk.Permanent(p)
	}
	var hosts []string
	for _, word := range words(secure.node.args) {
		host := word
		if i := strings.LastIndexByte(word, ':'); i >= 0 && !strings.HasSuffix(word, "]") {
			host = word[:i]
		}
		if text := host + ":" + httpPort; !slices.Contains(hosts, text) {
			hosts = append(hosts, text)
		}
	}
	directive := "ServerName " + name
	if strings.HasPrefix(name, "*.") {
		directive = "ServerName " + secure.sample(name) + "\n    ServerAlias " + name
	}
	c.ws.put(real, fmt.Sprintf("<VirtualHost %s>\n    %s\n    RewriteEngine on\n    %s\n    RewriteRule ^ %s %s\n</VirtualHost>\n",
		strings.Join(hosts, " "), directive, written("RewriteCond", conditionFor(name)...), target, redirectFlags))
	next, err := load(c.ws, c.facts)
	if err == nil && next.files[real] == nil {
		next.enableSite(real)
	}
	return err
}

// hsts has browsers keep to https.
func (a *apache) hsts(ws *workspace, facts facts, name string) (effect, error) {
	c, err := load(ws, facts)
	if err != nil {
		return effect{}, err
	}
	v, err := c.ready(name, a.settings.httpsPort())
	if err != nil {
		return effect{}, err
	}
	present := false
	c.inside(v, func(p place) {
		present = present || p.node.is("Header") && strings.Contains(strings.ToLower(p.node.args), strings.ToLower(hstsHeader))
	})
	if present {
		return effect{note: "the header " + hstsHeader + " is already present"}, nil
	}
	if _, err := c.enable("headers"); err != nil {
		return effect{}, err
	}
	v.add(innerIndent(v.node) + written("Header", "always", "set", hstsHeader, hstsValue) + "\n")
	c.changed(v.file)
	return effect{}, nil
}
