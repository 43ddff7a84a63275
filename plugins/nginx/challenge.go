package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

const challengePrefix = "/.well-known/acme-challenge/"

// answer is one challenge as nginx is to answer it.
type answer struct {
	// host as a request names it, with brackets for IPv6.
	host  string
	token string
	body  string
}

// answerOf checks what becomes part of a configuration.
func answerOf(c sdk.Challenge) (answer, error) {
	if c.Type != sdk.HTTP01 {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this plugin answers http-01 only"))
		return answer{}, sdk.Hint(err, "choose another authenticator for this name")
	}
	a := answer{host: strings.ToLower(strings.TrimSuffix(c.Identifier.Value, ".")), token: c.Token, body: c.KeyAuthorization}
	if c.HTTP != nil {
		a.token, a.body = strings.TrimPrefix(c.HTTP.Path, challengePrefix), string(c.HTTP.Body)
	}
	if ip, err := netip.ParseAddr(a.host); err == nil && ip.Is6() {
		a.host = "[" + ip.String() + "]"
	}
	if a.token == "" || strings.Trim(a.token, base64url) != "" || strings.Trim(a.body, base64url+".") != "" {
		return answer{}, sdk.Problemf(sdk.Internal, "the host sent a challenge whose token or body is not base64url (RFC 8555 section 8.3)")
	}
	if c.Identifier.Wildcard || strings.Trim(a.host, "abcdefghijklmnopqrstuvwxyz0123456789-._:[]") != "" {
		return answer{}, sdk.Permanent(sdk.Problemf(sdk.Unsupported, "http-01 cannot prove control of %s", c.Identifier))
	}
	return a, nil
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func (a answer) path() string { return challengePrefix + a.token }

// location answers whatever else there is: the exact location wins over all
// others, and its return comes before any restriction of access.
func (a answer) location() line {
	return line{text: "location = " + a.path(), body: []line{
		{text: "default_type text/plain"},
		{text: "return 200 " + a.body},
	}}
}

// passing keeps rewrites, ifs and redirects of the block away from the path.
func (a answer) passing() line {
	return line{text: "rewrite ^(" + strings.ReplaceAll(a.path(), ".", `\.`) + ")$ $1 break"}
}

// challenge puts the answers into every block that nginx takes for their names,
// and makes a block for names that have none on the HTTP port.
func (c *configuration) challenge(answers []answer, p ports) error {
	if c.http == nil {
		return sdk.Hint(sdk.Problemf(sdk.InvalidConfig, "%s has no http block, so nginx serves no web pages", c.main.path),
			"add one, or choose another authenticator")
	}
	into := map[*server][]answer{}
	alone := map[string][]answer{}
	for _, a := range answers {
		found, missing := c.answering(a.host, p)
		for _, s := range found {
			into[s] = append(into[s], a)
		}
		if len(missing) > 0 {
			alone[a.host] = append(alone[a.host], a)
		}
	}
	var own []line
	for _, host := range sortedKeys(alone) {
		_, missing := c.answering(host, p)
		own = append(own, c.ownBlock(host, missing, alone[host]))
	}
	for _, s := range c.servers {
		var first, rest []line
		for _, a := range into[s] {
			first, rest = append(first, a.passing()), append(rest, a.location())
		}
		s.file.insert(s.node.body, 0, append(first, rest...)...)
	}
	// Last, so that none of them becomes the default server of an address.
	c.http.file.insert(c.http.node.body, len(c.http.node.body.nodes), own...)
	for _, host := range sortedKeys(alone) {
		c.roomFor(host)
	}
	return nil
}

// answering gives the blocks that have a name, and the addresses on the HTTP
// port where none has.
func (c *configuration) answering(host string, p ports) (found []*server, missing []endpoint) {
	plain := false
	for _, e := range c.addresses() {
		if e.port != p.http && e.port != p.https {
			continue
		}
		plain = plain || e.port == p.http
		switch s, how := c.choose(e, host); {
		case how.class == noMatch && e.port == p.http:
			missing = append(missing, e)
		case how.class != noMatch && !slices.Contains(found, s):
			found = append(found, s)
		}
	}
	if !plain {
		missing = []endpoint{{"*", p.http}}
		if c.v6() {
			missing = append(missing, endpoint{"[::]", p.http})
		}
	}
	return found, missing
}

func (c *configuration) ownBlock(host string, on []endpoint, answers []answer) line {
	out := line{text: "server"}
	for _, e := range on {
		text := "listen " + e.String()
		for _, option := range []struct {
			word string
			is   bool
		}{{"ssl", c.tls(e)}, {"proxy_protocol", c.proxyProtocol(e)}} {
			if option.is {
				text += " " + option.word
			}
		}
		out.body = append(out.body, line{text: text})
	}
	out.body = append(out.body, line{text: "server_name " + host})
	for _, a := range answers {
		out.body = append(out.body, a.location())
	}
	return line{text: out.text, body: append(out.body, line{text: "location /", body: []line{{text: "return 404"}}})}
}

// asked gives the addresses at which the CA may ask: all on the HTTP port.
func (c *configuration) asked(p ports) []endpoint {
	return slices.DeleteFunc(c.addresses(), func(e endpoint) bool { return e.port != p.http })
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (a answer) String() string { return fmt.Sprintf("http://%s%s", a.host, a.path()) }
