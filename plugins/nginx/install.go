package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// staging is what was asked for, not how the files are to be: these are made
// when they are written.
type staging struct {
	wishes []wish
}

// wish is a Deploy or an Enhance.
type wish struct {
	name  string
	names []string
	paths sdk.Paths
	// sites that the user chose for a wildcard name.
	sites []string
	// enhancement, or empty for a certificate.
	enhancement string
	// changed: it was needed when it was staged first.
	changed bool
}

// Deploy stages a certificate for one name.
func (n *nginx) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	w := wish{name: d.Name, names: d.Names, paths: d.ConfigPaths}
	if err := w.check(); err != nil {
		return err
	}
	if err := n.turn.enter(ctx); err != nil {
		return err
	}
	defer n.turn.leave()
	if err := n.edits.Unrecovered(ctx); err != nil {
		// Only its own files are refused: another certificate can be deployed.
		r.Progress("", fmt.Sprintf("an interrupted deployment is not undone yet: %v", err))
	}
	return n.stage(ctx, w, d.DryRun, r)
}

// Enhance stages a redirect or a header.
func (n *nginx) Enhance(ctx context.Context, name, enhancement string, r sdk.Reporter) error {
	if err := n.turn.enter(ctx); err != nil {
		return err
	}
	defer n.turn.leave()
	return n.stage(ctx, wish{name: strings.ToLower(name), enhancement: enhancement}, false, r)
}

func (w *wish) check() error {
	if isIP(w.name) {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "deploy to nginx for the address %s: it chooses certificates by name", w.name))
		return sdk.Hint(err, "use the installer files for certificates of addresses, and name the files in nginx's configuration")
	}
	if w.paths.Fullchain == "" || w.paths.Privkey == "" {
		return sdk.Problemf(sdk.Internal, "the host has handed over no paths for nginx's configuration")
	}
	return nil
}

func (n *nginx) stage(ctx context.Context, w wish, dry bool, r sdk.Reporter) error {
	if dry {
		return n.plan(ctx, nil, &w, true, r)
	}
	return n.edits.Stage(ctx, func(s *staging) error {
		before := slices.Clone(s.wishes)
		if i := slices.IndexFunc(before, func(o wish) bool { return o.name == w.name && o.enhancement == w.enhancement }); i >= 0 {
			w.sites, w.changed = before[i].sites, before[i].changed
			before = slices.Delete(before, i, i+1)
		}
		if err := n.plan(ctx, before, &w, false, r); err != nil {
			return err
		}
		before = append(before, w)
		s.wishes = before
		return nil
	})
}

// plan finds out what a wish changes, and reports it.
func (n *nginx) plan(ctx context.Context, before []wish, w *wish, dry bool, r sdk.Reporter) error {
	if len(before) == 0 {
		if err := n.program.test(ctx); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	c, err := n.read(ctx)
	if err != nil {
		return err
	}
	for _, text := range c.warnings {
		r.Progress(w.name, text)
	}
	for _, b := range before {
		if c, err = b.apply(ctx, c, n.settings.ports()); err != nil {
			return err
		}
	}
	if err := w.choose(ctx, c, r); err != nil {
		return err
	}
	after, err := w.apply(ctx, c, n.settings.ports())
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: w.name, Diff: difference(c, after)}
	w.changed = w.changed || result.Diff != ""
	result.Changed = w.changed
	if !dry {
		result.Diff = ""
	}
	if w.enhancement == "" {
		result.Endpoints = w.report(ctx, after, n.settings.ports(), r)
	}
	r.Result(result)
	return nil
}

// difference is a unified diff of all files.
func difference(was, is *configuration) string {
	var out strings.Builder
	for _, path := range sortedKeys(is.files) {
		before := []byte(is.files[path].src)
		if f, ok := was.files[path]; ok {
			// was itself may have edits of wishes before this one.
			before = []byte(f.src)
		}
		out.WriteString(strings.ToValidUTF8(checkpoint.Diff(path, before, []byte(is.files[path].src)), "?"))
	}
	return out.String()
}

// apply edits a configuration and reads it again.
func (w *wish) apply(ctx context.Context, c *configuration, p ports) (*configuration, error) {
	if w.enhancement != "" {
		if err := c.enhance(w.name, w.enhancement, p); err != nil {
			return nil, err
		}
		return c.edited(ctx)
	}
	servers := w.servers(c, p)
	if len(servers) == 0 && !w.wildcard() {
		if err := c.blockFor(w.name, w.paths, p); err != nil {
			return nil, err
		}
		var err error
		if c, err = c.edited(ctx); err != nil {
			return nil, err
		}
		servers = w.servers(c, p)
	}
	if len(servers) == 0 {
		return nil, sdk.Problemf(sdk.NotFound, "no server block of nginx has the name %s", w.name)
	}
	for _, s := range servers {
		if err := c.secure(s, w.paths, p); err != nil {
			return nil, fmt.Errorf("deploy for %s: %w", w.name, err)
		}
	}
	return c.edited(ctx)
}

func (w *wish) wildcard() bool { return strings.HasPrefix(w.name, "*.") }

// servers gives the blocks that the wish is for.
func (w *wish) servers(c *configuration, p ports) []*server {
	if !w.wildcard() {
		return c.targets(w.name, p)
	}
	var out []*server
	for _, s := range c.servers {
		if slices.Contains(w.sites, s.id()) {
			out = append(out, s)
		}
	}
	return out
}

// report gives the endpoints, and what the user should know.
func (w *wish) report(ctx context.Context, c *configuration, p ports, r sdk.Reporter) []sdk.Endpoint {
	var out []sdk.Endpoint
	for _, s := range w.servers(c, p) {
		if others := s.uncovered(w.names); len(others) > 0 {
			r.Progress(w.name, fmt.Sprintf("the block that begins in %s line %d also has names that the certificate is not for: %s",
				s.file.path, s.node.line, strings.Join(others, ", ")))
		}
		endpoints, hidden := c.shown(ctx, w.example(s), s)
		for _, text := range hidden {
			r.Progress(w.name, "not proven by a handshake: "+text)
		}
		for _, e := range endpoints {
			if !slices.Contains(out, e) {
				out = append(out, e)
			}
		}
	}
	return out
}

// example is a name that the block has and that a wildcard covers.
func (w *wish) example(s *server) string {
	zone, ok := strings.CutPrefix(w.name, "*.")
	if !ok {
		return w.name
	}
	for _, name := range s.names {
		if isPlainName(name) && covers(w.name, name) {
			return name
		}
	}
	return "certwright." + zone
}

// id names a block as long as its own names and addresses stay.
func (s *server) id() string {
	return strings.ToValidUTF8(s.file.real+" "+strings.Join(s.names, ",")+" "+strconv.Itoa(s.ordinal), "?")
}

// choose finds the blocks for a wildcard: those that show the certificate
// already, or those that the user chooses, or, if nobody can be asked, those
// that have the wildcard itself, or else those whose names are all covered.
func (w *wish) choose(ctx context.Context, c *configuration, r sdk.Reporter) error {
	if !w.wildcard() || w.enhancement != "" || len(w.sites) > 0 {
		return nil
	}
	var shown, itself, whole, all []*server
	for _, s := range c.servers {
		same := slices.ContainsFunc(s.names, func(name string) bool {
			return name == w.name || "*"+name == w.name && strings.HasPrefix(name, ".")
		})
		some := same || slices.ContainsFunc(s.names, func(name string) bool { return covers(w.name, name) })
		if !some {
			continue
		}
		all = append(all, s)
		if c.has(s, w.paths) {
			shown = append(shown, s)
		}
		if same {
			itself = append(itself, s)
		}
		if len(s.uncovered(w.names)) == 0 {
			whole = append(whole, s)
		}
	}
	proposal := itself
	if len(proposal) == 0 {
		proposal = whole
	}
	switch {
	case len(all) == 0:
		err := sdk.Permanent(sdk.Problemf(sdk.NotFound, "no server block of nginx has a name that %s covers", w.name))
		return sdk.Hint(err, "write server_name %s; into the server block that is to serve it", w.name)
	case len(shown) > 0:
		proposal = shown
	default:
		chosen, err := w.askFor(ctx, all, proposal, r)
		if err != nil {
			return err
		}
		proposal = chosen
	}
	for _, s := range proposal {
		w.sites = append(w.sites, s.id())
	}
	return nil
}

// askFor lets the user choose among the blocks.
func (w *wish) askFor(ctx context.Context, all, proposal []*server, r sdk.Reporter) ([]*server, error) {
	var text, usual strings.Builder
	fmt.Fprintf(&text, "Server blocks of nginx that the certificate for %s can be deployed to:\n", w.name)
	for i, s := range all {
		fmt.Fprintf(&text, "  %d: %s (%s line %d)\n", i+1, strings.Join(s.names, " "), s.file.path, s.node.line)
		if slices.Contains(proposal, s) {
			fmt.Fprintf(&usual, " %d", i+1)
		}
	}
	fmt.Fprintf(&text, "Numbers, separated by spaces [%s]: ", strings.TrimSpace(usual.String()))
	for {
		answer, err := r.Ask(ctx, strings.ToValidUTF8(text.String(), "?"))
		switch {
		case errors.Is(err, sdk.ErrNotInteractive) || errors.Is(err, io.EOF) || err == nil && strings.TrimSpace(answer) == "":
			if len(proposal) == 0 {
				err := sdk.Problemf(sdk.NotFound, "no server block of nginx has the name %s, and those with names that it covers have others too", w.name)
				return nil, sdk.Hint(sdk.Permanent(err), "run it without -n to choose blocks, or write server_name %s; into one", w.name)
			}
			return proposal, nil
		case err != nil:
			return nil, err
		}
		var chosen []*server
		for _, field := range strings.FieldsFunc(answer, func(c rune) bool { return c == ' ' || c == ',' }) {
			i, err := strconv.Atoi(field)
			if err != nil || i < 1 || i > len(all) {
				chosen = nil
				break
			}
			chosen = append(chosen, all[i-1])
		}
		if len(chosen) > 0 {
			return chosen, nil
		}
	}
}

// Save writes what is staged.
func (n *nginx) Save(ctx context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	if err := n.turn.enter(ctx); err != nil {
		return sdk.Checkpoint{}, err
	}
	defer n.turn.leave()
	c, err := n.edits.Save(ctx, req, func(ctx context.Context, s *staging, begin func() (*checkpoint.Draft, error)) error {
		if err := n.save(ctx, s, begin, r); err != nil || req.Title == "" {
			return err
		}
		return n.tell(ctx, s.wishes, r)
	})
	if err != nil {
		// All of it is put back: the challenges can be on disk again.
		n.end(ctx)
		if len(n.active) == 0 {
			n.relay(ctx, r)
		}
	}
	return c, err
}

func (n *nginx) save(ctx context.Context, s *staging, begin func() (*checkpoint.Draft, error), r sdk.Reporter) error {
	const most = 10
	for range most {
		changed, err := n.realise(ctx, s.wishes)
		if err != nil || len(changed.changes()) == 0 {
			return err
		}
		// From here on no challenge must come in between.
		n.active[sdk.OperationFrom(ctx).Lineage] = true
		if n.draft != nil {
			if err := n.lift(ctx); err != nil {
				return err
			}
			if changed, err = n.realise(ctx, s.wishes); err != nil {
				return err
			}
		}
		draft, err := begin()
		if err != nil {
			return err
		}
		written, err := n.write(ctx, draft, changed)
		if err != nil {
			return err
		}
		if written {
			for _, f := range changed.changes() {
				r.Progress("", strings.ToValidUTF8("wrote "+f.path, "?"))
			}
			return nil
		}
	}
	return sdk.RetryAfter(sdk.Problemf(sdk.Conflict, "the configuration of nginx is being changed by somebody else all the time"), 0)
}

// realise gives the configuration as it is on disk, edited by all wishes.
func (n *nginx) realise(ctx context.Context, wishes []wish) (*configuration, error) {
	disk, err := n.read(ctx)
	if err != nil {
		return nil, err
	}
	c := disk
	for _, w := range wishes {
		if c, err = w.apply(ctx, c, n.settings.ports()); err != nil {
			return nil, err
		}
	}
	// The edits of all wishes, against what is on disk.
	for path, f := range c.files {
		if was, ok := disk.files[path]; ok {
			f.src = was.src
		}
	}
	return c, nil
}
