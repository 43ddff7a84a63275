package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/certwright/certwright/sdk"
)

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
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	active := all.active()
	now := wrapped{original: active, answers: answers{}}
	if own(active) {
		if now, err = c.unwrap(ctx, active); err != nil {
			return err
		}
	}
	wanted := v.wants.of(now.answers)
	switch {
	case len(wanted) == 0 && own(active):
		err = c.restore(ctx, all, now)
	case len(wanted) > 0 && !maps.Equal(wanted, now.answers):
		err = c.answer(ctx, all, now, wanted)
	}
	return errors.Join(err, c.tidy(ctx))
}

func (c *cli) unwrap(ctx context.Context, name string) (wrapped, error) {
	sources, err := c.show(ctx, name)
	if err != nil {
		return wrapped{}, err
	}
	w, err := unwrap(sources[0].text)
	if err != nil {
		err = sdk.Problemf(sdk.Conflict, "the active VCL has the name of one of ours, %s, and is none: %w", name, err)
		return w, sdk.Hint(err, "load your VCL under a name that does not begin with %s", ownPrefix)
	}
	return w, nil
}

// answer loads a VCL with the answers in front of the original, and uses it.
func (c *cli) answer(ctx context.Context, all programs, now wrapped, wanted answers) error {
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
	text, err := wrap(now.original, flat, wanted)
	if err != nil {
		return fmt.Errorf("put the answers in front of the VCL %s: %w", now.original, err)
	}
	name := newName()
	if err := c.inline(ctx, name, text); err != nil {
		return sdk.Hint(fmt.Errorf("load the VCL %s with the answers in front: %w", now.original, err), "mend what the compiler says, or use listen")
	}
	// Health is that of the VCL in use, of which this is a copy.
	source := all.active()
	if err := c.settled(ctx, name, all.behind(source)); err != nil {
		return err
	}
	if _, err := c.do(ctx, "vcl.use", name); err != nil {
		return err
	}
	return nil
}

// restore uses the original again. If it was discarded it is loaded once more,
// from our copy of its text and under its name.
func (c *cli) restore(ctx context.Context, all programs, now wrapped) error {
	if _, ok := all.find(now.original); !ok {
		if err := c.inline(ctx, now.original, now.flat); err != nil {
			return fmt.Errorf("load the VCL %s again, which was discarded while challenges were answered in front of it: %w", now.original, err)
		}
		if err := c.settled(ctx, now.original, all.active()); err != nil {
			return err
		}
	}
	_, err := c.do(ctx, "vcl.use", now.original)
	if err != nil {
		return sdk.Hint(fmt.Errorf("use the VCL %s again: %w", now.original, err), "run varnishadm vcl.use %s", now.original)
	}
	return nil
}

// tidy discards what is ours and not in use. One that is busy goes on to be
// listed as discarded until its last request has ended.
func (c *cli) tidy(ctx context.Context) error {
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range all.idle() {
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
