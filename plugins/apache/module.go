package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// needs are modules that go with another one where nothing says so. The
// default configuration of mod_ssl wants a session cache.
var needs = map[string][]string{"ssl": {"socache_shmcb"}}

var dependsLine = regexp.MustCompile(`(?m)^# Depends:[ \t]*(.*)$`)

// enable has httpd load a module and what it needs: by symlinks as a2enmod makes
// them where there is mods-enabled, else by LoadModule. It gives whether anything
// is new.
func (c *config) enable(name string) (bool, error) {
	if c.modules[name+"_module"] {
		return false, nil
	}
	c.modules[name+"_module"] = true // so that a circle ends
	available := filepath.Join(c.facts.serverRoot, "mods-available")
	enabled := filepath.Join(c.facts.serverRoot, "mods-enabled")
	if !c.ws.isDir(available) || !c.ws.isDir(enabled) {
		for _, other := range needs[name] {
			if _, err := c.enable(other); err != nil {
				return false, err
			}
		}
		return true, c.loadModule(name)
	}
	load := filepath.Join(available, name+".load")
	text, err := os.ReadFile(load)
	if err != nil {
		return false, missingModule(name, load)
	}
	if m := dependsLine.FindStringSubmatch(string(text)); m != nil {
		for _, other := range strings.Fields(m[1]) {
			if _, err := c.enable(other); err != nil {
				return false, err
			}
		}
	}
	for _, ending := range []string{".load", ".conf"} {
		if c.ws.exists(filepath.Join(available, name+ending)) {
			c.ws.link(filepath.Join(enabled, name+ending), filepath.Join("..", "mods-available", name+ending))
		}
	}
	return true, nil
}

func (c *config) loadModule(name string) error {
	p := c.lastLoad
	if p.node == nil {
		return missingModule(name, "")
	}
	// Beside the one that is loaded last, written as that one is.
	args := words(p.node.args)
	path := filepath.Join(filepath.Dir(args[len(args)-1]), "mod_"+name+".so")
	if !c.ws.exists(c.absolute(c.resolve(path))) {
		return missingModule(name, c.absolute(c.resolve(path)))
	}
	p.insertAfter(indent(p.node.raw) + written("LoadModule", name+"_module", path) + "\n")
	c.changed(p.file)
	return nil
}

// noteTLS takes in where mod_ssl is loaded; httpd heeds the first LoadModule.
func (c *config) noteTLS(module string, p place) {
	if module != "ssl_module" || c.tls.node != nil {
		return
	}
	c.tls, c.tlsStep = p, c.steps
	if c.outer.node != nil {
		c.tls = c.outer
	}
}

// within notes what leads to what is read next, until it is called back.
func (c *config) within(p place) func() {
	if c.outer.node != nil || p.file != c.order[0] {
		return func() {}
	}
	c.outer = p
	return func() { c.outer = place{} }
}

// bringsTLS: a condition that mod_ssl is not there, around the line that loads
// it. By httpd's word, which is about the end, it is not met.
func (c *config) bringsTLS(n *node) bool {
	arg, _ := nextWord(n.args)
	return n.is("IfModule") && (arg == "!ssl_module" || arg == "!mod_ssl.c") && c.tls.node == nil &&
		slices.ContainsFunc(n.children, func(child *node) bool {
			module, _ := nextWord(child.args)
			return child.is("LoadModule") && module == "ssl_module"
		})
}

// behindLoads goes to the last of the LoadModule lines that a place is among.
func (p place) behindLoads() place {
	for _, n := range (*p.siblings)[slices.Index(*p.siblings, p.node):] {
		switch off, commented := strings.CutPrefix(strings.TrimLeft(n.raw, spaces), "#"); {
		case n.is("LoadModule") || n == p.node:
			p.node = n
		case n.kind == other && commented && strings.HasPrefix(off, "LoadModule"):
		default:
			return p
		}
	}
	return p
}

func missingModule(name, path string) error {
	p := sdk.Problemf(sdk.NotInstalled, "httpd has no module %s", name)
	if path != "" {
		p.Detail = path + " does not exist"
	}
	p.Hint = "install mod_" + name + " for httpd"
	return sdk.Permanent(p)
}
