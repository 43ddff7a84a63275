package config

import "github.com/certwright/certwright/host/internal/model"

// SecretVariables names the environment variables that secrets are read from.
// They are no plugin's business: who is meant to have one is given it by
// Configure.
func (c *Config) SecretVariables() []string {
	var out []string
	add := func(ref model.SecretRef) {
		if ref.Env != "" {
			out = append(out, ref.Env)
		}
	}
	for _, a := range c.Accounts {
		if a.EAB != nil {
			add(a.EAB.HMACKey)
		}
	}
	for _, i := range c.Instances {
		for _, v := range i.Settings {
			if v.Text != nil {
				// What is no reference is another kind of setting.
				if ref, err := SecretFlag(*v.Text); err == nil {
					add(ref)
				}
				continue
			}
			references(v.Any, add)
		}
	}
	return out
}

// references finds {env: NAME} at any depth: a setting may be a map of secrets.
// Which settings are secrets is known only when the plugin is described.
func references(value any, found func(model.SecretRef)) {
	entries, ok := value.(map[string]any)
	if !ok {
		return
	}
	if ref, err := secretRef(value); err == nil {
		found(ref)
		return
	}
	for _, entry := range entries {
		references(entry, found)
	}
}
