package run

import (
	"context"
	"crypto/tls"
	"net/http"
	"slices"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
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

// Boxed is an instance in use with its sandbox.
type Boxed struct {
	Name, Plugin string
	Sandbox      pluginhost.Sandbox
	// Err says why it cannot be started like that.
	Err error
}

// Sandboxes gives those of the instances that requests use, in the order in which
// they are met. An instance whose plugin or settings are wrong is left out: it is
// told of elsewhere.
func (e *Engine) Sandboxes(ctx context.Context, requests []model.Request, lineages map[string]model.Lineage) []Boxed {
	var out []Boxed
	seen := map[string]bool{}
	for _, r := range requests {
		for _, name := range r.Uses() {
			_, bound, d, err := e.bind(ctx, r, lineages[r.Name], name)
			key := (&member{config: bound}).key()
			if err != nil || seen[key] {
				continue
			}
			seen[key] = true
			s := specOf(bound)
			s.Secrets = map[string][]byte{}
			for name := range bound.Secrets {
				s.Secrets[name] = nil // given; what it is does not matter here
			}
			box, err := pluginhost.SandboxHere(d, s)
			out = append(out, Boxed{Name: name, Plugin: d.Name, Sandbox: box, Err: err})
		}
	}
	return out
}
