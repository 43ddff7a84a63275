package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// split moves the plain addresses of a block into one of their own.
func (c *configuration) split(s *server, name string, p ports) error {
	plain := line{text: "server"}
	var moved []*node
	for _, l := range s.listens {
		switch {
		case !l.tcp() || c.tls(l.endpoint()) || l.node == nil || slices.Contains(moved, l.node):
		case l.in != s.node.body:
			err := sdk.Problemf(sdk.Conflict, "the block that begins in %s line %d has its addresses from an included file, so it cannot be split",
				s.file.path, s.node.line)
			return sdk.Hint(sdk.Permanent(err), "move the listen directives into the block")
		default:
			moved = append(moved, l.node)
			plain.body = append(plain.body, line{text: strings.TrimSuffix(l.node.text(), ";")})
		}
	}
	if len(moved) == 0 {
		return nil
	}
	var names []string
	for _, n := range s.names {
		names = append(names, quote(n))
	}
	plain.body = append(plain.body,
		line{text: "server_name " + strings.Join(names, " ")}, condition(name, p), line{text: "return 404"})
	for _, n := range moved {
		s.file.disableOrRemove(s.node.body, n)
	}
	s.file.insert(s.in, slices.Index(s.in.nodes, s.node)+1, plain)
	return nil
}

// disableOrRemove takes a directive away; one that an owner wrote stays as a
// comment.
func (f *file) disableOrRemove(b *block, n *node) {
	i := slices.Index(b.nodes, n)
	following := b.tail
	if i+1 < len(b.nodes) {
		following = b.nodes[i+1].lead()
	}
	if own, _, _ := strings.Cut(following, "\n"); n.after != "" || strings.Contains(own, managed) {
		f.remove(b, i)
		return
	}
	f.disable(b, i)
}

// isSplit says whether a block is what split has made, and nothing else since.
func (s *server) isSplit() bool {
	if s.node.body == nil || len(s.node.body.nodes) == 0 || !strings.HasPrefix(s.node.body.nodes[0].lead(), " "+managed) {
		return false
	}
	found := 0
	for _, n := range s.node.body.nodes {
		switch n.name() {
		case "listen", "server_name":
		case "if":
			if n.body == nil || !redirects(n.body, "") {
				return false
			}
			found++
		case "return":
			if n.arg(1) != "404" {
				return false
			}
			found++
		default:
			return false
		}
	}
	return found > 1
}

// whole gives the block that a plain one was split from; nil: it is not there
// any more.
func (c *configuration) whole(plain *server) *server {
	var out *server
	for _, s := range c.servers {
		if s == plain || s.file != plain.file || !slices.Equal(s.names, plain.names) || !c.isTLS(s) {
			continue
		}
		// Split puts the plain one right behind it.
		if out == nil || s.in == plain.in && s.order < plain.order {
			out = s
		}
	}
	return out
}

// plain gives the addresses of a block as another one may have them too.
func (s *server) plain() []line {
	var out []line
	for _, n := range s.node.body.nodes {
		if n.name() != "listen" {
			continue
		}
		words := []string{"listen"}
		for _, word := range slices.DeleteFunc(n.args(), onceOnly) {
			words = append(words, quote(word))
		}
		out = append(out, line{text: strings.Join(words, " ")})
	}
	return out
}

// lost says which names a redirect leaves without an answer over plain HTTP.
func (c *configuration) lost(name string, p ports) []string {
	var out []string
	for _, s := range c.named(name, p.http) {
		if !s.isSplit() {
			continue
		}
		var names []string
		for _, other := range s.names {
			if other != "_" && other != "" && !s.sendsOn(other) {
				names = append(names, other)
			}
		}
		if slices.ContainsFunc(s.listens, listen.isDefault) {
			names = append(names, "all names that no server block has")
		}
		if len(names) > 0 {
			out = append(out, fmt.Sprintf("over plain HTTP nginx answers 404 for %s: the block that begins in %s line %d has only the redirects that were asked for",
				strings.Join(names, ", "), s.file.path, s.node.line))
		}
	}
	return out
}

// sendsOn says whether a redirect of the block is for a name: its own, or that of
// a wildcard that covers it.
func (s *server) sendsOn(name string) bool {
	_, zone, _ := strings.Cut(name, ".")
	return redirects(s.node.body, name) || zone != "" && redirects(s.node.body, "*."+zone)
}

// tell names, once all redirects are written, what they leave behind.
func (n *nginx) tell(ctx context.Context, wishes []wish, r sdk.Reporter) error {
	c, err := n.realise(ctx, wishes)
	if err != nil {
		return err
	}
	var told []string
	for _, w := range wishes {
		if w.enhancement != "redirect" || !w.changed {
			continue
		}
		for _, text := range c.lost(w.name, n.settings.ports()) {
			if !slices.Contains(told, text) {
				told = append(told, text)
				r.Progress(w.name, strings.ToValidUTF8(text, "?"))
			}
		}
	}
	return nil
}
