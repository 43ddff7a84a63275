package run

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/plan"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

// delivery is the deployment of one certificate to several targets.
type delivery struct {
	engine *Engine
	team   *team
	cert   deploy.Certificate
	// enhance lists the names of each enhancement that is asked for in this run,
	// of one target.
	enhance map[string]map[string][]string
	// always lists what the certificate wants to be set for all of its names.
	always []string

	mu      sync.Mutex
	lineage model.Lineage
}

// deploy brings the newest version to the targets, as many at once as are not in
// each other's way. One that fails does not stop the others, unless all or
// nothing is wanted.
func (e *Engine) deploy(ctx context.Context, l model.Lineage, r model.Request, targets []string, t *team) (model.Lineage, error) {
	if t.want.KeyPath != "" {
		l.Request.KeyPath = t.want.KeyPath
	}
	l.Request.AllOrNothing, l.Request.Enhance = r.AllOrNothing, r.Enhance
	cert, err := e.deliverable(l)
	if err != nil {
		return l, err
	}
	d := &delivery{engine: e, team: t, cert: cert, enhance: t.want.Enhance, always: r.Enhance, lineage: l}
	errs := make([]error, len(targets))
	if r.AllOrNothing && len(targets) > 1 {
		errs = d.run(ctx, targets...)
	} else {
		var group errgroup.Group
		for _, lane := range d.lanes(targets) {
			group.Go(func() error {
				for _, i := range lane {
					errs[i] = d.run(ctx, targets[i])[0]
				}
				return nil
			})
		}
		_ = group.Wait() // the errors are kept in their places
	}
	return d.lineage, errors.Join(errs...)
}

// deliverable is the newest version as it is deployed.
func (e *Engine) deliverable(l model.Lineage) (deploy.Certificate, error) {
	issued, err := e.deployable(l)
	if err != nil {
		return deploy.Certificate{}, err
	}
	cert := deploy.Certificate{
		Lineage: l.Name, Version: l.Version.Number, Identifiers: plan.Remaining(l.Request.Identifiers, l.Skipped), Issued: issued,
		Paths: e.Store.LivePaths(l.Name), KeyPath: l.Request.KeyPath,
	}
	if cert.KeyPath != "" {
		cert.Paths.Privkey = cert.KeyPath
	}
	return cert, nil
}

// lanes puts targets one after the other that claim the same server.
func (d *delivery) lanes(targets []string) [][]int {
	var lanes [][]int
	lane := map[string]int{}
	for i, name := range targets {
		at := len(lanes)
		servers := d.team.guarded(d.cert.Lineage, name)
		if d.team.serial {
			servers = append(servers, "everything")
		}
		for _, server := range servers {
			if other, taken := lane[server]; taken {
				at = other
			}
		}
		for _, server := range servers {
			lane[server] = at
		}
		if at == len(lanes) {
			lanes = append(lanes, nil)
		}
		lanes[at] = append(lanes[at], i)
	}
	return lanes
}

// run is one transaction: to all of its targets or to none.
func (d *delivery) run(ctx context.Context, targets ...string) []error {
	results := make([]deploy.Result, len(targets))
	release, err := d.hold(ctx, targets)
	var jobs []deploy.Job
	if err == nil {
		defer release()
		jobs, err = d.jobs(ctx, targets)
	}
	if err != nil {
		// Nothing is begun.
		for i, name := range targets {
			results[i] = deploy.Result{State: d.before(name), Err: err}
			results[i].State.Error, results[i].State.At = err.Error(), d.engine.Now().UTC()
		}
	} else {
		deps := d.engine.deployDeps()
		deps.Keep = d.keep
		results = deploy.Run(ctx, deps, d.cert, jobs...)
	}
	errs := make([]error, len(targets))
	for i, r := range results {
		if errs[i] = r.Err; r.Err != nil {
			errs[i] = errors.Join(r.Err, d.failed(ctx, targets[i], r.State))
		}
	}
	return errs
}

// hold keeps everybody else from the targets: a roll back takes the newest
// checkpoint, so there is one deployment to an instance at a time, and nobody
// else edits the configuration of its server.
func (d *delivery) hold(ctx context.Context, targets []string) (release func(), err error) {
	var held []func()
	release = func() {
		for _, let := range slices.Backward(held) {
			let()
		}
	}
	var servers []string
	for _, name := range slices.Sorted(slices.Values(targets)) {
		unlock, err := d.engine.Store.Lock(ctx, instanceLock(name), true)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, unlock)
		servers = append(servers, d.team.guarded(d.cert.Lineage, name)...)
	}
	let, err := d.engine.held().Hold(ctx, "deployment of "+d.cert.Lineage+" to "+strings.Join(targets, " "), servers)
	if err != nil {
		release()
		return nil, err
	}
	held = append(held, let)
	return release, nil
}

func (d *delivery) jobs(ctx context.Context, targets []string) ([]deploy.Job, error) {
	jobs := make([]deploy.Job, len(targets))
	for i, name := range targets {
		instance, err := d.team.get(ctx, d.cert.Lineage, name)
		if err != nil {
			return nil, err
		}
		before := d.before(name)
		jobs[i] = deploy.Job{
			Target: d.engine.target(instance), Before: before, Enhance: d.wanted(name, instance.Description(), before),
			Fresh: func(ctx context.Context) (deploy.Target, error) {
				fresh, err := d.team.fresh(ctx, d.cert.Lineage, name)
				if err != nil {
					return deploy.Target{}, err
				}
				return d.engine.target(fresh), nil
			},
		}
	}
	return jobs, nil
}

func (d *delivery) before(name string) model.Target {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lineage.Targets[name]
}

// wanted lists the names of each enhancement that a target is to have: what is
// asked for now, and what was set before.
func (d *delivery) wanted(name string, description sdk.Description, before model.Target) map[string][]string {
	if !slices.Contains(description.Features, sdk.FeatureEnhance) {
		return nil
	}
	out := map[string][]string{}
	add := func(enhancement string, names []string) {
		for _, name := range names {
			if !slices.Contains(out[enhancement], name) {
				out[enhancement] = append(out[enhancement], name)
			}
		}
	}
	for _, enhancement := range d.always {
		add(enhancement, model.Names(d.cert.Identifiers))
	}
	for _, of := range []map[string][]string{before.Enhanced, d.enhance[name]} {
		for enhancement, names := range of {
			add(enhancement, names)
		}
	}
	return out
}

// keep makes durable what is deployed.
func (d *delivery) keep(after map[string]model.Target) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		d.lineage = d.team.remember(d.lineage, name)
		d.set(name, d.unable(name, after[name]))
	}
	return d.engine.Store.SaveLineage(d.lineage)
}

// unable notes which of the enhancements the target's installer does not have,
// so that it is not tried again and again.
func (d *delivery) unable(name string, after model.Target) model.Target {
	m := d.team.byLineage[d.cert.Lineage][name]
	if m == nil || slices.Contains(m.description.Features, sdk.FeatureEnhance) {
		return after
	}
	after.Enhanced = nil
	for _, enhancement := range d.lineage.Request.Enhance {
		if after.Enhanced == nil {
			after.Enhanced = map[string][]string{}
		}
		after.Enhanced[enhancement] = []string{}
	}
	return after
}

// failed notes a failure. A new target that failed does not belong to the
// certificate. To be interrupted is no failure.
func (d *delivery) failed(ctx context.Context, name string, after model.Target) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	after.Error = d.engine.Secrets.Redact(after.Error)
	if ctx.Err() == nil {
		after.Failures++
		after.Retry = after.At.Add(plan.Wait(after.Failures - 1))
	}
	if slices.Contains(d.lineage.Request.Deploy, name) {
		d.set(name, after)
	}
	return d.engine.Store.SaveLineage(d.lineage)
}

func (d *delivery) set(name string, target model.Target) {
	targets := maps.Clone(d.lineage.Targets)
	if targets == nil {
		targets = map[string]model.Target{}
	}
	targets[name] = target
	d.lineage.Targets = targets
}

// stale finds targets that are configured otherwise than they were when they
// were deployed to, by lineage.
func (e *Engine) stale(requests []model.Request, lineages map[string]model.Lineage) map[string][]string {
	out := map[string][]string{}
	for _, r := range requests {
		saved := lineages[r.Name].Instances
		for _, name := range r.Deploy {
			now, configured := e.Config.Instance(name)
			if before, ok := saved[name]; ok && configured && !now.Over(before).Same(before) {
				out[r.Name] = append(out[r.Name], name)
			}
		}
	}
	return out
}

// deployable reads the newest version. The key of one that was obtained by a CSR
// is elsewhere.
func (e *Engine) deployable(l model.Lineage) (model.Issued, error) {
	issued, err := e.Store.Read(l.Name, l.Version.Number)
	if err != nil {
		return issued, sdk.Hint(fmt.Errorf("version %d of %s cannot be deployed: %w", l.Version.Number, l.Name, err),
			"restore what is missing from a backup, or get another certificate: certwright renew --cert-name %s", l.Name)
	}
	if len(issued.KeyPEM) > 0 {
		return issued, nil
	}
	if l.Request.KeyPath == "" {
		return issued, &report.UsageError{Err: sdk.Hint(
			fmt.Errorf("the certificate %s was obtained with --csr, so its key is not here", l.Name),
			"say where it is: certwright install --cert-name %s --key-path FILE -i INSTALLER", l.Name)}
	}
	if issued.KeyPEM, err = os.ReadFile(l.Request.KeyPath); err != nil {
		return issued, fmt.Errorf("read the key of %s: %w", l.Name, err)
	}
	if _, err := tls.X509KeyPair(issued.FullchainPEM, issued.KeyPEM); err != nil {
		return issued, fmt.Errorf("the key in %s is not that of the certificate %s: %w", l.Request.KeyPath, l.Name, err)
	}
	return issued, nil
}
