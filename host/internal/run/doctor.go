package run

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/sdk"
)

// Asker gives a client that trusts what a request's CA is trusted by, for
// questions outside of ACME.
func (e *Engine) Asker(r model.Request) (*http.Client, error) {
	roots, err := caRoots(e.bundle(r))
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}, nil
}

// Resolvers that are asked for zones: those that are configured, or else the
// system's.
func (e *Engine) Resolvers() ([]string, error) {
	f, err := e.finder()
	if err != nil {
		return nil, err
	}
	return f.Resolvers(), nil
}

// Used gives the plugins that requests use, sorted, each with the certificate that uses it
// first.
func (e *Engine) Used(requests []model.Request, lineages map[string]model.Lineage) (plugins []string, by map[string]string) {
	by = map[string]string{}
	for _, r := range requests {
		for _, name := range r.Uses() {
			plugin := name
			if i, configured := e.Config.Instance(name); configured {
				plugin = i.Plugin
			} else if saved, known := lineages[r.Name].Instances[name]; known {
				plugin = saved.Plugin
			}
			if _, seen := by[plugin]; !seen {
				by[plugin] = r.Name
				plugins = append(plugins, plugin)
			}
		}
	}
	slices.Sort(plugins)
	return plugins, by
}

// Checked is an instance as it would be started.
type Checked struct {
	Name string
	// For is the first certificate that uses it so; empty: none does.
	For string
	// Sandbox that it gets, unless Refused says why it cannot be started like that.
	Sandbox pluginhost.Sandbox
	Refused error
	// Errs are what else is wrong: its settings and secrets.
	Errs []error
	// Ailing is what the running plugin says of itself, its credentials tried.
	Ailing []error

	// spec is how it is started; nil: it cannot be.
	spec *pluginhost.Spec
}

// Instances checks those that requests use, in the order in which they are met, and
// then the others that are configured: settings, secrets and sandbox, and, if these
// are in order, each is started, all at once, to say what is wrong with its settings
// and whether it could work. One whose plugin cannot be used is left out if a
// certificate needs it: that is told elsewhere.
func (e *Engine) Instances(ctx context.Context, requests []model.Request, lineages map[string]model.Lineage) []Checked {
	var out []Checked
	seen, used := map[string]bool{}, map[string]bool{}
	read := readOnce()
	for _, r := range requests {
		for _, name := range r.Uses() {
			used[name] = true
			configured, bound, d, err := e.bind(ctx, r, lineages[r.Name], name)
			key := name + "\x00" + (&member{config: bound}).key()
			if seen[key] || d.Name == "" {
				continue
			}
			seen[key] = true
			e.mask(r, bound)
			c := e.checked(ctx, configured, bound, d, err, read)
			c.For = r.Name
			out = append(out, c)
		}
	}
	for _, i := range e.Config.Instances {
		if used[i.Name] {
			continue
		}
		d, err := e.Plugins.Describe(ctx, i.Plugin)
		if err != nil {
			out = append(out, Checked{Name: i.Name, Errs: []error{fmt.Errorf("%s: instance %s: %w", i.Pos, i.Name, err)}})
			continue
		}
		bound, err := config.Bind(i, d)
		e.mask(model.Request{}, bound)
		out = append(out, e.checked(ctx, i, bound, d, err, read))
	}
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i, c := range out {
		if c.spec != nil {
			all.Go(func() error {
				e.examine(ctx, &out[i])
				return nil
			})
		}
	}
	_ = all.Wait() // what is wrong is in the answers
	return out
}

func (e *Engine) checked(ctx context.Context, configured config.Instance, bound model.Instance, d sdk.Description, wrong error, read secretReader) Checked {
	c := Checked{Name: configured.Name}
	if wrong != nil {
		c.Errs = []error{wrong}
		return c
	}
	m, err := e.member(ctx, configured, bound, d, read)
	if err != nil {
		c.Errs = append(c.Errs, err)
	}
	if c.Sandbox, c.Refused = e.Plugins.Sandbox(d, m.spec()); c.Refused != nil || err != nil {
		return c
	}
	s := m.spec()
	c.spec = &s
	return c
}

const (
	// healthTimeout bounds what a plugin may take to try its credentials.
	healthTimeout = 30 * time.Second
	// atOnce is how many are asked at a time; each is a process.
	atOnce = 8
)

// examine starts an instance, and asks it whether it could work now, with its
// credentials.
func (e *Engine) examine(ctx context.Context, c *Checked) {
	running, err := e.Plugins.Start(ctx, *c.spec)
	if err != nil {
		c.Errs = append(c.Errs, err)
		return
	}
	asking, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	problems, _, err := running.Health(asking, true)
	if err != nil && asking.Err() != nil && ctx.Err() == nil {
		err = sdk.Hint(fmt.Errorf("it did not answer within %s", healthTimeout), "see whether what it works with can be reached")
	}
	for _, p := range problems {
		c.Ailing = append(c.Ailing, fmt.Errorf("instance %s: %w", c.Name, p))
	}
	if err != nil {
		c.Ailing = append(c.Ailing, fmt.Errorf("ask instance %s whether it could work: %w", c.Name, err))
	}
	if err := running.Stop(ctx); err != nil {
		c.Ailing = append(c.Ailing, err)
	}
}

// secretReader fetches what a reference leads to.
type secretReader func(context.Context, model.SecretRef) ([]byte, error)

// readOnce fetches each secret once, however many instances it belongs to.
func readOnce() secretReader {
	type answer struct {
		secret []byte
		err    error
	}
	have := map[model.SecretRef]answer{}
	return func(ctx context.Context, ref model.SecretRef) ([]byte, error) {
		a, known := have[ref]
		if !known {
			a.secret, a.err = config.ReadSecret(ctx, ref)
			have[ref] = a
		}
		return a.secret, a.err
	}
}
