package main

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// config is the configuration that is in force: the files that httpd reads, with
// its own word on which modules and defines there are.
type config struct {
	ws    *workspace
	facts facts
	// modules and defines change while the files are read.
	modules map[string]bool
	defines map[string]string
	// files by their real path, in the order in which httpd comes to them.
	files map[string]*file
	order []*file

	// includes are the patterns that httpd looks for files by at the top level.
	includes []string
	listens  []listen
	vhosts   []*vhost
	// rewriting: mod_rewrite is switched on outside of virtual hosts, which
	// then have it on too.
	rewriting bool
	// proxied: connections begin with a line of a proxy, from some hosts or from
	// all, so that httpd cannot be asked from here.
	proxied, excepted bool
	// lastLoad is where a further LoadModule has its place.
	lastLoad place
	// steps count what is read; outer is the Include of the main file that leads
	// to it, if one does.
	steps int
	outer place
	// tls is where mod_ssl comes in, in the main file: conditions on it are not met
	// before. Without a node it is there from the start.
	tls     place
	tlsStep int
	// err is what was wrong with a file that a virtual host includes.
	err error
}

// place is a node in a file.
type place struct {
	file *file
	// siblings hold the node; parents are the sections around it that are not
	// conditions.
	siblings *[]*node
	node     *node
	parents  []*node
}

// listen is a Listen directive.
type listen struct {
	// host is empty for any address.
	host  string
	port  string
	https bool
	place place
	// step is when it was read.
	step int
}

// load reads the whole configuration through the workspace.
func load(ws *workspace, facts facts) (*config, error) {
	c := &config{
		ws: ws, facts: facts, files: map[string]*file{},
		modules: maps.Clone(facts.modules), defines: maps.Clone(facts.defines),
	}
	f, err := c.file(facts.configFile)
	if err == nil {
		err = c.walk(f, &f.nodes, nil, 0, c.note)
	}
	if err == nil {
		err = c.err
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// file parses a file once.
func (c *config) file(path string) (*file, error) {
	real, err := c.ws.real(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if f := c.files[real]; f != nil {
		return f, nil
	}
	text, err := c.ws.read(real)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	f, err := parse(real, text)
	if err != nil {
		var mistake *syntaxError
		if errors.As(err, &mistake) {
			p := sdk.Problemf(sdk.InvalidConfig, "read the configuration of httpd: %w", err)
			p.Hint = fmt.Sprintf("mend line %d of %s; nothing was changed", mistake.line, mistake.path)
			return nil, p
		}
		return nil, err
	}
	c.files[real] = f
	c.order = append(c.order, f)
	return f, nil
}

// walk visits what is in force. visit says whether to go into a section; what is
// included is visited in its place.
func (c *config) walk(f *file, nodes *[]*node, parents []*node, depth int, visit func(place) bool) error {
	for _, n := range *nodes {
		p := place{file: f, siblings: nodes, node: n, parents: parents}
		switch {
		case n.kind == other || n.kind == section && isRawSection(n.name):
		case isCondition(n):
			if err := c.conditional(p, depth, visit); err != nil {
				return err
			}
		case n.kind == section:
			if visit(p) {
				if err := c.walk(f, &n.children, append(parents[:len(parents):len(parents)], n), depth, visit); err != nil {
					return err
				}
			}
		case n.is("Include") || n.is("IncludeOptional"):
			if err := c.include(p, depth, visit); err != nil {
				return err
			}
		default:
			visit(p)
		}
	}
	return nil
}

func (c *config) conditional(p place, depth int, visit func(place) bool) error {
	if c.bringsTLS(p.node) {
		defer c.within(p)()
	} else if !c.holds(p.node) {
		return nil
	}
	return c.walk(p.file, &p.node.children, p.parents, depth, visit)
}

func (c *config) include(p place, depth int, visit func(place) bool) error {
	if depth > maxDepth {
		return sdk.Problemf(sdk.InvalidConfig, "read the configuration of httpd: includes are nested too deep at %s:%d", p.file.path, p.node.line)
	}
	arg, _ := nextWord(p.node.args)
	pattern := c.absolute(c.resolve(arg))
	if len(p.parents) == 0 {
		c.includes = append(c.includes, pattern)
		defer c.within(p)()
	}
	for _, path := range c.ws.included(pattern) {
		f, err := c.file(path)
		if err != nil {
			return err
		}
		if err := c.walk(f, &f.nodes, p.parents, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

// note takes in what is needed of one directive or section.
func (c *config) note(p place) bool {
	n := p.node
	c.steps++
	if n.kind == section {
		if n.is("VirtualHost") && len(p.parents) == 0 {
			c.addVhost(p)
		}
		return len(p.parents) == 0 && !n.is("VirtualHost")
	}
	args := words(n.args)
	for i := range args {
		args[i] = c.resolve(args[i])
	}
	if len(args) == 0 || len(p.parents) > 0 {
		return false
	}
	switch strings.ToLower(n.name) {
	case "define":
		c.defines[args[0]] = strings.Join(args[1:], " ")
	case "undefine":
		delete(c.defines, args[0])
	case "remoteipproxyprotocol", "remoteipproxyprotocolexceptions":
		c.noteProxy(n.name, args[0])
	case "rewriteengine":
		c.rewriting = strings.EqualFold(args[0], "on")
	case "loadmodule":
		c.modules[args[0]] = true
		c.lastLoad = p
		c.noteTLS(args[0], p)
	case "listen":
		host, port := splitAddress(args[0])
		c.listens = append(c.listens, listen{host: host, port: port, https: len(args) > 1 && strings.EqualFold(args[1], "https"), place: p, step: c.steps})
	}
	return false
}

func (c *config) noteProxy(name, arg string) {
	if strings.EqualFold(name, "RemoteIPProxyProtocolExceptions") {
		c.excepted = true
	} else if strings.EqualFold(arg, "on") {
		c.proxied = true
	}
}

// changed brings an edited file's text to the workspace.
func (c *config) changed(f *file) { c.ws.put(f.path, f.print()) }
