package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// How a challenge is answered: mod_rewrite ends the request with status 200
// before anything else of the virtual host looks at it (redirects, proxies,
// aliases, access control), and the body of "error" 200 is the key
// authorization. No file is served, so neither modes of directories, nor
// SELinux, nor a chroot are in the way. mod_rewrite runs the rules of a virtual
// host in order, so this piece stands at its start, and what switches mod_rewrite
// on at its end, where nothing can switch it off again.
//
// A virtual host that has rules but has them switched off gets the same by
// mod_alias: its rules must stay off for everybody else.

const pieceNote = "# Written by certwright for challenges that are under way. It goes when they are over."

const (
	preName   = "certwright-challenge-pre"
	postName  = "certwright-challenge-post"
	aliasName = "certwright-challenge-alias"
)

// answer puts the pieces into the chosen virtual hosts.
func (c *config) answer(chosen map[*vhost]bool, challenges map[string]*challenge) error {
	var byRule, byAlias []*vhost
	for _, v := range c.vhosts {
		switch {
		case !chosen[v]:
		case c.rulesAreOff(v):
			byAlias = append(byAlias, v)
		default:
			byRule = append(byRule, v)
		}
	}
	if len(byRule) > 0 {
		if _, err := c.enable("rewrite"); err != nil {
			return err
		}
		pre, post := c.piece(preName), c.piece(postName)
		c.ws.put(pre, preText(challenges))
		c.ws.put(post, pieceNote+"\nRewriteEngine on\n")
		for _, v := range byRule {
			v.prepend(innerIndent(v.node) + written("Include", pre) + "\n")
			v.add(innerIndent(v.node) + written("Include", post) + "\n")
			c.changed(v.file)
		}
	}
	if len(byAlias) > 0 {
		if _, err := c.enable("alias"); err != nil {
			return err
		}
		path := c.piece(aliasName)
		c.ws.put(path, aliasText(challenges))
		for _, v := range byAlias {
			v.prepend(innerIndent(v.node) + written("Include", path) + "\n")
			c.changed(v.file)
		}
	}
	return nil
}

// piece is a file beside the main configuration: httpd may read there. Its name
// has no ending, so that no Include of all files there takes it.
func (c *config) piece(name string) string {
	return filepath.Join(filepath.Dir(c.order[0].path), name)
}

func preText(challenges map[string]*challenge) string {
	var out strings.Builder
	out.WriteString(pieceNote + "\n")
	for _, token := range slices.Sorted(maps.Keys(challenges)) {
		one := challenges[token]
		out.WriteString(body(one))
		fmt.Fprintf(&out, "RewriteRule \"^%s%s$\" - [R=200,END]\n", strings.ReplaceAll(challengePath, ".", `\.`), token)
	}
	return out.String()
}

func aliasText(challenges map[string]*challenge) string {
	var out strings.Builder
	out.WriteString(pieceNote + "\n")
	for _, token := range slices.Sorted(maps.Keys(challenges)) {
		one := challenges[token]
		out.WriteString(body(one))
		fmt.Fprintf(&out, "<IfModule mod_proxy.c>\n    ProxyPass \"%s\" \"!\"\n</IfModule>\n", one.path())
		fmt.Fprintf(&out, "Redirect 200 \"%s\"\n", one.path())
	}
	return out.String()
}

func body(one *challenge) string {
	return fmt.Sprintf("<Location \"%s\">\n    ErrorDocument 200 \"%s\"\n</Location>\n", one.path(), one.body)
}

// rulesAreOff says whether a virtual host has rules for mod_rewrite that are
// switched off.
func (c *config) rulesAreOff(v *vhost) bool {
	rules, engine := false, c.rewriting
	c.inside(v, func(p place) {
		switch {
		case p.node.is("RewriteRule"):
			rules = true
		case p.node.is("RewriteEngine"):
			engine = strings.EqualFold(strings.TrimSpace(p.node.args), "on")
		}
	})
	return rules && !engine
}
