package main

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// copyEnding is certbot's, so that its users find what they know.
const copyEnding = "-le-ssl.conf"

const redirectNote = "# A redirect to https stood here. In the virtual host that https leads to it would go round in circles."

// copyPath is where the TLS copy of a virtual host goes.
func (v *vhost) copyPath() string {
	return strings.TrimSuffix(v.file.path, ".conf") + copyEnding
}

// copyText is a virtual host again, for TLS.
func (v *vhost) copyText(c *config, httpPort, httpsPort string) string {
	newline := v.file.newline()
	var block strings.Builder
	block.WriteString(indent(v.node.raw) + "<VirtualHost " + strings.Join(v.copyAddresses(c, httpPort, httpsPort), " ") + ">" + newline)
	printNodes(&block, v.node.children)
	block.WriteString(v.node.end)
	f, err := parse(v.copyPath(), block.String())
	if err != nil {
		panic(err) // it was read as a part of its file
	}
	f.closed()
	dropRedirects(v, &f.nodes, newline)
	return "<IfModule mod_ssl.c>" + newline + f.print() + "</IfModule>" + newline
}

// copyAddresses has the addresses of the plain port, or if there are none all,
// with the port of TLS.
func (v *vhost) copyAddresses(c *config, httpPort, httpsPort string) []string {
	args := words(v.node.args)
	var out []string
	add := func(plainOnly bool) {
		for i, a := range v.addrs {
			if plainOnly && !a.onPort(httpPort) {
				continue
			}
			host := strings.TrimSuffix(c.resolve(args[i]), ":"+a.port)
			if a.port == "" {
				host = strings.TrimSuffix(host, ":*")
			}
			if text := host + ":" + httpsPort; !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	if add(true); len(out) == 0 {
		add(false)
	}
	return out
}

// dropRedirects comments out what redirects to https, a rewrite rule with its
// conditions.
func dropRedirects(v *vhost, nodes *[]*node, newline string) {
	var conditions []*node
	var out []*node
	for _, n := range *nodes {
		switch {
		case n.kind == section:
			dropRedirects(v, &n.children, newline)
			conditions = nil
		case n.is("RewriteCond"):
			conditions = append(conditions, n)
		case n.is("RewriteRule"):
			if rewritesToHTTPS(n) {
				start := n
				if len(conditions) > 0 {
					start = conditions[0]
				}
				note := lines(indent(start.raw)+redirectNote+"\n", newline)
				at := slices.Index(out, start)
				if at < 0 {
					at = len(out)
				}
				out = slices.Insert(out, at, note...)
				for _, c := range conditions {
					c.comment()
				}
				n.comment()
			}
			conditions = nil
		case redirectsToHTTPS(v, n):
			out = append(out, lines(indent(n.raw)+redirectNote+"\n", newline)...)
			n.comment()
		}
		out = append(out, n)
	}
	*nodes = out
}

// rewritesToHTTPS: a RewriteRule that sends the client to https, and not one
// that asks another server.
func rewritesToHTTPS(n *node) bool {
	args := words(n.args)
	if len(args) < 2 || !strings.HasPrefix(strings.ToLower(args[1]), "https://") {
		return false
	}
	if len(args) > 2 {
		for flag := range strings.SplitSeq(strings.Trim(args[2], "[]"), ",") {
			if f := strings.ToLower(strings.TrimSpace(flag)); f == "p" || f == "proxy" {
				return false
			}
		}
	}
	return true
}

// redirectsToHTTPS: a Redirect of everything to the same host.
func redirectsToHTTPS(v *vhost, n *node) bool {
	args := words(n.args)
	if n.kind != directive || len(args) < 2 {
		return false
	}
	from, to := args[len(args)-2], args[len(args)-1]
	switch strings.ToLower(n.name) {
	case "redirect", "redirectpermanent", "redirecttemp":
		if from != "/" {
			return false
		}
	case "redirectmatch":
		if !slices.Contains([]string{"^", "/", "^/", ".*", "(.*)", "^(.*)", "^(.*)$", "^/(.*)", "^/(.*)$", "^/?(.*)", "^/?(.*)$"}, from) {
			return false
		}
	default:
		return false
	}
	u, err := url.Parse(strings.ReplaceAll(to, "$", ""))
	if err != nil {
		return strings.HasPrefix(strings.ToLower(to), "https://")
	}
	return u.Scheme == "https" && (len(v.names()) == 0 || v.serves(strings.ToLower(u.Hostname()))) && strings.Trim(u.Path, "/0123456789") == ""
}

// makeSecure gives the virtual host for TLS that belongs to a plain one, and the
// configuration with it.
func (c *config) makeSecure(v *vhost, httpPort, httpsPort string) (*config, *vhost, error) {
	path := v.copyPath()
	before := ""
	if c.ws.exists(path) {
		text, err := c.ws.read(path)
		if err != nil {
			return nil, nil, err
		}
		before = text
		if before != "" && !strings.HasSuffix(before, "\n") {
			before += v.file.newline()
		}
	} else {
		c.ws.modeLike(path, v.file.path)
	}
	c.ws.put(path, before+v.copyText(c, httpPort, httpsPort))
	next, err := load(c.ws, c.facts)
	if err != nil {
		return nil, nil, err
	}
	if next.files[path] == nil {
		next.enableSite(path)
		if next, err = load(c.ws, c.facts); err != nil {
			return nil, nil, err
		}
	}
	for _, made := range slices.Backward(next.vhosts) {
		if made.file.path == path {
			return next, made, nil
		}
	}
	return nil, nil, noVhost(v.name, "the copy for TLS in "+path+" is not read by httpd")
}

// enableSite has httpd read a file: by a symlink in sites-enabled where that is
// how it is done, else by an Include.
func (c *config) enableSite(path string) {
	enabled := filepath.Join(c.facts.serverRoot, "sites-enabled")
	for _, pattern := range c.includes {
		dir, last := filepath.Split(pattern)
		if filepath.Clean(dir) != enabled || !matches(last, filepath.Base(path)) {
			continue
		}
		target := path
		if root, err := filepath.EvalSymlinks(enabled); err == nil {
			if rel, err := filepath.Rel(root, path); err == nil && strings.Count(rel, "..") == 1 {
				target = rel
			}
		}
		c.ws.link(filepath.Join(enabled, filepath.Base(path)), target)
		return
	}
	main := c.order[0]
	main.append(written("Include", path) + "\n")
	c.changed(main)
}
