package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/plan"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/sdk"
)

// ObtainRequest is what run, certonly and plan are asked for.
type ObtainRequest struct {
	Args config.Args
	// Force renews what is not due; Expand agrees to more names.
	Force  bool
	Expand bool
	// NoDeploy obtains only.
	NoDeploy bool
	// NewKey makes a new key in spite of ReuseKey.
	NewKey bool
	// Debug shows what is in place and waits before the CA is told.
	Debug bool
	// DryRun proves every name at a test CA and keeps nothing.
	DryRun bool
}

// Obtain gets what the command line or else the configuration asks for, and
// deploys it unless NoDeploy is set.
func Obtain(ctx context.Context, b Base, r ObtainRequest) (outcomes []Outcome, err error) {
	e, closeEngine, err := b.engine(r.Args.EAB)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	e.NewKey, e.Debug, e.DryRun, e.Verb = r.NewKey, r.Debug, r.DryRun, "run"
	if r.NoDeploy {
		e.Verb = "certonly"
	}
	if asksNothing(r.Args) && len(b.Config.Certificates) == 0 && len(r.Args.Installers) > 0 && !r.NoDeploy {
		if err := e.Recover(ctx); err != nil {
			return nil, err
		}
		if r.Args, err = b.chosen(ctx, e, r.Args); err != nil {
			return nil, err
		}
	}
	return e.Run(ctx, b.want(r))
}

// MakePlan says what Obtain, or Renew with no args at all, would do. It asks no
// CA, and starts installers only to ask what they would write.
func MakePlan(ctx context.Context, b Base, r ObtainRequest) (p Plan, err error) {
	s, err := b.reading()
	if err != nil {
		return Plan{}, err
	}
	secrets := &report.Secrets{}
	b.Terminal.Redact = secrets.Redact
	plugins, err := b.plugins(secrets)
	if err != nil {
		return Plan{}, err
	}
	e := &run.Engine{
		Config: b.Config, Store: s, Terminal: b.Terminal, Plugins: plugins, Secrets: secrets,
		Version: b.Version, RunID: runID(), Now: b.now(),
	}
	defer func() { err = errors.Join(err, plugins.Close(context.WithoutCancel(ctx))) }()
	want := b.want(r)
	if asksNothing(r.Args) {
		want.Requests = b.settled(r.Args, b.everything)
	}
	return e.Plan(ctx, want)
}

func asksNothing(a config.Args) bool {
	return a.CertName == "" && len(a.Domains()) == 0 && len(a.CSR) == 0
}

func (b Base) want(r ObtainRequest) run.Want {
	return run.Want{
		Force: r.Force, NoDeploy: r.NoDeploy, BackOff: asksNothing(r.Args),
		Requests: b.settled(r.Args, func(ctx context.Context, lineages map[string]model.Lineage) ([]model.Request, error) {
			if asksNothing(r.Args) {
				return b.configured(lineages)
			}
			one, err := b.asked(ctx, r, lineages)
			return []model.Request{one}, err
		}),
	}
}

// requests says what certificates are wanted.
type requests = func(context.Context, map[string]model.Lineage) ([]model.Request, error)

// settled refuses settings for instances that no certificate uses.
func (b Base) settled(a config.Args, wanted requests) requests {
	return func(ctx context.Context, lineages map[string]model.Lineage) ([]model.Request, error) {
		all, err := wanted(ctx, lineages)
		if err != nil {
			return nil, err
		}
		var used []string
		for i := range all {
			all[i].Always = b.Config.Hooks
			all[i].HookRules = a.Or(all[i].HookRules)
			used = append(used, all[i].Uses()...)
		}
		return all, a.CheckSets(used)
	}
}

// configured gives the certificates of the configuration files.
func (b Base) configured(map[string]model.Lineage) ([]model.Request, error) {
	if len(b.Config.Certificates) == 0 {
		return nil, UsageError(sdk.Hint(errors.New("no certificate is asked for"),
			"give names with -d, or list certificates in %s/%s", b.Config.ConfigDir, config.FileName))
	}
	return b.Config.Requests()
}

// asked gives the certificate of the command line. What it does not say is as
// it was for the lineage, or as the configuration says.
func (b Base) asked(ctx context.Context, r ObtainRequest, lineages map[string]model.Lineage) (model.Request, error) {
	request, err := b.Config.Request(r.Args)
	if err != nil {
		return request, err
	}
	base, known := b.base(request.Name, lineages)
	if len(request.Identifiers) == 0 {
		if !known {
			_, err := mustHave(lineages, request.Name)
			return request, err
		}
		request.Identifiers = base.Identifiers
	}
	choice := plan.Name(plan.Naming{Request: request, CertName: r.Args.CertName != "", Expand: r.Expand}, lineages)
	if choice.Question != "" {
		yes, err := b.Terminal.Confirm(ctx, choice.Question)
		if errors.Is(err, sdk.ErrNotInteractive) || err == nil && !yes {
			return request, UsageError(errors.New(choice.Refusal))
		}
		if err != nil {
			return request, fmt.Errorf("ask about the names: %w", err)
		}
	}
	request = choice.Request
	if base, known = b.base(request.Name, lineages); known {
		request = b.inherit(request, base, r.Args)
	}
	return request, nil
}

// base is what there is under a name already: a certificate of the
// configuration, or the request that a lineage was obtained by.
func (b Base) base(name string, lineages map[string]model.Lineage) (model.Request, bool) {
	if r, ok := b.fromFiles(name); ok {
		return r, true
	}
	l, ok := lineages[name]
	return l.Request, ok
}

// fromFiles finds a certificate of the configuration. The configuration was
// checked when it was loaded, so every certificate of it makes a request.
func (b Base) fromFiles(name string) (model.Request, bool) {
	requests, err := b.Config.Requests()
	at := slices.IndexFunc(requests, func(r model.Request) bool { return r.Name == name })
	if err != nil || at < 0 {
		return model.Request{}, false
	}
	return requests[at], true
}

// inherit fills in what the command line does not say. With names it says
// everything about the CA, if only by the default.
func (b Base) inherit(r, base model.Request, a config.Args) model.Request {
	if len(r.Authenticate) == 0 {
		r.Authenticate = base.Authenticate
	}
	if len(r.Preferred) == 0 {
		r.Preferred = base.Preferred
	}
	for _, name := range base.Deploy {
		if !slices.Contains(r.Deploy, name) {
			r.Deploy = append(r.Deploy, name)
		}
	}
	r.AllOrNothing = r.AllOrNothing || base.AllOrNothing
	r.Enhance = union(base.Enhance, r.Enhance)
	r.Hooks = config.MergeHooks(base.Hooks, r.Hooks)
	if r.CABundle == "" && r.Server == base.Server {
		r.CABundle = base.CABundle
	}
	if len(a.Domains()) == 0 && len(r.CSR) == 0 {
		r.CSR, r.KeyPath = base.CSR, base.KeyPath
	}
	if len(a.Domains()) == 0 && len(a.CSR) == 0 && a.Account == "" && !b.Config.ServerGiven {
		r.Server, r.Account = base.Server, base.Account
	}
	rules := r.Or(base.HookRules)
	r.HookRules = config.HookRules{}
	if r.Options == (config.Options{}) {
		r.Options = base.Options
	}
	r.HookRules = rules
	if a.KeyType == "" && base.KeyType != "" {
		r.KeyType = base.KeyType
	}
	return r
}

// union of two lists, each once, in order.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
