package host

import (
	"context"
	"errors"
	"sort"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/run"
)

// Certificates shows the lineages that exist, sorted by name; name selects one.
func Certificates(_ context.Context, b Base, name string) error {
	s, err := b.reading()
	if err != nil {
		return err
	}
	lineages, broken := s.Lineages()
	if name != "" {
		byName := map[string]model.Lineage{}
		for _, l := range lineages {
			byName[l.Name] = l
		}
		one, err := mustHave(byName, name)
		if err != nil {
			return errors.Join(broken, err)
		}
		lineages = []model.Lineage{one}
	}
	sort.Slice(lineages, func(i, j int) bool { return lineages[i].Name < lineages[j].Name })
	b.Terminal.Certificates(lineages, func(l model.Lineage) model.Paths { return run.Paths(s, l) }, b.now()(), config.IsTest, s.Check)
	return broken
}

// PluginList shows every plugin that is found, those that are refused with the
// reason, and where was searched.
func PluginList(ctx context.Context, b Base) error {
	l, err := b.lock()
	if err != nil {
		return err
	}
	plugins := b.pluginHost(&report.Secrets{}, l)
	defer func() { _ = plugins.Close(context.WithoutCancel(ctx)) }() // nothing was started
	for _, found := range plugins.List() {
		row := report.Plugin{Name: found.Name, Path: found.Path, Refused: found.Refused, Locked: l.Version(found.Name)}
		if found.Refused == nil {
			d, err := plugins.Describe(ctx, found.Name)
			row.Description, row.Refused = d, err
		}
		b.Terminal.Plugin(row)
	}
	b.Terminal.Searched(b.searchPath())
	return nil
}

// PluginDescribe shows what a plugin says of itself. With settings given for it on
// the command line, those that they bring along are shown too. markdown: as a page.
func PluginDescribe(ctx context.Context, b Base, name string, args config.Args, markdown bool) error {
	if markdown && b.Terminal.JSON {
		return UsageError(errors.New("--markdown and --json contradict each other"))
	}
	c := &checker{base: b, secrets: &report.Secrets{}, described: map[string]run.Described{}}
	b.Terminal.Redact = c.secrets.Redact
	var err error
	if c.plugins, err = b.plugins(c.secrets); err != nil {
		return err
	}
	defer func() { _ = c.plugins.Close(context.WithoutCancel(ctx)) }() // each process was stopped already
	if err := args.CheckSets([]string{name}); err != nil {
		return err
	}
	i, configured := b.Config.Instance(name)
	if len(args.Sets) == 0 || !configured {
		i = config.Instance{Name: name, Plugin: name}
	}
	d, err := c.plugins.Describe(ctx, i.Plugin)
	if err != nil {
		return UsageError(err)
	}
	if len(args.Sets) > 0 {
		spec, err := c.spec(ctx, i, d)
		if err == nil {
			err = c.ask(ctx, i, spec, func(running *pluginhost.Instance) (err error) {
				d, err = running.Details(ctx)
				return err
			})
		}
		if err != nil {
			return UsageError(err)
		}
	}
	if markdown {
		b.Terminal.Print(report.Reference(d, d.Homepage))
		return nil
	}
	b.Terminal.Description(d)
	return nil
}
