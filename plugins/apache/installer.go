package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// Deploy stages a certificate for one name.
func (a *apache) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	if _, err := netip.ParseAddr(d.Name); err == nil {
		p := sdk.Problemf(sdk.Unsupported, "a certificate for the address %s is not deployed to httpd", d.Name)
		p.Hint = "httpd chooses a certificate by name; put it into the default virtual host by hand, from " + d.ConfigPaths.Fullchain
		return sdk.Permanent(p)
	}
	i := intent{name: strings.ToLower(d.Name), paths: d.ConfigPaths}
	if d.DryRun {
		// With DryRun there is nothing at ConfigPaths yet.
		return a.stage(ctx, &i, r, func(e effect, ws *workspace) error {
			diff, err := ws.diff()
			r.Result(sdk.Result{Subject: d.Name, Changed: diff != "", Diff: diff, Endpoints: e.endpoints})
			return err
		})
	}
	return a.stage(ctx, &i, r, func(e effect, ws *workspace) error {
		changed, err := ws.changed()
		if err != nil {
			return err
		}
		if err := a.keep(ctx, i); err != nil {
			return err
		}
		r.Result(sdk.Result{Subject: d.Name, Changed: changed, Endpoints: e.endpoints})
		return nil
	})
}

// Enhance stages a redirect or HSTS for a name.
func (a *apache) Enhance(ctx context.Context, name, enhancement string, r sdk.Reporter) error {
	i := intent{name: strings.ToLower(name), enhancement: enhancement}
	return a.stage(ctx, &i, r, func(e effect, _ *workspace) error {
		if e.note != "" {
			r.Progress(name, e.note)
		}
		return a.keep(ctx, i)
	})
}

// stage works out what an intent comes to, on top of those that are staged for
// the certificate already, without writing anything.
func (a *apache) stage(ctx context.Context, i *intent, r sdk.Reporter, then func(effect, *workspace) error) error {
	leave, err := a.desk.sit(ctx, lineage(ctx))
	if err != nil {
		return err
	}
	defer leave()
	if err := a.edits.Unrecovered(ctx); err != nil {
		r.Progress("", fmt.Sprintf("an interrupted deployment is not undone yet: %v", err))
	}
	facts, err := a.facts(ctx)
	if err != nil {
		return err
	}
	ws := newWorkspace(a.posed.base)
	staged, err := a.staged(ctx)
	if err != nil {
		return err
	}
	for _, before := range staged {
		if before.same(*i) {
			continue
		}
		if _, err := a.apply(ctx, ws, facts, &before, r); err != nil {
			return err
		}
	}
	e, err := a.apply(ctx, ws, facts, i, r)
	if err != nil {
		return err
	}
	if err := free(e.listens); err != nil {
		return err
	}
	return then(e, ws)
}

// staged is what the certificate's transaction has already; looking begins none.
func (a *apache) staged(ctx context.Context) ([]intent, error) {
	var out []intent
	looked := errors.New("looked")
	err := a.edits.Stage(ctx, func(s *[]intent) error {
		out = slices.Clone(*s)
		return looked
	})
	if errors.Is(err, looked) {
		err = nil
	}
	return out, err
}

// keep stages an intent, in place of an earlier one for the same.
func (a *apache) keep(ctx context.Context, i intent) error {
	return a.edits.Stage(ctx, func(s *[]intent) error {
		*s = append(slices.DeleteFunc(*s, i.same), i)
		return nil
	})
}

// Save writes what is staged.
func (a *apache) Save(ctx context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	if req.Temporary {
		return sdk.Checkpoint{}, nil // challenges have checkpoints of their own
	}
	leave, err := a.desk.sit(ctx, lineage(ctx))
	if err != nil {
		return sdk.Checkpoint{}, err
	}
	defer leave()
	c, err := a.edits.Save(ctx, req, func(ctx context.Context, staged *[]intent, begin func() (*checkpoint.Draft, error)) error {
		return a.write(ctx, *staged, r, func() (*checkpoint.Draft, error) {
			a.desk.write(lineage(ctx), true)
			return begin()
		})
	})
	if err != nil || req.Title != "" {
		a.desk.write("", false)
		if again := a.repose(ctx); again != nil {
			r.Progress("", fmt.Sprintf("challenges that are under way could not be put back: %v", again))
		}
	}
	return c, explained(err)
}

func (a *apache) write(ctx context.Context, staged []intent, r sdk.Reporter, begin func() (*checkpoint.Draft, error)) error {
	if len(staged) == 0 {
		return nil
	}
	facts, err := a.facts(ctx)
	if err != nil {
		return err
	}
	ws := newWorkspace(a.posed.base)
	for _, i := range staged {
		if _, err := a.apply(ctx, ws, facts, &i, r); err != nil {
			return err
		}
	}
	changed, err := ws.changed()
	if err != nil || !changed {
		return err
	}
	// The files of challenges are as they were until this is written.
	if err := a.lift(ctx); err != nil {
		return err
	}
	ws.base = nil
	paths, err := ws.write(ctx, begin)
	for _, path := range paths {
		r.Progress("", "wrote "+path)
	}
	return err
}

// explained says what to do about a file that cannot be written.
func explained(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "run certwright as a user that may write the configuration of httpd, mostly root")
	case errors.Is(err, checkpoint.ErrHeld):
		return sdk.Hint(sdk.WithCode(err, sdk.Conflict), "let the other run of certwright come to its end, and run this one again")
	}
	return err
}

// ConfigTest has httpd read its configuration, and looks at what it would only
// look at when it is told to reload.
func (a *apache) ConfigTest(ctx context.Context, _ sdk.Reporter) error {
	leave, err := a.desk.sit(ctx, lineage(ctx))
	if err != nil {
		return err
	}
	defer leave()
	return a.tested(ctx)
}

func (a *apache) tested(ctx context.Context) error {
	if err := a.settings.test(ctx); err != nil {
		return err
	}
	c, err := a.read(ctx)
	if err != nil {
		return err
	}
	return c.pairs()
}

// Restart reloads the server, if it takes its configuration.
func (a *apache) Restart(ctx context.Context, r sdk.Reporter) error {
	leave, err := a.desk.sit(ctx, lineage(ctx))
	if err != nil {
		return err
	}
	defer leave()
	if err := a.tested(ctx); err != nil {
		return err
	}
	f, err := a.facts(ctx)
	if err != nil {
		return err
	}
	a.stepped("restart: reload")
	err = a.reload(ctx, f, r)
	a.stepped("restart: reloaded")
	return err
}

// Rollback puts back what was written.
func (a *apache) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	who := lineage(ctx)
	if who == "" {
		who = a.desk.whoever()
	}
	leave, err := a.desk.sit(ctx, who)
	if err != nil {
		return err
	}
	defer leave()
	if err := a.lift(ctx); err != nil {
		return err
	}
	err = a.edits.Rollback(ctx, count, r)
	a.desk.write("", false)
	return explained(errors.Join(err, a.repose(ctx)))
}
