package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// enhance stages more than a certificate for the blocks of a name.
func (c *configuration) enhance(name, what string, p ports) error {
	switch what {
	case "redirect":
		return c.redirect(name, p)
	case "hsts":
		return c.hsts(name, p)
	}
	err := sdk.Problemf(sdk.Unsupported, "nginx knows the enhancements redirect and hsts, not %q", what)
	return sdk.Permanent(err)
}

// secured gives the TLS blocks of a name on the HTTPS port.
func (c *configuration) secured(name string, p ports) ([]*server, error) {
	var out []*server
	for _, s := range c.named(name, p.https) {
		if c.isTLS(s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		err := sdk.Problemf(sdk.NotFound, "no server block of nginx serves %s by TLS on port %d", name, p.https)
		return nil, sdk.Hint(err, "deploy a certificate for %s first", name)
	}
	return out, nil
}

// named gives the blocks that nginx takes for a name on a port, or that have a
// wildcard as it stands.
func (c *configuration) named(name string, port int) []*server {
	var out []*server
	for _, e := range c.addresses() {
		if e.port != port {
			continue
		}
		for _, s := range c.on(e) {
			chosen, how := c.choose(e, name)
			is := chosen == s && how.class != noMatch
			if zone, ok := strings.CutPrefix(name, "*"); ok {
				is = slices.Contains(s.names, name) || slices.Contains(s.names, zone)
			}
			if is && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// redirect sends plain requests for a name to HTTPS. A block that serves both
// is split, so that each request meets as few conditions as may be.
func (c *configuration) redirect(name string, p ports) error {
	if _, err := c.secured(name, p); err != nil {
		return err
	}
	for _, s := range c.named(name, p.http) {
		if redirects(s.node.body, name) {
			continue
		}
		if !c.isTLS(s) {
			s.file.insert(s.node.body, 0, condition(name, p))
			continue
		}
		if err := c.split(s, name, p); err != nil {
			return err
		}
	}
	return nil
}

// redirects says whether a block sends a name, or all, to HTTPS already.
func redirects(b *block, name string) bool {
	for _, n := range b.nodes {
		switch {
		case n.name() == "return" && strings.HasPrefix(n.arg(len(n.words)-1), "https://"):
			return true
		case n.name() == "rewrite" && strings.HasPrefix(n.arg(2), "https://") && (n.arg(1) == "^" || strings.HasPrefix(n.arg(1), "^(.*)") || n.arg(1) == "^/(.*)"):
			return true
		case n.name() == "if" && n.body != nil && slices.Equal(n.args(), condition(name, ports{}).words()) && redirects(n.body, name):
			return true
		}
	}
	return false
}

// words are those of the line's directive, without its name.
func (l line) words() []string {
	b, err := parse(l.text + ";")
	if err != nil || len(b.nodes) != 1 {
		return nil
	}
	return b.nodes[0].args()
}

func condition(name string, p ports) line {
	test := "= " + name
	if zone, ok := strings.CutPrefix(name, "*."); ok {
		test = `~ ^[^.]+\.` + regexp.QuoteMeta(zone) + `$`
	}
	host := "$host"
	if p.https != 443 {
		host += fmt.Sprintf(":%d", p.https)
	}
	return line{text: "if ($host " + test + ")", body: []line{{text: "return 301 https://" + host + "$request_uri"}}}
}

// hsts has browsers use HTTPS only. A header of the block hides all that it
// would have from outside, so these are repeated.
func (c *configuration) hsts(name string, p ports) error {
	servers, err := c.secured(name, p)
	if err != nil {
		return err
	}
	const header = "Strict-Transport-Security"
	for _, s := range servers {
		var own, outer []place
		c.each(s.file, s.node.body, func(p place) {
			if p.node.name() == "add_header" {
				own = append(own, p)
			}
		})
		if slices.ContainsFunc(own, func(p place) bool { return strings.EqualFold(p.node.arg(1), header) }) {
			continue
		}
		c.each(c.http.file, c.http.node.body, func(p place) {
			if p.node.name() == "add_header" {
				outer = append(outer, p)
			}
		})
		var lines []line
		if len(own) == 0 {
			for _, h := range outer {
				lines = append(lines, line{text: strings.TrimSuffix(h.node.text(), ";")})
			}
		}
		if !slices.ContainsFunc(outer, func(p place) bool { return strings.EqualFold(p.node.arg(1), header) }) || len(own) > 0 {
			lines = append(lines, line{text: "add_header " + header + ` "max-age=31536000" always`})
		} else {
			continue // it has the header from outside
		}
		s.file.insert(s.node.body, c.afterNames(s), lines...)
	}
	return nil
}
