package order

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/model"
)

// deadline bounds one order, whatever the CA and the plugins do.
const deadline = 30 * time.Minute

// fetches is how many authorizations of an order are asked for at once.
const fetches = 16

// Obtain gets a certificate for the request. If a name fails and its rule names
// another instance, that one is tried in a new order: one with a failed
// authorization is dead (RFC 8555 section 7.1.6).
func Obtain(ctx context.Context, d Deps, r model.Request) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, deadline,
		fmt.Errorf("the order of %s did not come to an end within %s", r.Name, deadline))
	defer cancel()
	tried := map[model.Identifier][]string{}
	for {
		result, err := attempt(ctx, d, r, tried)
		d.Resume = ""
		var failed *FailedError
		if err == nil || ctx.Err() != nil || !errors.As(err, &failed) || !nextCandidates(r, failed, tried) {
			return result, err
		}
		d.Story.Warn(r.Name, "%v", err)
		d.Story.Tell(r.Name, "trying the next instance of %s in a new order", strings.Join(failedNames(failed), ", "))
	}
}

// nextCandidates notes what failed and says whether every failed name has an
// instance left to try.
func nextCandidates(r model.Request, failed *FailedError, tried map[model.Identifier][]string) bool {
	for _, f := range failed.Failures {
		if f.Instance == "" {
			return false
		}
		tried[f.Identifier] = append(tried[f.Identifier], f.Instance)
		if len(candidates(r, f.Identifier, tried)) == 0 {
			return false
		}
	}
	return len(failed.Failures) > 0
}

func candidates(r model.Request, id model.Identifier, tried map[model.Identifier][]string) []string {
	return slices.DeleteFunc(slices.Clone(r.With(id)), func(name string) bool {
		return slices.Contains(tried[id], name)
	})
}

func failedNames(e *FailedError) []string {
	var out []string
	for _, f := range e.Failures {
		out = append(out, f.Identifier.String())
	}
	return out
}

// attempt is one order from beginning to end.
func attempt(ctx context.Context, d Deps, r model.Request, tried map[model.Identifier][]string) (result Result, err error) {
	o, err := begin(ctx, d, r)
	if err != nil {
		return result, err
	}
	id := ID(o.URL)
	done, err := d.Journal.Ordering(r, o)
	if err != nil {
		return result, fmt.Errorf("journal the order: %w", err)
	}
	defer func() {
		if err != nil && !unfinished(err) {
			err = errors.Join(err, d.Keys.DropOrder(r.Name, id), done())
		}
	}()
	// An RSA key takes a while: it is made while the names are proven.
	var key crypto.Signer
	making := errgroup.Group{}
	making.Go(func() (err error) {
		key, err = d.Keys.NewKey(r.Name, id, r.KeyType)
		return err
	})
	proven := prove(ctx, d, r, o, tried)
	made := making.Wait()
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	if err := errors.Join(proven, made); err != nil {
		return result, err
	}
	issued, err := finalize(ctx, d.CA, r, o, key)
	if err != nil {
		return result, err
	}
	return Result{OrderID: id, Issued: issued, Done: done}, nil
}

// begin makes an order, or takes up the one that an earlier run began.
func begin(ctx context.Context, d Deps, r model.Request) (model.Order, error) {
	if d.Resume != "" {
		o, err := d.CA.Order(ctx, d.Resume)
		if err == nil && o.Status != model.StatusInvalid && model.SameNames(o.Identifiers, r.Identifiers) {
			d.Story.Tell(r.Name, "going on with the order of an interrupted run")
			return o, nil
		}
		if err := d.Keys.DropOrder(r.Name, ID(d.Resume)); err != nil {
			return o, fmt.Errorf("forget the order of an interrupted run: %w", err)
		}
	}
	o, err := d.CA.NewOrder(ctx, r.Identifiers)
	if err != nil {
		return o, fmt.Errorf("order a certificate for %s: %w", strings.Join(r.Names(), ", "), err)
	}
	return o, nil
}

// prove brings every authorization of the order to valid.
func prove(ctx context.Context, d Deps, r model.Request, o model.Order, tried map[model.Identifier][]string) error {
	auths := make([]model.Authorization, len(o.Authorizations))
	group, fetching := errgroup.WithContext(ctx)
	group.SetLimit(fetches)
	for i, url := range o.Authorizations {
		group.Go(func() (err error) {
			if auths[i], err = d.CA.Authorization(fetching, url); err != nil {
				return fmt.Errorf("fetch an authorization: %w", err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	pending := slices.DeleteFunc(auths, func(a model.Authorization) bool { return a.Status == model.StatusValid })
	if len(pending) == 0 {
		return nil
	}
	h := &handler{Deps: d, request: r, order: o, tried: tried}
	chosen, err := h.choose(ctx, pending)
	if err != nil {
		return err
	}
	return h.answer(ctx, chosen)
}
