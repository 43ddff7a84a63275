package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/sdk"
)

// RenewRequest is what renew is asked for.
type RenewRequest struct {
	// CertName renews one lineage; empty: all that are due.
	CertName string
	// Args are the settings of the command line.
	Args  config.Args
	Force bool
	// DryRun proves every name at a test CA and keeps nothing.
	DryRun bool
}

// Renew renews what is due: every lineage as it was obtained, or as the
// configuration says now. A failed deployment is tried again.
func Renew(ctx context.Context, b Base, r RenewRequest) (outcomes []Outcome, err error) {
	e, closeEngine, err := b.engine(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	e.DryRun, e.Verb = r.DryRun, "renew"
	outcomes, err = e.Run(ctx, run.Want{
		Force: r.Force, BackOff: r.CertName == "",
		Requests: b.settled(r.Args, func(_ context.Context, lineages map[string]model.Lineage) ([]model.Request, error) {
			if r.CertName == "" {
				requests, err := b.existing(lineages)
				for i := range requests {
					requests[i] = renewing(requests[i], r.Args)
				}
				return requests, err
			}
			if _, err := mustHave(lineages, r.CertName); err != nil {
				return nil, err
			}
			request, _ := b.base(r.CertName, lineages)
			return []model.Request{renewing(request, r.Args)}, nil
		}),
	})
	if err == nil && e.Unread != nil && r.CertName == "" {
		// A timer has to notice.
		outcomes = append(outcomes, Outcome{Name: "renew", Action: model.None, Err: fmt.Errorf("not every certificate could be looked at: %w", e.Unread)})
	}
	return outcomes, err
}

// renewing is a request with what the command line of renew says.
func renewing(r model.Request, a config.Args) model.Request {
	r.AllOrNothing = r.AllOrNothing || a.AllOrNothing
	r.Hooks = config.MergeHooks(r.Hooks, a.HookNames())
	return r
}

// existing gives every lineage.
func (b Base) existing(lineages map[string]model.Lineage) ([]model.Request, error) {
	configured, err := b.Config.Requests()
	if err != nil {
		return nil, err
	}
	files := make(map[string]model.Request, len(configured))
	for _, r := range configured {
		files[r.Name] = r
	}
	out := make([]model.Request, 0, len(lineages))
	for name, l := range lineages {
		request, ok := files[name]
		if !ok {
			request = l.Request
		}
		out = append(out, request)
	}
	return out, nil
}

// everything gives what is configured and what exists.
func (b Base) everything(_ context.Context, lineages map[string]model.Lineage) ([]model.Request, error) {
	out, err := b.existing(lineages)
	if err != nil {
		return nil, err
	}
	configured, err := b.Config.Requests()
	if err != nil {
		return nil, err
	}
	for _, r := range configured {
		if _, there := lineages[r.Name]; !there {
			out = append(out, r)
		}
	}
	return out, nil
}

// InstallRequest is what install is asked for.
type InstallRequest struct {
	CertName string
	Args     config.Args
	// KeyPath is where the key of a certificate is that was obtained by a CSR.
	KeyPath string
	// DryRun says what would be written, and writes nothing.
	DryRun bool
}

// Install deploys a certificate that exists to the installers named, which
// belong to it from then on.
func Install(ctx context.Context, b Base, r InstallRequest) (outcomes []Outcome, err error) {
	targets := r.Args.Installers
	if len(targets) == 0 {
		return nil, UsageError(sdk.Hint(errors.New("no installer is named"), "name one with -i, for instance -i files"))
	}
	if err := r.Args.CheckSets(targets); err != nil {
		return nil, err
	}
	e, closeEngine, err := b.engine(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	e.DryRun, e.Verb = r.DryRun, "install"
	keyPath, err := filepath.Abs(r.KeyPath)
	if r.KeyPath == "" || err != nil {
		keyPath = ""
	}
	return e.Run(ctx, run.Want{
		DeployTo: targets, MustEnhance: len(r.Args.Enhance) > 0,
		Requests: func(ctx context.Context, lineages map[string]model.Lineage) ([]model.Request, error) {
			names := []string{r.CertName}
			if r.CertName == "" {
				if names, err = b.chosenLineages(ctx, e, targets, lineages); err != nil {
					return nil, err
				}
			}
			var out []model.Request
			for _, name := range names {
				l, err := mustHave(lineages, name)
				if err != nil {
					return nil, err
				}
				out = append(out, b.installed(l, r.Args))
			}
			return out, nil
		},
		KeyPath: keyPath,
	})
}

// installed is the request of a certificate that gets more installers.
func (b Base) installed(l model.Lineage, a config.Args) model.Request {
	if c, ok := b.fromFiles(l.Name); ok {
		for _, name := range a.Installers {
			if !slices.Contains(c.Deploy, name) {
				b.Terminal.Warn(c.Name, "the configuration does not deploy it to %s: name it in deploy, or it is left out of the next renewal", name)
			}
		}
	}
	r := l.Request
	r.AllOrNothing = r.AllOrNothing || a.AllOrNothing
	r.Enhance = union(r.Enhance, a.Enhance)
	return r
}
