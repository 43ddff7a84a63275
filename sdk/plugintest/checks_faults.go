package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// faultChecks let the world fail while the plugin works. They concern whoever
// reaches his provider through the world.
func faultChecks() []check {
	through := func(run func(context.Context, *bench, string) error) func(context.Context, *bench) error {
		return func(ctx context.Context, b *bench) error {
			types := b.types()
			if len(types) == 0 {
				return notApplicable("the plugin answers no challenge that the suite knows")
			}
			if err := b.unreachable(); err != nil {
				return err
			}
			// The first type of which a request comes by stands for all.
			var err error
			for _, t := range types {
				err = run(ctx, b, t)
				not, after := unseen(""), untried("")
				if !errors.As(err, &not) && !errors.As(err, &after) {
					return err
				}
			}
			return err
		}
	}
	again := func(kind faultKind, requests int, changes bool) func(context.Context, *bench) error {
		return through(func(ctx context.Context, b *bench, t string) error {
			return outlasts(ctx, b, t, kind, requests, changes)
		})
	}
	return []check{
		{"faults/slow", "an answer that takes a while is waited for", again(slow, -1, false)},
		{"faults/rate-limit", "a server that says 429 is asked again later: by the plugin, or by the host, to whom it says retryable and when", through(limits)},
		{"faults/unavailable", "a server that fails for a while is a failure that is not permanent, and the next try succeeds", again(unavailable, 2, false)},
		{"faults/cut-off", "a connection that ends without an answer is a failure that is not permanent, and the next try succeeds", again(cutOff, 2, false)},
		{"faults/lost-answer", "a change that was made but never acknowledged is made once, and is cleaned up", again(lostAnswer, 1, true)},
		{"faults/cleanup", "a Cleanup that could not remove the response does not say that it is gone", through(admitsFailure)},
		{"faults/deploy", "a deployment whose server fails for a while is a failure that is not permanent, and is done by the next try after a Rollback", deploysAgain},
		{"faults/no-place", "a response that cannot be written is a problem, and nothing is reported as in place", cannotWrite},
		{"faults/cancel", "a Perform that waits for its server ends within 5 s of a cancel, and Cleanup works after it", through(cancelsHeld)},
		{"faults/killed", "what a process killed in the middle of Perform has put in place is removed by another, from the challenge alone", through(killedInside)},
	}
}

func limits(ctx context.Context, b *bench, t string) error {
	if !b.world.used[placeWeb] && !b.world.used["via"] {
		return notApplicable("a name server has no answer 429")
	}
	return outlasts(ctx, b, t, limited, 2, false)
}

// unreachable is why the plugin cannot be made to fail.
func (b *bench) unreachable() error {
	perms := b.description.Permissions
	switch {
	case b.world.reachable():
		return nil
	case len(perms.ConnectTCP) == 0 && !perms.UDP && !perms.Unconfined:
		return notApplicable("the plugin declares that it connects to nothing, so there is no server that could fail it")
	}
	return unseen("nothing that the plugin does comes through the suite's world: " +
		"put {dns}, {web} or {via http://HOST:PORT} into the setting that names its server")
}

// noneCame says that a fault was met by nobody.
const noneCame = "no request of Perform came through the suite's world: let the setting that names the server lead there"

// outlasts performs, as a host does again and again, in a world that fails for
// some requests; then it looks and cleans up.
func outlasts(ctx context.Context, b *bench, t string, kind faultKind, requests int, changes bool) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	defer b.tidy(ctx, p, batch)
	met := b.world.faults.set(kind, requests, changes)
	same := operation(ctx, "through-"+string(kind))
	if err := b.persist(same, p, batch, kind); err != nil {
		return err
	}
	if !closed(met) {
		return unseen(noneCame)
	}
	if err := b.expect(ctx, batch, 1, "see what is there before you add it, and say of nothing that it is in place before the server has said so"); err != nil {
		return fmt.Errorf("in a world that is %s: %w", kind, err)
	}
	if kind != slow {
		b.world.faults.clear()
	}
	if err := b.cleanup(operation(ctx, "cleanup"), p, batch); err != nil {
		return err
	}
	return b.expect(ctx, batch, 0, adviceGone)
}

// tries is how often a host would try; no fault lasts as long.
const tries = 8

// persist performs until it succeeds; what fails must leave hope.
func (b *bench) persist(ctx context.Context, p *process, batch []sdk.Challenge, kind faultKind) error {
	var last error
	for range tries {
		r, err := b.perform(ctx, p, batch)
		if err == nil {
			return nil
		}
		last = err
		problem, err := hopeful(r, err, kind)
		if err != nil {
			return fmt.Errorf("in a world that is %s: %w", kind, err)
		}
		timer := time.NewTimer(min(problem.After, 2*time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("in a world that was %s and is well again, Perform failed %d times: %w", kind, tries, last)
}

// hopeful gives the problem of a failed Perform, if it tells the host to try
// again.
func hopeful(r *record, err error, kind faultKind) (*sdk.Problem, error) {
	if broken := (*client.BrokenError)(nil); errors.As(err, &broken) {
		return nil, fmt.Errorf("%w\na server that fails is no broken call: report a Problem", err)
	}
	failed := err
	for _, result := range r.all() {
		if result.Err != nil {
			failed = result.Err
		}
	}
	var problem *sdk.Problem
	switch {
	case !errors.As(failed, &problem):
		return nil, failed
	case problem.Retry == sdk.RetryNever:
		return nil, fmt.Errorf("%w\nit is reported as permanent; a later try succeeds, so say retryable", failed)
	case kind == limited && (problem.Retry != sdk.RetryLater || problem.After <= 0):
		return nil, fmt.Errorf("%w\nit is not reported as retryable with a time: give the Retry-After of the answer as retry_after", failed)
	}
	return problem, nil
}

// admitsFailure cleans up in a world that fails. A plugin that tries for long is
// helped after a while, and has to succeed then.
func admitsFailure(ctx context.Context, b *bench, t string) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	defer b.tidy(ctx, p, batch)
	if _, err := b.perform(operation(ctx, "perform"), p, batch); err != nil {
		return err
	}
	met := b.world.faults.set(unavailable, -1, false)
	help := time.AfterFunc(5*time.Second, b.world.faults.clear)
	err = b.cleanup(operation(ctx, "cleanup-in-vain"), p, batch)
	help.Stop()
	b.world.faults.clear()
	if !closed(met) {
		return unseen("no request of Cleanup came through the suite's world")
	}
	if err == nil {
		if err := b.expect(ctx, batch, 0, "report a problem when the server refuses, so that the host tries again"); err != nil {
			return fmt.Errorf("Cleanup said done while its server was unavailable: %w", err)
		}
	}
	if broken := (*client.BrokenError)(nil); errors.As(err, &broken) {
		return fmt.Errorf("Cleanup while its server was unavailable: %w\na server that fails is no broken call: report a Problem", err)
	}
	if err := b.cleanup(operation(ctx, "cleanup"), p, batch); err != nil {
		return fmt.Errorf("once the server was well again: %w", err)
	}
	return b.expect(ctx, batch, 0, adviceGone)
}

// cancelsHeld cancels a Perform whose request is surely on its way.
func cancelsHeld(ctx context.Context, b *bench, t string) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	ended, cancel, err := b.meetInside(ctx, p, batch, held)
	if err != nil {
		return err
	}
	cancel()
	<-ended
	abandoned, err := p.Drain(ctx, 5*time.Second)
	if err != nil {
		return fmt.Errorf("Drain after a cancelled Perform: %w", err)
	}
	if len(abandoned) > 0 {
		return fmt.Errorf("Perform still waits for its server 5 s after it was cancelled (Drain names %q); "+
			"give the call's context to every request", abandoned)
	}
	b.world.faults.clear()
	if err := b.cleanup(operation(ctx, "cleanup"), p, batch); err != nil {
		return fmt.Errorf("after a cancelled Perform: %w", err)
	}
	return b.expect(ctx, batch, 0, adviceGone)
}

// killedInside kills the plugin when its server has done what it was asked for
// and the plugin does not know it yet.
func killedInside(ctx context.Context, b *bench, t string) error {
	dir, err := b.stateDir()
	if err != nil {
		return err
	}
	batch, err := b.challenges(t, "a")
	if err != nil {
		return err
	}
	p, err := b.instance(ctx, dir)
	if err != nil {
		return err
	}
	ended, cancel, err := b.meetInside(ctx, p, batch, doneAndHeld)
	if err != nil {
		return err
	}
	p.kill()
	cancel()
	<-ended
	b.world.faults.clear()
	second, err := b.instance(ctx, dir)
	if err != nil {
		return fmt.Errorf("in a new process with the state directory of the first: %w", err)
	}
	if err := b.cleanup(operation(ctx, "cleanup"), second, batch); err != nil {
		return fmt.Errorf("in a new process, after the first was killed in the middle of Perform: %w", err)
	}
	return b.expect(ctx, batch, 0, "take the name and value to remove from the challenge; what was kept in memory is lost")
}

// deploysAgain deploys, and rolls back what failed, as a host does.
func deploysAgain(ctx context.Context, b *bench) error {
	if !slices.Contains(b.description.Roles, sdk.RoleInstaller) {
		return notApplicable("the plugin is no installer")
	}
	if err := b.unreachable(); err != nil {
		return err
	}
	before, err := snapshot(b.DeployedFiles)
	if err != nil {
		return err
	}
	return errors.Join(deploysThrough(ctx, b), before.restore())
}

func deploysThrough(ctx context.Context, b *bench) error {
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	l, err := b.lineage()
	if err != nil {
		return err
	}
	met := b.world.faults.set(unavailable, 2, false)
	ctx = operation(ctx, "through-a-failure")
	for range tries {
		err = b.deployAll(ctx, p, l, false)
		if err == nil {
			err = b.finish(ctx, p)
		}
		if !closed(met) && err == nil {
			return unseen("no request of a deployment came through the suite's world")
		}
		if err == nil {
			return l.inFiles(b.DeployedFiles)
		}
		if _, err := hopeful(b.record(), err, unavailable); err != nil {
			return fmt.Errorf("in a world that is %s: %w", unavailable, err)
		}
		if slices.Contains(b.description.Features, sdk.FeatureRollback) {
			if err := p.Installer().Rollback(ctx, 1, b.record()); err != nil {
				if _, err := hopeful(b.record(), err, unavailable); err != nil {
					return fmt.Errorf("Rollback of what failed: %w", err)
				}
			}
		}
	}
	return fmt.Errorf("in a world that was %s and is well again, the deployment failed %d times: %w", unavailable, tries, err)
}

// meetInside performs until the first request that changes something meets the
// fault. The channel closes when the call has ended.
func (b *bench) meetInside(ctx context.Context, p *process, batch []sdk.Challenge, kind faultKind) (<-chan struct{}, context.CancelFunc, error) {
	if err := b.possible(batch[0].Type); err != nil {
		return nil, nil, err
	}
	met := b.world.faults.set(kind, -1, true)
	performing, cancel := context.WithCancel(operation(ctx, "to-be-ended"))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.Authenticator().Perform(performing, batch, b.record())
	}()
	select {
	case <-met:
		return ended, cancel, nil
	case <-ended:
		cancel()
		return nil, nil, unseen(noneCame)
	}
}
