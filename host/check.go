package host

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/sdk"
)

// ConfigCheck finds everything that run would refuse, as far as that can be
// known without asking a CA and without changing anything: every setting of
// every instance is held against the plugin's description and then shown to the
// plugin itself, and every certificate against what its instances can do.
func ConfigCheck(ctx context.Context, b Base) error {
	c := &checker{base: b, secrets: &report.Secrets{}, described: map[string]run.Described{}}
	b.Terminal.Redact = c.secrets.Redact
	var err error
	if c.plugins, err = b.plugins(c.secrets); err != nil {
		return err
	}
	defer func() { _ = c.plugins.Close(context.WithoutCancel(ctx)) }() // each process was stopped already
	requests, err := b.Config.Requests()
	instances := c.instances(requests)
	errs := []error{err, b.Config.CheckCABundle(), c.validate(ctx, instances)}
	for _, r := range requests {
		for _, err := range run.CheckRequest(r, c.described) {
			errs = append(errs, fmt.Errorf("%s: %w", b.Config.Place(r.Name), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return UsageError(err)
	}
	b.Terminal.Checked(b.Config.Files, len(instances), len(requests))
	return nil
}

// checker is one check of the configuration.
type checker struct {
	base    Base
	plugins *pluginhost.Host
	secrets *report.Secrets

	mu sync.Mutex
	// described are the instances whose plugin is there.
	described map[string]run.Described
}

// candidate is an instance that is to be checked. certificate is the first one
// that names it if nobody configured it.
type candidate struct {
	config.Instance
	certificate string
}

// instances gives those that are configured, and the plugins that certificates
// name without.
func (c *checker) instances(requests []model.Request) []candidate {
	var out []candidate
	for _, i := range c.base.Config.Instances {
		out = append(out, candidate{Instance: i})
	}
	seen := map[string]bool{}
	for _, r := range requests {
		for _, i := range c.base.Config.InstancesOf(r) {
			if _, configured := c.base.Config.Instance(i.Name); configured || seen[i.Name] {
				continue
			}
			seen[i.Name] = true
			i.Pos = c.base.Config.Place(r.Name)
			out = append(out, candidate{i, r.Name})
		}
	}
	return out
}

// atOnce is how many plugins are started side by side.
const atOnce = 4

// validate checks every instance; the errors are in the order of the instances.
func (c *checker) validate(ctx context.Context, instances []candidate) error {
	errs := make([]error, len(instances))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for n, i := range instances {
		group.Go(func() error {
			errs[n] = c.instance(ctx, i)
			return nil
		})
	}
	_ = group.Wait() // each error is kept in its place
	return errors.Join(errs...)
}

func (c *checker) instance(ctx context.Context, i candidate) error {
	d, err := c.plugins.Describe(ctx, i.Plugin)
	if err != nil && i.certificate != "" {
		return run.NoPlugin(c.base.Config, i.certificate, i.Name, err)
	}
	if err != nil {
		return fmt.Errorf("%s: instance %s: %w", i.Pos, i.Name, err)
	}
	spec, err := c.spec(ctx, i.Instance, d)
	if err != nil {
		return err
	}
	return c.ask(ctx, i.Instance, spec, nil)
}

// spec holds the settings of an instance against the description and fetches its
// secrets. The instance is to check its settings and to touch nothing.
func (c *checker) spec(ctx context.Context, i config.Instance, d sdk.Description) (pluginhost.Spec, error) {
	bound, err := config.Bind(i, d)
	c.mu.Lock()
	c.described[i.Name] = run.Described{Instance: bound, Description: d}
	c.mu.Unlock()
	if err != nil {
		return pluginhost.Spec{}, err
	}
	var errs []error
	var names []string
	secrets := map[string][]byte{}
	for name, ref := range bound.Secrets {
		names = append(names, name)
		if secrets[name], err = config.ReadSecret(ctx, ref); err != nil {
			errs = append(errs, i.AtSecret(name, err))
			continue
		}
		c.secrets.Add(secrets[name])
	}
	for _, values := range bound.Literals {
		for _, value := range values {
			if !(model.Request{}).Public(value) {
				c.secrets.Add([]byte(value))
			}
		}
	}
	if err := errors.Join(append(errs, run.SettingErrors(i, d, bound.Given(), names)...)...); err != nil {
		return pluginhost.Spec{}, err
	}
	return pluginhost.Spec{
		Name: i.Name, Plugin: i.Plugin, Settings: bound.Given(), Secrets: secrets, ValidateOnly: true,
		Sandbox: i.Sandbox, User: i.User,
	}, nil
}

// ask has the plugin itself check its settings, and may ask it more. The process
// ends at once.
func (c *checker) ask(ctx context.Context, i config.Instance, s pluginhost.Spec, more func(*pluginhost.Instance) error) error {
	running, err := c.plugins.Start(ctx, s)
	if err == nil && more != nil {
		return errors.Join(more(running), running.Stop(ctx))
	}
	if err == nil {
		return running.Stop(ctx)
	}
	var wrong *pluginhost.SettingsError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%s: %w", i.Pos, err)
	}
	var errs []error
	for _, p := range wrong.Problems {
		text := p.Error()
		if p.Hint != "" {
			text += "; " + p.Hint
		}
		errs = append(errs, i.At(p.Subject, "%s", text))
	}
	return errors.Join(errs...)
}
