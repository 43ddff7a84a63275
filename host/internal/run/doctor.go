package run

import (
	"crypto/tls"
	"net/http"
	"slices"

	"github.com/certwright/certwright/host/internal/model"
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
