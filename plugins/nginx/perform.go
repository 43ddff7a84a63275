package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

func isIP(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// Perform has nginx answer the challenges, and sees that it does.
func (n *nginx) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	wanted := map[string]answer{}
	for _, c := range challenges {
		a, err := answerOf(c)
		if err != nil {
			r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)})
			continue
		}
		wanted[c.ID] = a
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := n.quiet(ctx); err != nil {
		return err
	}
	defer n.turn.leave()
	c, err := n.answerAll(ctx, wanted, r)
	if err != nil {
		return err
	}
	for _, ch := range challenges {
		a, ok := wanted[ch.ID]
		if !ok {
			continue
		}
		err := a.seen(ctx, c, n.settings.ports())
		if ctx.Err() != nil {
			n.giveUp(ctx, wanted)
			return ctx.Err()
		}
		r.Result(sdk.Result{Subject: ch.ID, Err: sdk.Subject(err, ch.ID)})
	}
	return nil
}

// answerAll has nginx answer what it does not yet.
func (n *nginx) answerAll(ctx context.Context, wanted map[string]answer, r sdk.Reporter) (*configuration, error) {
	fresh := map[string]answer{}
	for id, a := range wanted {
		if !n.outstanding[a] {
			fresh[id] = a
		}
	}
	c, err := n.read(ctx)
	if err != nil {
		return nil, err
	}
	if len(fresh) == 0 {
		return n.laid(ctx)
	}
	for _, text := range c.warnings {
		r.Progress("", text)
	}
	if err := n.program.test(ctx); err != nil {
		return nil, fmt.Errorf("nothing was changed: %w", err)
	}
	master, err := n.program.master(c)
	if err == nil && master == 0 {
		err = n.program.start(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := n.edits.Store().Note(keys(fresh)...); err != nil {
		return nil, err
	}
	for _, a := range fresh {
		n.outstanding[a] = true
	}
	err = n.lay(ctx)
	if err == nil {
		err = n.live(ctx)
	}
	if err != nil {
		n.giveUp(ctx, fresh)
		return nil, fmt.Errorf("have nginx answer the challenges: %w", err)
	}
	return n.laid(ctx)
}

// laid gives the configuration as it is on disk, with the challenges.
func (n *nginx) laid(ctx context.Context) (*configuration, error) {
	return load(ctx, n.settings.Config, nil)
}

// live has nginx read what is on disk.
func (n *nginx) live(ctx context.Context) error {
	if err := n.program.test(ctx); err != nil {
		return err
	}
	c, err := n.laid(ctx)
	if err != nil {
		return err
	}
	n.at("challenges: reload")
	if err := n.program.reload(ctx, c); err != nil {
		return err
	}
	n.at("challenges: reloaded")
	return nil
}

// cancelLimit is what a cancelled call may still take to clean up.
const cancelLimit = 4 * time.Second

// giveUp takes challenges away that cannot be answered, also if the call was
// cancelled. What fails here is done by Cleanup or by the next start.
func (n *nginx) giveUp(ctx context.Context, given map[string]answer) {
	for _, a := range given {
		delete(n.outstanding, a)
	}
	limit := undoLimit
	if ctx.Err() != nil {
		limit = cancelLimit
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if n.lay(ctx) == nil && n.live(ctx) == nil {
		_ = n.edits.Store().Forget(keys(given)...)
	}
}

// keys are what the challenges are noted by.
func keys(given map[string]answer) []string {
	out := make([]string, 0, len(given))
	for _, a := range given {
		out = append(out, a.String())
	}
	return out
}

// lay makes the files on disk answer the outstanding challenges, all of them in
// one temporary checkpoint.
func (n *nginx) lay(ctx context.Context) error {
	if err := n.lift(ctx); err != nil || len(n.outstanding) == 0 {
		return err
	}
	answers := make([]answer, 0, len(n.outstanding))
	for a := range n.outstanding {
		answers = append(answers, a)
	}
	slices.SortFunc(answers, func(a, b answer) int { return strings.Compare(a.host+" "+a.token, b.host+" "+b.token) })
	const most = 10
	for range most {
		c, err := n.read(ctx)
		if err != nil {
			return err
		}
		if err := c.challenge(answers, n.settings.ports()); err != nil {
			return err
		}
		if n.draft == nil {
			if n.draft, err = n.edits.Store().BeginTemporary(ctx, "challenges"); err != nil {
				return err
			}
		}
		written, err := n.write(ctx, n.draft, c)
		if err != nil {
			return errors.Join(err, n.lift(ctx))
		}
		if written {
			n.base = map[string][]byte{}
			for _, f := range c.changes() {
				n.base[f.real] = []byte(f.src)
			}
			return nil
		}
	}
	return errors.Join(sdk.Problemf(sdk.Conflict, "the configuration of nginx is being changed by somebody else all the time"), n.lift(ctx))
}

// lift takes the challenges out of the files. nginx answers them until its next
// reload.
func (n *nginx) lift(ctx context.Context) error {
	if n.draft == nil {
		return nil
	}
	ctx, cancel := undoing(ctx)
	defer cancel()
	err := n.draft.Discard(ctx)
	if errors.Is(err, checkpoint.ErrClosed) {
		err = nil
	}
	n.draft, n.base = nil, nil
	return err
}

// relay puts outstanding challenges on disk again. They are answered from memory
// until the next reload, so that a failure is no more than told.
func (n *nginx) relay(ctx context.Context, r sdk.Reporter) {
	if n.draft != nil || len(n.outstanding) == 0 {
		return
	}
	ctx, cancel := undoing(ctx)
	defer cancel()
	err := n.lay(ctx)
	if err == nil {
		err = n.program.test(ctx)
	}
	if err != nil {
		r.Progress("", fmt.Sprintf("outstanding challenges could not be put into the configuration again: %v", errors.Join(err, n.lift(ctx))))
	}
}

// Cleanup takes the challenges away. In a process that did not put them there,
// the files are mended already, and only the server may still answer. Those that
// no process has noted were never put in place, or are gone already: for them
// neither the configuration nor the server is needed.
func (n *nginx) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	var mine, others []answer
	placed := map[string]answer{}
	if err := n.quiet(ctx); err != nil {
		return err
	}
	defer n.turn.leave()
	for _, c := range challenges {
		a, err := answerOf(c)
		switch {
		case err != nil: // was never performed
			continue
		case n.outstanding[a]:
			mine = append(mine, a)
		case n.edits.Store().Noted(a.String()):
			others = append(others, a)
		default:
			continue
		}
		placed[c.ID] = a
	}
	if len(placed) > 0 {
		err := n.clean(ctx, mine, others)
		if err == nil {
			err = n.edits.Store().Forget(keys(placed)...)
		}
		if err != nil {
			return fmt.Errorf("take the challenges out of nginx: %w", err)
		}
	}
	for _, c := range challenges {
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

func (n *nginx) clean(ctx context.Context, mine, others []answer) error {
	if len(mine) > 0 {
		for _, a := range mine {
			delete(n.outstanding, a)
		}
		if err := n.lay(ctx); err != nil {
			return err
		}
	}
	c, err := n.read(ctx)
	if err != nil {
		return err
	}
	master, err := n.program.master(c)
	if err != nil || master == 0 {
		return err // one that does not run answers nothing
	}
	if len(mine) == 0 && !slices.ContainsFunc(others, func(a answer) bool { return a.answered(ctx, c, n.settings.ports()) }) {
		return nil
	}
	return n.live(ctx)
}
