package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// mostRounds is how often the work begins anew because the operator has put
// another VCL to use meanwhile.
const mostRounds = 3

// errMoved: what was found to be in use is not any more.
var errMoved = errors.New("another VCL was put to use meanwhile")

// settle has varnishd answer what is wanted and nothing else of ours. It begins
// with what varnishd itself tells, so it also ends what another process has left.
// Several orders at once need one VCL: who waits finds its work done.
func (v *varnish) settle(ctx context.Context) error {
	if err := v.turn.enter(ctx); err != nil {
		return err
	}
	defer v.turn.leave()
	where, err := v.settings.where()
	if err != nil {
		return err
	}
	c, err := dial(ctx, where, func(what string) { v.at(what) })
	if err != nil {
		return err
	}
	defer c.close()
	for range mostRounds {
		err = errors.Join(c.settle(ctx, &v.wants), c.tidy(ctx))
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	err = sdk.Problemf(sdk.Conflict, "change the VCL of varnishd at %s: %w, %d times", c.address, err, mostRounds)
	return sdk.Hint(err, "try again when nobody changes it")
}

// settle is one round.
func (c *cli) settle(ctx context.Context, wants *wants) error {
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	now, ours := wrapped{original: all.active(), answers: answers{}}, false
	if own(all.active()) {
		if err := c.running(ctx); err != nil {
			return err
		}
		var w wrapped
		if w, err = c.unwrap(ctx, all.active()); err == nil {
			now, ours = w, true
		} else if !errors.Is(err, errNotOurs) {
			return err
		}
	}
	wanted := wants.of(now.answers)
	switch {
	case len(wanted) == 0 && ours:
		return c.restore(ctx, all, now)
	case len(wanted) > 0 && !maps.Equal(wanted, now.answers):
		return c.answer(ctx, all, now, wanted, ours)
	}
	return nil
}

// unwrap gives what is in a VCL that has a name of ours.
func (c *cli) unwrap(ctx context.Context, name string) (wrapped, error) {
	sources, err := c.show(ctx, name)
	if err != nil {
		return wrapped{}, err
	}
	w, err := unwrap(sources[0].text)
	if err != nil {
		err = fmt.Errorf("read the VCL %s: %w", name, err)
	}
	return w, err
}

// use puts a VCL to use, if what was found to be in use still is: the compiler
// takes seconds and probes take longer, and the operator may load another VCL.
func (c *cli) use(ctx context.Context, found programs, name string) error {
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	if active := all.active(); active != found.active() || all.behind(active) != found.behind(active) {
		return errMoved
	}
	_, err = c.do(ctx, "vcl.use", name)
	return err
}

// answer loads a VCL with the answers in front of the original, and uses it.
func (c *cli) answer(ctx context.Context, all programs, now wrapped, wanted answers, ours bool) error {
	if err := c.running(ctx); err != nil {
		return err
	}
	flat := now.flat
	original, ok := all.find(now.original)
	if ok {
		sources, err := c.show(ctx, all.behind(original.Name))
		if err == nil {
			flat, err = flatten(sources)
		}
		if err != nil {
			return sdk.Hint(fmt.Errorf("read the VCL %s: %w", original.Name, err), "report this VCL, and use listen meanwhile")
		}
	}
	source := all.behind(all.active())
	was, err := c.backends(ctx, source)
	if err != nil {
		return err
	}
	health := now.health
	if !ours {
		health = decided(was)
	}
	text, err := wrap(wrapped{original: now.original, answers: wanted, health: health, flat: flat})
	if err != nil {
		return fmt.Errorf("put the answers in front of the VCL %s: %w", now.original, err)
	}
	name := newName()
	if err := c.inline(ctx, name, text); err != nil {
		return sdk.Hint(fmt.Errorf("load the VCL %s with the answers in front: %w", now.original, err), "mend what the compiler says, or use listen")
	}
	// Health is that of the VCL in use, of which this is a copy.
	if err := c.settled(ctx, name, source); err != nil {
		return err
	}
	return c.use(ctx, all, name)
}

// restore uses the original again. If it was discarded it is loaded once more,
// from our copy of its text and under its name.
func (c *cli) restore(ctx context.Context, all programs, now wrapped) error {
	original, ok := all.find(now.original)
	if !ok {
		if err := c.inline(ctx, now.original, now.flat); err != nil {
			return fmt.Errorf("load the VCL %s again, which was discarded while challenges were answered in front of it: %w", now.original, err)
		}
		if err := c.settled(ctx, now.original, all.active()); err != nil {
			return err
		}
	} else {
		if err := c.giveBack(ctx, all, now); err != nil {
			return err
		}
		if original.Temperature == "cold" && original.State == auto {
			// Its probes have rested, and know nothing of late.
			if _, err := c.do(ctx, "vcl.state", original.Name, "warm"); err != nil {
				return err
			}
			defer func() { _, _ = c.do(context.WithoutCancel(ctx), "vcl.state", original.Name, auto) }()
			if err := c.probed(ctx, original.Name, all.active()); err != nil && ctx.Err() != nil {
				return err
			}
		}
	}
	err := c.use(ctx, all, now.original)
	if err != nil && !errors.Is(err, errMoved) {
		return sdk.Hint(fmt.Errorf("use the VCL %s again: %w", now.original, err), "run varnishadm vcl.use %s", now.original)
	}
	return err
}

// tidy discards what is ours and not in use: not by its name alone, which the
// operator may have chosen too. One that is busy goes on to be listed as
// discarded until its last request has ended.
func (c *cli) tidy(ctx context.Context) error {
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range all.idle() {
		if _, err := c.unwrap(ctx, name); err != nil {
			if !errors.Is(err, errNotOurs) {
				errs = append(errs, err)
			}
			continue
		}
		if _, err := c.do(ctx, "vcl.discard", name); err != nil {
			errs = append(errs, sdk.Hint(err, "run varnishadm vcl.discard %s once nothing depends on it", name))
		}
	}
	return errors.Join(errs...)
}

// running says whether the process that answers requests does run.
func (c *cli) running(ctx context.Context) error {
	text, err := c.do(ctx, "status")
	if err == nil && !strings.Contains(text, "running") {
		err = sdk.Problemf(sdk.NotRunning, "varnishd answers no requests: %s", quote(text))
		err = sdk.Hint(err, "start it by: varnishadm start")
	}
	return err
}
