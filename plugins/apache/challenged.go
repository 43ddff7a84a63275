package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

func noPlain(name, port string) error {
	p := sdk.Problemf(sdk.NotFound, "no virtual host of httpd could answer the challenge for %s on port %s", name, port)
	p.Hint = fmt.Sprintf("add a <VirtualHost *:%s> with ServerName %s, or use another authenticator for it", port, name)
	return sdk.Permanent(p)
}

// challenged are the virtual hosts that may get the request for a name: all that
// have it, whatever their port because the CA follows redirects, all without a
// name, and, if no other takes it on the port itself, all plain ones there.
func (c *config) challenged(name, port, httpsPort string) []*vhost {
	var out []*vhost
	taken := false
	for _, v := range c.vhosts {
		if v.serves(name) {
			taken = taken || v.onPort(port)
			out = append(out, v)
		} else if v.name == "" {
			out = append(out, v)
		}
	}
	if !taken {
		plain := false
		for _, v := range c.vhosts {
			if v.onPort(port) && !v.secure(httpsPort) {
				plain = true
				if !slices.Contains(out, v) {
					out = append(out, v)
				}
			}
		}
		if !plain {
			return nil
		}
	}
	return out
}

// wake includes sites that are available but not enabled, if they have names
// that nothing else has.
func (a *apache) wake(c *config) (*config, bool, error) {
	dir := filepath.Join(c.facts.serverRoot, "sites-available")
	if !c.ws.isDir(dir) {
		return c, false, nil
	}
	port := a.settings.httpPort()
	woken := false
	for _, token := range slices.Sorted(maps.Keys(a.posed.challenges)) {
		name := a.posed.challenges[token].name
		if slices.ContainsFunc(c.vhosts, func(v *vhost) bool { return v.serves(name) && v.onPort(port) }) {
			continue
		}
		path := c.asleep(dir, name, port)
		if path == "" {
			continue
		}
		main := c.order[0]
		main.append(written("Include", path) + "\n")
		c.changed(main)
		next, err := load(c.ws, c.facts)
		if err != nil {
			return nil, false, err
		}
		c, woken = next, true
	}
	return c, woken, nil
}

// asleep finds the file of a site that is not enabled and has a name.
func (c *config) asleep(dir, name, port string) string {
	for _, entry := range c.ws.entries(dir) {
		path := filepath.Join(dir, entry)
		real, err := c.ws.real(path)
		if err != nil || c.files[real] != nil || !strings.HasSuffix(entry, ".conf") {
			continue
		}
		alone := c.facts
		alone.configFile, alone.modules = path, c.modules
		other, err := load(c.ws, alone)
		if err != nil {
			continue // whatever is wrong there is not in force
		}
		for _, v := range other.vhosts {
			if v.serves(name) && v.onPort(port) {
				return path
			}
		}
	}
	return ""
}
