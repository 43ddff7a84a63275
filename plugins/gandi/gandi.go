package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// gandi is the authenticator, the installer, and the hook that hears when an
// upload has proven to be good.
type gandi struct {
	settings settings
	dns      sdk.Authenticator
	livedns  *livedns
	rpc      *rpc
	records  *checkpoint.Remote[wanted, hosted]
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)
	// pause is between two looks at a certificate that is not in use yet.
	pause time.Duration
	// wait is the first pause before a request is sent again; zero: the usual one.
	wait time.Duration

	// files guards what is read, changed and written back by sftp.
	files gate
	// uploads guards the hosted certificates in the same way.
	uploads gate

	mu sync.Mutex
	// found is what the API says of the Simple Hosting instance; nil: not asked.
	found *instance
	// fresh are the lineages of this run whose upload nobody has taken back.
	fresh map[string]bool
}

var _ interface {
	sdk.Authenticator
	sdk.Preferrer
	sdk.Installer
	sdk.Rollbacker
	sdk.Namer
	sdk.Hook
	sdk.Configurer
	sdk.HealthChecker
} = (*gandi)(nil)

func newGandi() *gandi {
	return &gandi{files: make(gate, 1), uploads: make(gate, 1), fresh: map[string]bool{}, step: func(string) {}, pause: 2 * time.Second}
}

// Configure checks the settings; it asks nobody.
func (g *gandi) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := g.settings.check(); err != nil {
		return err
	}
	var err error
	if g.livedns, err = newLiveDNS(g.settings, g.wait); err != nil {
		return sdk.Subject(err, "endpoint")
	}
	if g.rpc, err = newRPC(g.settings, g.wait); err != nil {
		return sdk.Subject(err, "rpc_endpoint")
	}
	g.dns = sdk.DNSOf(g.livedns)
	if instance.ValidateOnly {
		return nil
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	g.records, err = checkpoint.NewRemote[wanted, hosted](ctx, instance.StateDir, g.step)
	return err
}

// Prefer says which of its ways an instance has, and that files prove no
// wildcard.
func (g *gandi) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	out := make([]sdk.Preference, 0, len(ids))
	for _, id := range ids {
		p := sdk.Preference{Identifier: id}
		for _, t := range g.settings.types() {
			switch {
			case t == sdk.HTTP01 && !id.Wildcard:
				p.ChallengeTypes = append(p.ChallengeTypes, t)
			case t == sdk.DNS01 && id.Type == "dns":
				p.ChallengeTypes = append(p.ChallengeTypes, t, sdk.DNSAccount01)
			}
		}
		if len(p.ChallengeTypes) == 0 {
			err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this instance of gandi has no way to prove %s", id))
			p.Err = sdk.Hint(err, "set token, so that it is proven by LiveDNS")
		}
		out = append(out, p)
	}
	return out, nil
}

// Perform puts the responses in place: records one by one, files over one
// connection.
func (g *gandi) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	records, files := split(challenges)
	if len(records) > 0 {
		if err := g.dns.Perform(ctx, records, r); err != nil {
			return err
		}
	}
	return g.performFiles(ctx, files, r)
}

// Cleanup takes them away.
func (g *gandi) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	records, files := split(challenges)
	if len(records) > 0 {
		if err := g.dns.Cleanup(ctx, records, r); err != nil {
			return err
		}
	}
	return g.cleanupFiles(ctx, files, r)
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

// Health asks each API that there are credentials for.
func (g *gandi) Health(ctx context.Context, deep bool) error {
	if !deep {
		return nil
	}
	if slices.Contains(g.settings.types(), sdk.DNS01) {
		if err := g.livedns.try(ctx); err != nil {
			return fmt.Errorf("try the credentials for LiveDNS: %w", err)
		}
	}
	if g.settings.Instance != "" && g.settings.APIKey != "" {
		if _, err := g.instance(ctx); err != nil {
			return err
		}
	}
	if slices.Contains(g.settings.types(), sdk.HTTP01) {
		at, err := g.place(ctx)
		if err != nil {
			return err
		}
		site, err := g.connect(ctx, at)
		if err != nil {
			return err
		}
		site.close()
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
