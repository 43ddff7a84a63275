package pluginhost

import (
	"os"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// defaultPath is for a host that was started without PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// passedOn are the variables that every plugin gets, if they are set: where
// programs and temporary files are, and how to speak. LC_* is passed on too.
// HOME is not, for the credentials that libraries find below it: a plugin that
// wants it names it in Permissions.Environment.
var passedOn = []string{"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR"}

// Withhold names environment variables that hold secrets: no plugin gets them,
// not even one that has the user's environment.
func (h *Host) Withhold(names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		h.withheld[name] = true
	}
}

// environment picks from what the host was started with.
func (h *Host) environment(d sdk.Description) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return environment(d, slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return h.withheld[name]
	}))
}

// environment picks from the host's environment what a plugin gets. EnvMode
// user: all but what belongs to the host and to go-plugin. Otherwise: passedOn
// and the names in Permissions.Environment, with the same exceptions.
func environment(d sdk.Description, environ []string) []string {
	var out []string
	havePath := false
	for _, entry := range environ {
		name, _, ok := strings.Cut(entry, "=")
		if !ok || name == "" || private(name) {
			continue
		}
		if d.Env == sdk.UserEnv || slices.Contains(passedOn, name) || strings.HasPrefix(name, "LC_") ||
			slices.Contains(d.Permissions.Environment, name) {
			out = append(out, entry)
			havePath = havePath || name == "PATH"
		}
	}
	if !havePath {
		out = append(out, "PATH="+defaultPath)
	}
	return out
}

// private names are never passed on: CERTWRIGHT_* may hold the host's secrets,
// and PLUGIN_* would be taken for this handshake's.
func private(name string) bool {
	return strings.HasPrefix(name, "CERTWRIGHT_") || strings.HasPrefix(name, "PLUGIN_")
}
