package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// heroku is the authenticator and the installer.
type heroku struct {
	settings settings
	api      *api
	// certificates is what is wanted, and what is at Heroku because of us.
	certificates *checkpoint.Remote[wanted, there]
	// apps is what a challenge has changed of an app, under the app's name.
	apps *checkpoint.Remote[struct{}, changed]
	// busy guards the apps: one challenge, or one certificate, at a time.
	busy gate
	// looks are those of the deployment that is under way.
	looks looks

	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)
	// attempt is for tests that do not want to wait; see newAPI.
	attempt time.Duration
	// pause is the first one between two looks at the dynos, and between the tries
	// of a request.
	pause time.Duration
}

var _ interface {
	sdk.Authenticator
	sdk.Installer
	sdk.Configurer
	sdk.HealthChecker
	sdk.Namer
	sdk.Preferrer
	sdk.Rollbacker
} = (*heroku)(nil)

func newHeroku() *heroku {
	return &heroku{busy: make(gate, 1), step: func(string) {}, pause: 500 * time.Millisecond}
}

// Configure checks the settings; it asks nobody.
func (h *heroku) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := h.settings.check(); err != nil {
		return err
	}
	var err error
	if h.api, err = newAPI(h.settings, h.attempt, h.pause); err != nil {
		return sdk.Subject(err, "endpoint")
	}
	if instance.ValidateOnly {
		return nil
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	if h.certificates, err = checkpoint.NewRemote[wanted, there](ctx, instance.StateDir, h.step); err != nil {
		return err
	}
	h.apps, err = checkpoint.NewRemote[struct{}, changed](ctx, filepath.Join(instance.StateDir, "challenges"), h.step)
	return err
}

// Health looks at each app with the token; deep only.
func (h *heroku) Health(ctx context.Context, deep bool) error {
	if !deep {
		return nil
	}
	for _, app := range h.allApps() {
		if _, err := h.api.domains(ctx, app); err != nil {
			return about(app, err)
		}
	}
	return nil
}

// Names gives the domains of each app.
func (h *heroku) Names(ctx context.Context) ([]sdk.Site, error) {
	var out []sdk.Site
	for _, app := range h.allApps() {
		domains, err := h.api.domains(ctx, app)
		if err != nil {
			return nil, about(app, err)
		}
		site := sdk.Site{ID: app}
		for _, d := range domains {
			if d.Kind == "custom" {
				site.Names = append(site.Names, d.Hostname)
				site.TLS = site.TLS || d.SNIEndpoint != nil
			}
		}
		out = append(out, site)
	}
	return out, nil
}

// about adds what the API does not say: which app, and what to do if there is no
// such one.
func about(app string, err error) error {
	if err == nil {
		return nil
	}
	missing := notFound(err)
	err = fmt.Errorf("app %s: %w", app, err)
	if missing {
		err = sdk.Hint(err, "check the settings app and apps, and that the token is of somebody who may use the app")
	}
	return err
}

// gate lets one in at a time, and those who wait can give up.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }
