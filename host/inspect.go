package host

import (
	"context"
	"errors"
	"fmt"
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
	b.Terminal.Certificates(lineages, func(l model.Lineage) model.Paths { return run.Paths(s, l) }, b.now()())
	return broken
}

// PluginList shows every plugin that is found, those that are refused with the
// reason, and where was searched.
func PluginList(ctx context.Context, b Base) error {
	plugins := b.plugins(&report.Secrets{})
	defer func() { _ = plugins.Close(context.WithoutCancel(ctx)) }() // nothing was started
	for _, found := range plugins.List() {
		row := report.Plugin{Name: found.Name, Path: found.Path, Refused: found.Refused}
		if found.Refused == nil {
			d, err := plugins.Describe(ctx, found.Name)
			row.Description, row.Refused = d, err
		}
		b.Terminal.Plugin(row)
	}
	b.Terminal.Searched(b.searchPath())
	return nil
}

// PluginDescribe shows what a plugin says of itself.
func PluginDescribe(ctx context.Context, b Base, name string) error {
	plugins := b.plugins(&report.Secrets{})
	defer func() { _ = plugins.Close(context.WithoutCancel(ctx)) }() // nothing was started
	d, err := plugins.Describe(ctx, name)
	if err != nil {
		return UsageError(err)
	}
	b.Terminal.Description(d)
	return nil
}

// ConfigCheck holds the whole configuration against the plugins that it names:
// every setting of every instance.
func ConfigCheck(ctx context.Context, b Base) error {
	plugins := b.plugins(&report.Secrets{})
	defer func() { _ = plugins.Close(context.WithoutCancel(ctx)) }() // nothing was started
	requests, err := b.Config.Requests()
	errs := []error{err}
	checked := map[string]bool{}
	check := func(i config.Instance) {
		if !checked[i.Name] {
			checked[i.Name] = true
			errs = append(errs, checkInstance(ctx, plugins, i))
		}
	}
	for _, i := range b.Config.Instances {
		check(i)
	}
	for _, r := range requests {
		for _, i := range b.Config.InstancesOf(r) {
			check(i)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return UsageError(err)
	}
	b.Terminal.Checked(b.Config.Files, len(checked), len(requests))
	return nil
}

func checkInstance(ctx context.Context, plugins *pluginhost.Host, i config.Instance) error {
	d, err := plugins.Describe(ctx, i.Plugin)
	if err != nil {
		return fmt.Errorf("%s: instance %s: %w", i.Pos, i.Name, err)
	}
	bound, err := config.Bind(i, d)
	if err != nil {
		return err
	}
	var errs []error
	var secrets []string
	for name, ref := range bound.Secrets {
		secrets = append(secrets, name)
		if _, err := config.ReadSecret(ref); err != nil {
			errs = append(errs, i.At(name, "setting %s: %v", name, err))
		}
	}
	return errors.Join(append(errs, run.SettingErrors(i, d, bound.Settings, secrets)...)...)
}
