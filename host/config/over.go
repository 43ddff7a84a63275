package config

import (
	"cmp"
	"maps"

	"github.com/certwright/certwright/host/internal/model"
)

// Over fills in what an instance of which only --set speaks leaves unsaid, from
// what it was when a certificate used it: one --set changes one setting, and
// does not lead the others back to their defaults.
func (i Instance) Over(before model.Instance) Instance {
	if i.Partial && i.Plugin == i.Name {
		i.Plugin = before.Plugin // no --set NAME.plugin
	}
	if !i.Partial || i.Plugin != before.Plugin {
		return i
	}
	i.Settings = maps.Clone(i.Settings)
	keep := func(name string, value any) {
		if _, said := i.Settings[name]; !said {
			i.Settings[name] = Value{Any: value}
		}
	}
	for name, was := range before.Settings {
		keep(name, was)
	}
	for name, ref := range before.Secrets {
		kind, target := ref.Parts()
		keep(name, map[string]any{kind: target})
	}
	i.Timeout = cmp.Or(i.Timeout, before.Timeout)
	i.Sandbox = cmp.Or(i.Sandbox, before.Sandbox)
	i.User = cmp.Or(i.User, before.User)
	return i
}
