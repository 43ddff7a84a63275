package run

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

// past is one checkpoint of an installer.
type past struct {
	lineage string
	model.Checkpoint
}

// Rollback takes back the newest checkpoints of an installer, one after the
// other, of all certificates or of one. What an interrupted run had begun to take
// back counts: the same command again asks for the same. It gives what it came
// to, with an error too.
func (e *Engine) Rollback(ctx context.Context, installer, lineage string, count int) ([]model.TakenBack, error) {
	if err := e.Recover(ctx); err != nil {
		return nil, err
	}
	installer, all, err := e.checkpoints(installer, lineage)
	if err != nil {
		return nil, err
	}
	if err := e.stuck[installer]; err != nil {
		// What is older must not be put over what is half undone.
		return nil, sdk.Hint(fmt.Errorf("roll back at %s: what an interrupted run has left there could not be undone: %w", installer, err),
			"mend that and say the same again: it is undone first")
	}
	var done []model.TakenBack
	for _, back := range e.undone {
		if back.Installer == installer && (lineage == "" || back.Lineage == lineage) {
			done = append(done, back)
		}
	}
	count = max(0, count-len(done))
	if len(all) < count {
		return done, tooFew(installer, all, count)
	}
	t := &team{engine: e, byLineage: map[string]map[string]*member{}, cas: newCAs(e)}
	defer t.stop(ctx)
	for n, p := range all[:count] {
		back, changed, err := e.takeBack(ctx, t, installer, p, fmt.Sprintf("%s-%d", e.RunID, n+1))
		if changed {
			done = append(done, back)
		}
		if err != nil {
			return done, fmt.Errorf("roll back %s at %s: %w", p.lineage, installer, err)
		}
	}
	return done, nil
}

// checkpoints lists those of an installer, newest first. If none is named it is
// the only one that has any, or had one before this run.
func (e *Engine) checkpoints(installer, lineage string) (string, []past, error) {
	byInstaller := map[string][]past{}
	for _, l := range e.lineages() {
		for name, t := range l.Targets {
			for _, c := range t.Checkpoints {
				if lineage == "" || lineage == l.Name {
					byInstaller[name] = append(byInstaller[name], past{l.Name, c})
				}
			}
		}
	}
	for _, back := range e.undone {
		if _, has := byInstaller[back.Installer]; !has && (lineage == "" || lineage == back.Lineage) {
			byInstaller[back.Installer] = nil
		}
	}
	names := slices.Sorted(maps.Keys(byInstaller))
	if installer == "" {
		if len(names) != 1 {
			return "", nil, severalInstallers(names)
		}
		installer = names[0]
	}
	all := byInstaller[installer]
	slices.SortFunc(all, func(a, b past) int { return newer(b, a) })
	return installer, all, nil
}

func severalInstallers(names []string) error {
	if len(names) == 0 {
		return &report.UsageError{Err: errors.New("there is nothing to roll back: no deployment has changed a configuration")}
	}
	return &report.UsageError{Err: sdk.Hint(
		fmt.Errorf("several installers have something to roll back: %s", strings.Join(names, ", ")), "name one with --installer")}
}

func tooFew(installer string, all []past, count int) error {
	if len(all) == 0 {
		return &report.UsageError{Err: fmt.Errorf("there is nothing to roll back at %s: no deployment has changed its configuration", installer)}
	}
	return &report.UsageError{Err: sdk.Hint(
		fmt.Errorf("%d checkpoints cannot be rolled back at %s: there are %d", count, installer, len(all)), "certwright rollback --installer %s %d takes back all of them", installer, len(all))}
}

// newer compares by what the installer counts, if it does, or else by time.
func newer(a, b past) int {
	digits := func(id string) bool { return strings.Trim(id, "0123456789") == "" }
	if len(a.ID) == len(b.ID) && digits(a.ID) && digits(b.ID) {
		return cmp.Compare(a.ID, b.ID)
	}
	return a.At.Compare(b.At)
}

// takeBack takes one checkpoint back, which MUST be the newest.
func (e *Engine) takeBack(ctx context.Context, t *team, installer string, p past, runID string) (back model.TakenBack, changed bool, err error) {
	unlock, err := e.lock(ctx, p.lineage)
	if err != nil {
		return back, false, err
	}
	defer unlock()
	l, err := e.Store.Lineage(p.lineage)
	if err != nil {
		return back, false, err
	}
	before := l.Targets[installer]
	if n := len(before.Checkpoints); n == 0 || before.Checkpoints[n-1].ID != p.ID {
		return back, false, errors.New("another run has deployed to it meanwhile; look at it again")
	}
	leaf, err := e.leaf(l.Name, p.From)
	if err != nil {
		return back, false, err
	}
	m, err := e.resolve(ctx, l.Request, l, installer)
	if err != nil {
		return back, false, err
	}
	instance, err := t.recall(ctx, l.Name, m.config)
	if err != nil {
		return back, false, err
	}
	free, err := e.Store.Lock(ctx, instanceLock(installer), true)
	if err != nil {
		return back, false, err
	}
	defer free()
	release, err := e.held().Hold(ctx, "roll back of "+l.Name, guarded(instance.Description(), instance.config))
	if err != nil {
		return back, false, err
	}
	defer release()
	deps := e.deployDeps()
	deps.RunID = runID
	deps.Keep = func(after map[string]model.Target) error {
		target := after[installer]
		target.Error = e.Secrets.Redact(target.Error)
		l.Targets[installer] = target
		return e.Store.SaveLineage(l)
	}
	after, changed, err := deploy.TakeBack(ctx, deps, e.target(instance), before, deploy.Past{
		Lineage: l.Name, Identifiers: l.Request.Identifiers, Checkpoint: p.Checkpoint, LeafPEM: leaf,
	})
	return model.TakenBack{Lineage: l.Name, Installer: installer, Checkpoint: p.Checkpoint, Target: after}, changed, err
}

// leaf is the certificate of a version; nil: there is none, of version 0.
func (e *Engine) leaf(lineage string, version int) ([]byte, error) {
	if version == 0 {
		return nil, nil
	}
	issued, err := e.Store.Read(lineage, version)
	if err != nil {
		return nil, fmt.Errorf("version %d, which was served before, is not there any more: %w", version, err)
	}
	if block, _ := pem.Decode(issued.LeafPEM); block != nil {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && e.Now().After(c.NotAfter) {
			e.Terminal.Warn(lineage, "version %d, which is served again, has expired on %s", version, c.NotAfter.UTC().Format("2006-01-02"))
		}
	}
	return issued.LeafPEM, nil
}
