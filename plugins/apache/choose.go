package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// where says where a virtual host is, for people.
func (v *vhost) where() string { return fmt.Sprintf("%s:%d", v.file.path, v.node.line) }

func (v *vhost) title() string {
	name := v.name
	if name == "" {
		name = "no ServerName"
	}
	return fmt.Sprintf("%s (%s, <VirtualHost %s>)", v.where(), name, v.node.args)
}

// best is the virtual host that fits a name best, the first of several; nil:
// none does.
func (c *config) best(name, httpsPort string) *vhost {
	var out *vhost
	most := 0
	for _, v := range c.vhosts {
		if points := v.points(name, httpsPort); points > most {
			out, most = v, points
		}
	}
	return out
}

// forName gives the virtual hosts that a certificate for a name goes into:
// mostly one, for a wildcard name all below it. pick is asked if several might be
// meant.
func (c *config) forName(name, httpsPort string, pick func([]*vhost) (*vhost, error)) ([]*vhost, error) {
	if v := c.best(name, httpsPort); v != nil {
		return []*vhost{v}, nil
	}
	if below, ok := strings.CutPrefix(name, "*."); ok {
		if out := c.below(below, httpsPort); len(out) > 0 {
			return out, nil
		}
		return nil, noVhost(name, "no virtual host has a name that it covers")
	}
	var others []*vhost
	for _, v := range c.vhosts {
		if !v.byDefaultOnly() {
			others = append(others, v)
		}
	}
	switch len(others) {
	case 0:
		return nil, noVhost(name, "there is no virtual host that could be used")
	case 1:
		return others, nil
	}
	v, err := pick(others)
	if err != nil {
		return nil, err
	}
	return []*vhost{v}, nil
}

// byDefaultOnly: its addresses are all _default_, so it takes what nobody else
// takes.
func (v *vhost) byDefaultOnly() bool {
	for _, word := range words(v.node.args) {
		if !strings.HasPrefix(strings.ToLower(word), "_default_") {
			return false
		}
	}
	return true
}

// below gives for each name that a wildcard covers the virtual host that fits it
// best.
func (c *config) below(domain, httpsPort string) []*vhost {
	var out []*vhost
	for _, v := range c.vhosts {
		for _, name := range v.names() {
			label, rest, _ := strings.Cut(name, ".")
			if rest != domain || strings.ContainsAny(label, "*?") {
				continue
			}
			if b := c.best(name, httpsPort); !slices.Contains(out, b) {
				out = append(out, b)
			}
		}
	}
	return out
}

func noVhost(name, why string) error {
	p := sdk.Problemf(sdk.NotFound, "no virtual host of httpd serves %s: %s", name, why)
	p.Hint = fmt.Sprintf("add ServerName %s or ServerAlias %s to the virtual host that is to have the certificate", name, name)
	p.Subject = name
	return sdk.Permanent(p)
}
