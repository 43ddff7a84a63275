package run

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/plan"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

// deploy brings the newest version to the targets, one after the other; one
// that fails does not stop the others.
func (e *Engine) deploy(ctx context.Context, l model.Lineage, targets []string, t *team) (model.Lineage, error) {
	if t.keyPath != "" {
		l.Request.KeyPath = t.keyPath
	}
	issued, err := e.deployable(l)
	if err != nil {
		return l, err
	}
	cert := deploy.Certificate{
		Lineage: l.Name, Version: l.Version.Number, Identifiers: plan.Remaining(l.Request.Identifiers, l.Skipped), Issued: issued,
		Paths: e.Store.LivePaths(l.Name), KeyPath: l.Request.KeyPath,
	}
	if cert.KeyPath != "" {
		cert.Paths.Privkey = cert.KeyPath
	}
	state := map[string]model.Target{}
	for name, target := range l.Targets {
		state[name] = target
	}
	var errs []error
	for _, name := range targets {
		after, err := e.deployTo(ctx, t, name, cert, l.Targets[name])
		after.Error = e.Secrets.Redact(after.Error)
		if err == nil {
			l = t.remember(l, name)
		}
		// A new target that failed does not belong to the certificate.
		if slices.Contains(l.Request.Deploy, name) {
			state[name] = after
			l.Targets = state
		}
		errs = append(errs, err, e.Store.SaveLineage(l))
	}
	return l, errors.Join(errs...)
}

// stale finds targets that are configured otherwise than they were when they
// were deployed to, by lineage.
func (e *Engine) stale(requests []model.Request, lineages map[string]model.Lineage) map[string][]string {
	out := map[string][]string{}
	for _, r := range requests {
		saved := lineages[r.Name].Instances
		for _, name := range r.Deploy {
			now, configured := e.Config.Instance(name)
			if before, ok := saved[name]; ok && configured && !now.Same(before) {
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
	if err != nil || len(issued.KeyPEM) > 0 {
		return issued, err
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

func (e *Engine) deployTo(ctx context.Context, t *team, name string, cert deploy.Certificate, before model.Target) (model.Target, error) {
	fail := func(err error) (model.Target, error) {
		before.Error, before.At = err.Error(), e.Now().UTC()
		return before, err
	}
	instance, err := t.get(ctx, cert.Lineage, name)
	if err != nil {
		return fail(err)
	}
	// A roll back takes the newest checkpoint: one deployment at a time.
	unlock, err := e.Store.Lock(ctx, instanceLock(name), true)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	deps := e.deployDeps()
	deps.Fresh = func(ctx context.Context) (deploy.Target, error) {
		fresh, err := t.fresh(ctx, cert.Lineage, name)
		if err != nil {
			return deploy.Target{}, err
		}
		return e.target(fresh), nil
	}
	return deploy.Run(ctx, deps, e.target(instance), cert, before)
}
