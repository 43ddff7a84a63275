package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// intent is what is to be done for one name. It is kept rather than the edits
// themselves, because the files may be others by the time that it is saved.
type intent struct {
	name string
	// enhancement is empty for a certificate.
	enhancement string
	paths       sdk.Paths
	// picked is the virtual host that the user has chosen.
	picked *vhostKey
}

// same says whether one intent takes the place of another.
func (i intent) same(o intent) bool { return i.name == o.name && i.enhancement == o.enhancement }

// vhostKey finds a virtual host again after the files were edited.
type vhostKey struct {
	path string
	// number among those of its file.
	number int
}

func (c *config) key(v *vhost) vhostKey {
	k := vhostKey{path: v.file.path}
	for _, other := range c.vhosts {
		if other == v {
			break
		}
		if other.file.path == v.file.path {
			k.number++
		}
	}
	return k
}

func (c *config) find(k vhostKey) *vhost {
	number := 0
	for _, v := range c.vhosts {
		if v.file.path != k.path {
			continue
		}
		if number == k.number {
			return v
		}
		number++
	}
	return nil
}

// effect is what came of an intent, in the workspace.
type effect struct {
	endpoints []sdk.Endpoint
	// listens are new sockets.
	listens []listen
	// note is for the user.
	note string
}

// apply brings an intent into the workspace.
func (a *apache) apply(ctx context.Context, ws *workspace, facts facts, i *intent, r sdk.Reporter) (effect, error) {
	switch i.enhancement {
	case "":
		return a.install(ctx, ws, facts, i, r)
	case redirect:
		return a.redirect(ws, facts, i.name)
	case hsts:
		return a.hsts(ws, facts, i.name)
	}
	return effect{}, sdk.Permanent(sdk.Problemf(sdk.Unsupported, "there is no enhancement %q; there are %s and %s", i.enhancement, redirect, hsts))
}

// install puts a certificate into the virtual hosts of a name.
func (a *apache) install(ctx context.Context, ws *workspace, facts facts, i *intent, r sdk.Reporter) (effect, error) {
	httpPort, httpsPort := a.settings.httpPort(), a.settings.httpsPort()
	c, err := load(ws, facts)
	if err != nil {
		return effect{}, err
	}
	// With mod_ssl more of the configuration may be in force.
	if added, err := c.enable("ssl"); err != nil {
		return effect{}, err
	} else if added {
		if c, err = load(ws, facts); err != nil {
			return effect{}, err
		}
	}
	chosen, err := c.forName(i.name, httpsPort, func(all []*vhost) (*vhost, error) {
		return a.pick(ctx, c, all, i, r)
	})
	if err != nil {
		return effect{}, err
	}
	var targets []vhostKey
	for _, v := range chosen {
		targets = append(targets, c.key(v))
	}
	for n, key := range targets {
		v := c.find(key)
		if err := v.both(httpPort, httpsPort); err != nil {
			return effect{}, err
		}
		if v.secure(httpsPort) {
			continue
		}
		if twin := c.twin(v, httpsPort); twin != nil {
			targets[n] = c.key(twin)
			continue
		}
		if c, v, err = c.makeSecure(v, httpPort, httpsPort); err != nil {
			return effect{}, err
		}
		targets[n] = c.key(v)
	}
	var out effect
	out.listens = c.ensureListen(httpsPort, httpPort, true)
	for _, key := range targets {
		v := c.find(key)
		c.answerTo(v, i.name)
		if err := c.certify(v, i.paths); err != nil {
			return effect{}, err
		}
		for _, address := range c.contacts(v, httpsPort) {
			e := sdk.Endpoint{Address: address, ServerName: v.sample(i.name), Kind: sdk.TLS}
			if !slices.Contains(out.endpoints, e) {
				out.endpoints = append(out.endpoints, e)
			}
		}
	}
	return out, nil
}

// twin is the copy for TLS that was made of a plain virtual host before.
func (c *config) twin(v *vhost, httpsPort string) *vhost {
	for _, other := range c.vhosts {
		if other.file.path == v.copyPath() && other.secure(httpsPort) && other.name == v.name {
			return other
		}
	}
	return nil
}

// sample is a name to ask a virtual host for.
func (v *vhost) sample(name string) string {
	domain, ok := strings.CutPrefix(name, "*.")
	if !ok {
		return name
	}
	for _, own := range v.names() {
		if _, rest, _ := strings.Cut(own, "."); rest == domain && !strings.ContainsAny(own, "*?") {
			return own
		}
	}
	return "certwright." + domain
}

// pick asks the user which virtual host is meant.
func (a *apache) pick(ctx context.Context, c *config, all []*vhost, i *intent, r sdk.Reporter) (*vhost, error) {
	if i.picked != nil {
		if v := c.find(*i.picked); v != nil {
			return v, nil
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "No virtual host has the name %s. Which one is to have the certificate?\n", i.name)
	for n, v := range all {
		fmt.Fprintf(&text, "  %d: %s\n", n+1, v.title())
	}
	text.WriteString("Number, or nothing for none: ")
	for range 3 {
		answer, err := r.Ask(ctx, text.String())
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		answer = strings.TrimSpace(answer)
		if err != nil || answer == "" {
			break
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(all) {
			key := c.key(all[n-1])
			i.picked = &key
			return all[n-1], nil
		}
	}
	return nil, noVhost(i.name, fmt.Sprintf("there are %d, and none has this name", len(all)))
}
