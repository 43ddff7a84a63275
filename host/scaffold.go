package host

import (
	"github.com/certwright/certwright/host/internal/scaffold"
)

// NewPlugin says what the author of a plugin wants to begin with.
type NewPlugin = scaffold.Request

// PluginLanguages and PluginRoles are what can be chosen for a new plugin.
var (
	PluginLanguages = scaffold.Languages
	PluginRoles     = scaffold.Roles
)

// PluginNew writes the folder of a new plugin. It needs no configuration.
func PluginNew(t *Terminal, r NewPlugin) error {
	made, err := scaffold.Write(r)
	if err != nil {
		return UsageError(err)
	}
	t.Created(r.Name, made.Dir, made.Files)
	return nil
}
