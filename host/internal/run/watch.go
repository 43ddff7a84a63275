package run

import (
	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/order"
)

// watch stands between a run and its plugins; the zero value does not. Tests
// stop this process, or the plugin's, at every call.
type watch struct {
	authenticator func(instance string, a order.Authenticator) order.Authenticator
	installer     func(instance string, i deploy.Installer) deploy.Installer
}

// authenticator of a running instance.
func (e *Engine) authenticator(r running) order.Authenticator {
	if e.watch.authenticator == nil {
		return r.Authenticator()
	}
	return e.watch.authenticator(r.config.Name, r.Authenticator())
}

// target of a running instance.
func (e *Engine) target(r running) deploy.Target {
	t := deploy.Target{Config: r.config, Description: r.Description(), Installer: r.Installer()}
	if e.watch.installer != nil {
		t.Installer = e.watch.installer(r.config.Name, t.Installer)
	}
	return t
}
