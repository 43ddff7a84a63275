package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

type settings struct {
	Hook          string        `setting:"hook" doc:"path of the hook script; it wins over HOOK of config"`
	Config        string        `setting:"config" doc:"dehydrated's config file: WELLKNOWN, HOOK, HOOK_CHAIN, CHALLENGETYPE, KEY_ALGO, PRIVATE_KEY_ROLLOVER, ALPNCERTDIR and CONFIG_D are read from it, by a shell"`
	ChallengeType string        `setting:"challenge_type" choices:"http-01,dns-01,tls-alpn-01" doc:"the one type to use; it wins over CHALLENGETYPE of config"`
	HookTimeout   time.Duration `setting:"hook_timeout" default:"9m" doc:"how long one run of the hook may take"`
}

// dehydrated is the authenticator, the installer and the hook.
type dehydrated struct {
	settings settings
	instance sdk.Instance
	config   config
	// hook is the script's path, absolute; empty: there is none.
	hook string

	mu sync.Mutex
	// exported are variables that came up in the course of the run; like a shell's
	// they stay.
	exported map[string]string
	// began is when each certificate was begun with.
	began map[string]time.Time
	// told are the leaves that deploy_cert was called for, and what came of it.
	told map[string]told
	// staged are deployments that Restart makes live, by lineage.
	staged map[string]sdk.Deployment
}

type told struct {
	leaf string
	err  error
}

var _ interface {
	sdk.Authenticator
	sdk.Configurer
	sdk.Preferrer
	sdk.Installer
	sdk.Hook
} = (*dehydrated)(nil)

// Configure reads dehydrated's configuration. A hook that cannot be run is found
// when it is called.
func (d *dehydrated) Configure(ctx context.Context, instance sdk.Instance) error {
	d.instance = instance
	d.exported, d.began = map[string]string{}, map[string]time.Time{}
	d.told, d.staged = map[string]told{}, map[string]sdk.Deployment{}
	if d.settings.HookTimeout <= 0 {
		return sdk.Subject(sdk.Problemf(sdk.InvalidConfig, "setting hook_timeout must be more than 0, not %s", d.settings.HookTimeout), "hook_timeout")
	}
	var err error
	if d.config, err = readConfig(ctx, d.settings.Config, instance.StateDir); err != nil {
		return sdk.Subject(err, "config")
	}
	hook := d.settings.Hook
	if hook == "" {
		hook = d.config.hook
	}
	if hook == "" {
		return nil
	}
	if d.hook, err = filepath.Abs(hook); err != nil {
		return sdk.Subject(fmt.Errorf("find the hook %s: %w", hook, err), "hook")
	}
	return nil
}

// types are the challenge types to use: the one that is configured, or, if
// dehydrated's configuration is not used at all, all that is possible.
func (d *dehydrated) types() ([]string, error) {
	configured := d.settings.ChallengeType
	if configured == "" && d.settings.Config != "" {
		configured = d.config.challengeType
	}
	switch {
	case configured == "" && d.hook != "":
		types := []string{sdk.DNS01, sdk.TLSALPN01}
		if d.config.wellknownErr() == nil {
			types = []string{sdk.DNS01, sdk.HTTP01, sdk.TLSALPN01}
		}
		return types, nil
	case configured == "":
		configured = sdk.HTTP01
	}
	switch configured {
	case sdk.HTTP01:
		if err := d.config.wellknownErr(); err != nil {
			return nil, err
		}
	case sdk.DNS01:
		if d.hook == "" {
			err := sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "dns-01 needs a hook script, and there is none"))
			return nil, sdk.Hint(sdk.Subject(err, "hook"), "give its path in the setting hook, or as HOOK in the config file")
		}
	case sdk.TLSALPN01:
	default:
		err := sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "CHALLENGETYPE %q of %s is not known", configured, d.settings.Config))
		return nil, sdk.Hint(sdk.Subject(err, "config"), "write http-01, dns-01 or tls-alpn-01")
	}
	return []string{configured}, nil
}

// Prefer says which challenges the hook is for.
func (d *dehydrated) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	types, err := d.types()
	err = errors.Join(err, d.runnable())
	out := make([]sdk.Preference, 0, len(ids))
	for _, id := range ids {
		out = append(out, sdk.Preference{Identifier: id, ChallengeTypes: types, Err: err})
	}
	return out, nil
}

func (d *dehydrated) runnable() error {
	if d.hook == "" {
		return nil
	}
	_, err := script.Look("the hook", d.hook)
	return sdk.Subject(err, "hook")
}
