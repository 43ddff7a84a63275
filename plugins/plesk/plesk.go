package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// plesk is the authenticator and the installer.
type plesk struct {
	settings settings
	api      *client
	dns      sdk.Authenticator
	records  *checkpoint.Remote[wanted, there]
	stateDir string
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)
	// wait is the first pause before a request is sent again; zero: the usual one.
	wait time.Duration

	// zones, files and installs each hold the token of who looks and then changes.
	zones, files, installs gate

	mu   sync.Mutex
	seen map[string]seen
}

var _ interface {
	sdk.Authenticator
	sdk.Preferrer
	sdk.Installer
	sdk.Rollbacker
	sdk.Namer
	sdk.Configurer
	sdk.HealthChecker
} = (*plesk)(nil)

func newPlesk() *plesk {
	return &plesk{zones: make(gate, 1), files: make(gate, 1), installs: make(gate, 1), step: func(string) {}, seen: map[string]seen{}}
}

// Configure checks the settings; it asks nobody.
func (p *plesk) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := p.settings.check(); err != nil {
		return err
	}
	var err error
	if p.api, err = newClient(p.settings, p.wait); err != nil {
		return sdk.Subject(err, "server")
	}
	p.dns = sdk.DNS(p.setTXT, p.deleteTXT)
	if instance.ValidateOnly {
		return nil
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	p.stateDir = instance.StateDir
	if err := sweep(p.stateDir); err != nil {
		return err
	}
	p.records, err = checkpoint.NewRemote[wanted, there](ctx, instance.StateDir, p.step)
	return err
}

// Prefer says which of its ways an instance has, and that files prove no
// wildcard.
func (p *plesk) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	out := make([]sdk.Preference, 0, len(ids))
	for _, id := range ids {
		preference := sdk.Preference{Identifier: id}
		for _, t := range p.settings.types() {
			switch {
			case id.Type != "dns":
			case t == sdk.HTTP01 && !id.Wildcard:
				preference.ChallengeTypes = append(preference.ChallengeTypes, t)
			case t == sdk.DNS01:
				preference.ChallengeTypes = append(preference.ChallengeTypes, t, sdk.DNSAccount01)
			}
		}
		if len(preference.ChallengeTypes) == 0 {
			err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this instance of plesk has no way to prove %s", id))
			preference.Err = sdk.Hint(err, "add dns-01 to challenges, or prove the name by another plugin")
		}
		out = append(out, preference)
	}
	return out, nil
}

// Perform puts the responses in place.
func (p *plesk) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	records, files := split(challenges)
	if len(records) > 0 {
		if err := p.dns.Perform(ctx, records, r); err != nil {
			return err
		}
	}
	return p.eachFile(ctx, files, r, p.put)
}

// Cleanup takes them away.
func (p *plesk) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	records, files := split(challenges)
	if len(records) > 0 {
		if err := p.dns.Cleanup(ctx, records, r); err != nil {
			return err
		}
	}
	return p.eachFile(ctx, files, r, p.remove)
}

func split(challenges []sdk.Challenge) (records, files []sdk.Challenge) {
	for _, c := range challenges {
		if c.Type == sdk.HTTP01 {
			files = append(files, c)
		} else {
			records = append(records, c)
		}
	}
	return records, files
}

// Health asks Plesk which protocols it speaks, which takes credentials.
func (p *plesk) Health(ctx context.Context, deep bool) error {
	if !deep {
		return nil
	}
	if _, err := p.api.canUpdate(ctx); err != nil {
		return fmt.Errorf("try the credentials for Plesk: %w", err)
	}
	return nil
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
