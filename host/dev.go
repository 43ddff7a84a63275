package host

import (
	"fmt"
	"strings"

	"github.com/certwright/certwright/host/internal/lockfile"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/sdk"
)

// Dev are plugins that their author works on.
type Dev = pluginhost.Dev

// ParseDev reads the values of --dev-plugin and the variable CERTWRIGHT_REATTACH.
func ParseDev(flags []string, reattach string) (Dev, error) {
	d, err := pluginhost.ParseDev(flags, reattach)
	return d, UsageError(err)
}

// noDevWithLock refuses plugins in development where a lock says which may run.
func (b Base) noDevWithLock(l *lockfile.Lock) error {
	for _, name := range b.Dev.Names() {
		if l.Covers(name) {
			return UsageError(sdk.Hint(
				fmt.Errorf("plugin %s is one in development (--dev-plugin or CERTWRIGHT_REATTACH), and there is a lock that says which plugins may run: %s",
					name, strings.Join(l.Files(), ", ")),
				"work with a configuration directory that has no plugins.lock: --config-dir DIR"))
		}
	}
	return nil
}

// warnOfDev is said in every run.
func (b Base) warnOfDev() {
	for _, name := range b.Dev.Names() {
		if path, ok := b.Dev.Binaries[name]; ok {
			b.Terminal.Warn("", "plugin %s is %s (--dev-plugin): no lock covers it, and nobody has looked who could have written it", name, path)
			continue
		}
		b.Terminal.Warn("", "plugin %s is process %d, which you have started (CERTWRIGHT_REATTACH): no lock covers it, it has no sandbox, and it is given the secrets of its instance without TLS",
			name, b.Dev.Running[name].PID)
	}
}
