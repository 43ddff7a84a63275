// Package deploy brings a certificate into its targets: stage, save, test, move
// the pointer, restart, prove by a handshake, or put everything back.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Installer is what a running instance can do. What a plugin does not have is
// not called.
type Installer interface {
	sdk.Installer
	sdk.ConfigTester
	sdk.Rollbacker
	sdk.Enhancer
	sdk.Namer
}

// Target is one running installer instance.
type Target struct {
	Config      model.Instance
	Description sdk.Description
	Installer
}

// Pointers are the deployed/<instance>/<lineage> links.
type Pointers interface {
	// Pointer gives the version that it leads to; 0: there is none.
	Pointer(instance, lineage string) (int, error)
	// SetPointer moves it atomically; version 0 removes it.
	SetPointer(instance, lineage string, version int) error
	DeployedPaths(instance, lineage string) model.Paths
}

// Journal records a deployment before it begins.
type Journal interface {
	// Deploying MUST have returned before the target or its pointer is touched.
	Deploying(Begun) (Entry, error)
	// Deployed: all of them ended well. If the process dies meanwhile, all of
	// them did or none.
	Deployed([]Entry) error
}

// Begun is what a run has to know that undoes a deployment after a crash.
type Begun struct {
	Lineage     string
	Identifiers []model.Identifier
	Instance    model.Instance
	// From is the version that the pointer led to, 0: none; To the new one.
	From, To int
	// RunID is in the operations' IDs.
	RunID string
	// Undo is the checkpoint that is taken back on the user's word; empty: it is
	// a deployment.
	Undo string
}

// Entry is a deployment in the journal.
type Entry interface {
	// Saved: Save with a title has finalised a checkpoint.
	Saved(checkpoint string) error
	// Restarting MUST have returned before Restart is called.
	Restarting() error
	// RolledBack: the checkpoint is taken back.
	RolledBack() error
	// Done: it was rolled back, or given up.
	Done() error
}

// Story is what the user is told while it happens.
type Story interface {
	Tell(lineage, format string, args ...any)
	Warn(lineage, format string, args ...any)
	Reporter(lineage, instance string) sdk.Reporter
}

// Deps is what a deployment needs.
type Deps struct {
	Pointers Pointers
	Journal  Journal
	Story    Story
	// Keep makes the state of targets durable that serve what they should, all at
	// once, before the journal forgets how they would be put back. Nil: nobody
	// wants to know.
	Keep func(map[string]model.Target) error
	// Prove shows that an endpoint serves the leaf; nil: Handshake. Warnings are
	// what does not spoil the proof.
	Prove func(ctx context.Context, e model.Endpoint, leafPEM []byte) (warnings []string, err error)
	RunID string
	Now   func() time.Time
}

// Certificate is what is deployed.
type Certificate struct {
	Lineage     string
	Version     int
	Identifiers []model.Identifier
	Issued      model.Issued
	// Paths in live/.
	Paths model.Paths
	// KeyPath is where the key is, if it is not ours; empty: beside the rest.
	KeyPath string
}

// Job is one target of a deployment.
type Job struct {
	Target Target
	Before model.Target
	// Fresh gives the target with a process that is certainly alive, by starting
	// another one if need be. Nil: the one that there is has to do.
	Fresh func(ctx context.Context) (Target, error)
	// Enhance lists the names for which each enhancement is wanted.
	Enhance map[string][]string
}

// Result of one job. The state is to be kept after an error too: then the
// target serves what it served before, or the error says that it does not.
type Result struct {
	State model.Target
	Err   error
}

// Run deploys to the targets of all jobs, or to none of them: whatever fails at
// one is undone at all. They MUST not be in each other's way.
func Run(ctx context.Context, d Deps, c Certificate, jobs ...Job) []Result {
	works := make([]*work, len(jobs))
	for i, job := range jobs {
		works[i] = &work{Deps: d, target: job.Target, fresh: job.Fresh, before: job.Before, enhance: job.Enhance, cert: c, run: d.RunID}
	}
	errs := transact(ctx, d, works)
	results := make([]Result, len(works))
	for i, w := range works {
		results[i] = Result{State: w.after(errs[i]), Err: errs[i]}
	}
	return results
}

// phases of a deployment: nothing is restarted before all targets have passed
// their tests, with the new certificate too.
var phases = []func(*work, context.Context) error{(*work).write, (*work).point, (*work).restart, (*work).prove}

// transact gives one error for each target; all of them nil, or none.
func transact(ctx context.Context, d Deps, works []*work) []error {
	errs := each(works, (*work).begin)
	for _, phase := range phases {
		if errors.Join(errs...) != nil {
			break
		}
		errs = each(works, func(w *work) error {
			if err := phase(w, ctx); err != nil {
				return fmt.Errorf("deploy to %s: %w", w.name(), err)
			}
			return nil
		})
	}
	if errors.Join(errs...) == nil {
		err := commit(d, works)
		if err == nil {
			return errs
		}
		for i := range errs {
			errs[i] = err
		}
	}
	return giveUp(ctx, works, errs)
}

// commit is the end: all is well.
func commit(d Deps, works []*work) error {
	after := map[string]model.Target{}
	entries := make([]Entry, 0, len(works))
	for _, w := range works {
		after[w.name()] = w.after(nil)
		entries = append(entries, w.entry)
	}
	if d.Keep != nil {
		if err := d.Keep(after); err != nil {
			return fmt.Errorf("keep what is deployed: %w", err)
		}
	}
	return d.Journal.Deployed(entries)
}

// giveUp puts back all that was begun, and completes the errors.
func giveUp(ctx context.Context, works []*work, errs []error) []error {
	var guilty []string
	for i, w := range works {
		if errs[i] != nil {
			guilty = append(guilty, w.name())
		}
	}
	undone := each(works, func(w *work) error {
		if w.entry == nil {
			return nil
		}
		if w.written || w.restarted {
			w.Story.Warn(w.cert.Lineage, "putting %s back to what it served before", w.name())
		}
		if err := w.back(context.WithoutCancel(ctx)); err != nil {
			// What is left has to be mended, so the journal keeps it.
			return fmt.Errorf("put %s back to what it served before: %w", w.name(), err)
		}
		return w.entry.Done()
	})
	for i, w := range works {
		if errs[i] == nil {
			errs[i] = fmt.Errorf("deploy to %s: taken back, because %s failed and all or nothing is wanted", w.name(), strings.Join(guilty, ", "))
		}
		errs[i] = both(errs[i], undone[i])
	}
	return errs
}

// both gives what there is of two errors, and a single one as it is.
func both(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return errors.Join(a, b)
}

// each does it for all at once. A mistake of this program is the failure of one.
func each(works []*work, do func(*work) error) []error {
	errs := make([]error, len(works))
	var all sync.WaitGroup
	for i, w := range works {
		all.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					errs[i] = fmt.Errorf("this is a mistake in certwright, please report it: %v\n%s", v, debug.Stack())
				}
			}()
			errs[i] = do(w)
		})
	}
	all.Wait()
	return errs
}
