package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"time"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// Recover undoes what runs that were killed have left. What cannot be undone is
// warned of; what belongs to a lineage that another process
// works on is left alone until that has ended.
func (e *Engine) Recover(ctx context.Context) error {
	e.resume, e.left, e.undone, e.stuck = map[string]resumed{}, map[string]bool{}, nil, map[string]error{}
	err := e.recover(ctx, "")
	return errors.Join(err, e.mend())
}

// recover undoes what is in the journals of dead runs: all of it, or what is
// about one lineage, whose lock is held then.
func (e *Engine) recover(ctx context.Context, lineage string) error {
	e.recovering.Lock()
	defer e.recovering.Unlock()
	t := &team{engine: e, byLineage: map[string]map[string]*member{}, cas: newCAs(e)}
	defer t.stop(ctx)
	err := journal.Recover(ctx, filepath.Join(e.Store.Dir(), "journal"), func(ctx context.Context, entry journal.Entry) error {
		name := entry.Lineage()
		if lineage != "" && name != lineage {
			return journal.ErrHeld
		}
		e.Terminal.Tell("", "cleaning up after an interrupted run: %s", entry)
		if entry.Perform != nil {
			return e.recoverPerform(ctx, t, *entry.Perform)
		}
		if lineage == "" {
			unlock, err := e.Store.TryLock(store.LineageLock(name), true)
			var held *store.HeldError
			if errors.As(err, &held) {
				e.Terminal.Tell(name, "%v, so this is left until that has ended", held)
				e.left[name] = true
				return journal.ErrHeld
			}
			if err != nil {
				return err
			}
			defer unlock()
		}
		if entry.Deploy != nil {
			err := e.recoverDeploy(ctx, t, entry)
			if err != nil {
				e.stuck[entry.Deploy.Instance.Name] = err
			}
			return err
		}
		return e.recoverOrder(ctx, t, *entry.Order)
	})
	warnings, blocking := journal.Split(err)
	for _, w := range warnings {
		e.Terminal.WarnError(w)
	}
	return e.tolerate(blocking)
}

// mend finishes what was cut short in the store without anything in flight:
// there is no journal of that. What another process works on is its own.
func (e *Engine) mend() error {
	names, err := e.Store.Leftovers()
	errs := []error{err}
	for _, name := range names {
		unlock, err := e.Store.TryLock(store.LineageLock(name), true)
		if err != nil {
			continue
		}
		if _, err := e.Store.Repair(name); err != nil {
			// It is an error of the run only if that is about this lineage.
			e.Terminal.Warn(name, "mend what an earlier run left: %v", err)
		}
		unlock()
	}
	return errors.Join(errs...)
}

// lock takes the lock of a lineage. If another process had it, that may have
// been killed since.
func (e *Engine) lock(ctx context.Context, lineage string) (unlock func(), err error) {
	name := store.LineageLock(lineage)
	unlock, err = e.Store.TryLock(name, true)
	var held *store.HeldError
	if errors.As(err, &held) {
		e.Terminal.Tell(lineage, "%v: waiting until it has ended", held)
		unlock, err = e.Store.Lock(ctx, name, true)
	}
	if err != nil {
		return nil, err
	}
	if held != nil || e.left[lineage] {
		if err := e.recover(ctx, lineage); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// tolerate lets a run go on if something could not be undone: one plugin or one
// CA that is in trouble is no reason to renew nothing elsewhere. It stays in the
// journal and is tried again by the next run.
func (e *Engine) tolerate(err error) error {
	// Each journal has its own errors.
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var blocking []error
		for _, one := range joined.Unwrap() {
			blocking = append(blocking, e.tolerate(one))
		}
		return errors.Join(blocking...)
	}
	var failed *journal.FailedError
	if errors.As(err, &failed) {
		e.Terminal.WarnError(err)
		return nil
	}
	return err
}

// recoverPerform has challenges taken away by an instance with the settings
// that it had then.
func (e *Engine) recoverPerform(ctx context.Context, t *team, p journal.Perform) error {
	instance, err := t.recall(ctx, p.Lineage, p.Instance)
	if err != nil {
		return err
	}
	// Nobody else may be using it: a clean-up may take more than its own away.
	release, err := e.held().Hold(ctx, "recovery of "+p.Instance.Name, guarded(instance.Description(), p.Instance))
	if err != nil {
		return err
	}
	defer release()
	op := sdk.Operation{ID: p.OperationID + "-recover", RunID: e.RunID, Lineage: p.Lineage, Attempt: 1}
	for _, c := range p.Challenges {
		op.Identifiers = append(op.Identifiers, c.Identifier)
	}
	_, err = order.Clean(sdk.WithOperation(ctx, op), e.authenticator(instance), p.Challenges, e.Terminal.Reporter(p.Lineage, p.Instance.Name))
	return err
}

// recoverDeploy puts a target back to what it served. The plan then sees that it
// is behind, and deploys again.
func (e *Engine) recoverDeploy(ctx context.Context, t *team, entry journal.Entry) error {
	d := entry.Deploy
	if _, err := e.Store.Repair(d.Lineage); err != nil {
		return err
	}
	l, err := e.Store.Lineage(d.Lineage)
	deleted := errors.Is(err, fs.ErrNotExist)
	if err != nil && !deleted {
		return err
	}
	unlock, err := e.Store.Lock(ctx, instanceLock(d.Instance.Name), true)
	if err != nil {
		return err
	}
	defer unlock()
	if l.Targets[d.Instance.Name].Deployed > d.To {
		return nil // a later deployment has ended well, which this would take back
	}
	instance, err := t.recall(ctx, d.Lineage, d.Instance)
	if err != nil {
		return err
	}
	release, err := e.held().Hold(ctx, "recovery of "+d.Lineage, guarded(instance.Description(), instance.config))
	if err != nil {
		return err
	}
	defer release()
	refused, err := deploy.Recover(ctx, e.deployDeps(), e.target(instance), deploy.Interrupted{
		Begun: deploy.Begun{
			Lineage: d.Lineage, Identifiers: d.Identifiers, Instance: d.Instance, From: d.From, To: d.To, RunID: d.RunID, Undo: d.Undo,
		},
		Entry: undoing{entry}, Checkpoint: d.Checkpoint, RolledBack: d.RolledBack, Restarting: d.Restarting, Deleted: deleted,
	})
	if err != nil || deleted {
		return err
	}
	before := l.Targets[d.Instance.Name]
	if err := e.takenBack(l, *d, refused); err != nil || d.Undo == "" {
		return err
	}
	e.undone = append(e.undone, model.TakenBack{
		Lineage: d.Lineage, Installer: d.Instance.Name, Checkpoint: before.Checkpoint(d.Undo), Target: l.Targets[d.Instance.Name],
	})
	return nil
}

// takenBack brings the state of a target in step with what was undone: it may
// have been kept just before the run died. Refused is what the target says to
// what it has now.
func (e *Engine) takenBack(l model.Lineage, d journal.Deploy, refused error) error {
	before, known := l.Targets[d.Instance.Name]
	if !known {
		return nil
	}
	after := before.Undone(d.From, d.To, d.Checkpoint)
	if d.Undo != "" {
		after.RolledBack, after.Error, after.Failures, after.Retry = d.To, "", 0, time.Time{}
		if refused != nil {
			after.Error = e.Secrets.Redact(refused.Error())
		}
	}
	if reflect.DeepEqual(before, after) {
		return nil
	}
	l.Targets[d.Instance.Name] = after
	return e.Store.SaveLineage(l)
}

// deployDeps are what all deployments of a run share.
func (e *Engine) deployDeps() deploy.Deps {
	return deploy.Deps{
		Pointers: e.Store, Journal: journalling{Journal: e.Journal}, Story: e.Terminal, RunID: e.RunID, Now: e.Now,
	}
}

// instanceLock is held by a deployment: a roll back takes the newest checkpoint.
func instanceLock(name string) string { return "instance-" + name }

// recall starts an instance as the journal remembers it; one that several
// entries need is started once.
func (t *team) recall(ctx context.Context, lineage string, i model.Instance) (running, error) {
	d, err := t.engine.Plugins.Describe(ctx, i.Plugin)
	if err != nil {
		return running{}, err
	}
	m, err := t.engine.member(ctx, config.Instance{Name: i.Name, Plugin: i.Plugin}, i, d, config.ReadSecret)
	if err != nil {
		return running{}, err
	}
	for _, known := range t.byLineage {
		for _, other := range known {
			if other.key() == m.key() {
				return running{other.instance, other.config}, other.err
			}
		}
	}
	spec := m.spec()
	spec.Key += " to recover" // the run may have it running too
	m.instance, m.err = t.engine.Plugins.Start(ctx, spec)
	key := fmt.Sprintf("%s#%d", lineage, len(t.byLineage))
	t.byLineage[key] = map[string]*member{i.Name: m}
	return running{m.instance, m.config}, m.err
}
