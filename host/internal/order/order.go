package order

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/model"
)

// fetches is how many authorizations of an order are asked for at once.
const fetches = 16

// Obtain gets a certificate for the request. If a name fails and its rule names
// another instance, that one is tried in a new order: one with a failed
// authorization is dead (RFC 8555 section 7.1.6). If the request allows it,
// names that cannot be proven at all are left out of a further order. An order of
// an interrupted run that fails is followed by one of this run.
func Obtain(ctx context.Context, d Deps, r model.Request) (Result, error) {
	ctx, clock, stop := withClock(ctx, deadline, fmt.Errorf("the order of %s did not come to an end within %s", r.Name, deadline))
	defer stop()
	d.Story = patient{d.Story, clock}
	ids := r.Identifiers
	tried := map[model.Identifier][]string{}
	for {
		result, err := attempt(ctx, d, r, ids, tried)
		result.Skipped = without(r.Identifiers, ids)
		resumed := d.Resume != "" && result.OrderID == ID(d.Resume)
		d.Resume = ""
		if err == nil || ctx.Err() != nil {
			return result, err
		}
		var failed *FailedError
		if errors.As(err, &failed) && resumed {
			// The run that was interrupted had asked the CA to look, and what was
			// in place may have been taken away meanwhile: it says nothing about
			// the names.
			d.Story.Warn(r.Name, "%v", err)
			d.Story.Tell(r.Name, "the order of the interrupted run is lost, trying again in a new one")
			continue
		}
		if errors.As(err, &failed) && nextCandidates(r, failed, tried) {
			d.Story.Warn(r.Name, "%v", err)
			d.Story.Tell(r.Name, "trying the next instance of %s in a new order", strings.Join(model.Names(refused(err)), ", "))
			continue
		}
		left := without(ids, refused(err))
		if !r.AllowSubset || len(left) == 0 || len(left) == len(ids) {
			return result, err
		}
		d.Story.Warn(r.Name, "%v", err)
		d.Story.Warn(r.Name, "going on without %s", strings.Join(model.Names(without(ids, left)), ", "))
		ids = left
	}
}

// refused lists the names that an error is about: those that could not be
// proven, or those that the CA refused to put into an order (RFC 8555 section
// 6.7.1).
func refused(err error) []model.Identifier {
	var out []model.Identifier
	var failed *FailedError
	if errors.As(err, &failed) {
		for _, f := range failed.Failures {
			out = append(out, f.Identifier)
		}
		return out
	}
	var ca *model.ACMEError
	if errors.As(err, &ca) {
		for _, s := range ca.Subproblems {
			out = append(out, s.Identifier)
		}
	}
	return out
}

func without(ids, gone []model.Identifier) []model.Identifier {
	return slices.DeleteFunc(slices.Clone(ids), func(id model.Identifier) bool { return slices.Contains(gone, id) })
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

// candidates are the ways to prove a name that have not been tried.
func candidates(r model.Request, id model.Identifier, tried map[model.Identifier][]string) [][]string {
	return slices.DeleteFunc(slices.Clone(r.Ways(id)), func(way []string) bool {
		return slices.Contains(tried[id], label(way))
	})
}

// label names the instances of a way, as a failure shows them.
func label(way []string) string { return strings.Join(way, " and ") }

// attempt is one order from beginning to end.
func attempt(
	ctx context.Context, d Deps, r model.Request, ids []model.Identifier, tried map[model.Identifier][]string,
) (result Result, err error) {
	o, err := begin(ctx, d, r, ids)
	if err != nil {
		return result, err
	}
	id := ID(o.URL)
	result.OrderID = id
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
		if len(r.CSR) > 0 {
			return d.Keys.KeepRequest(r.Name, id, r.CSR)
		}
		provide := d.Keys.NewKey
		if r.ReuseKey && !d.NewKey {
			provide = d.Keys.ReuseKey
		}
		key, err = provide(r.Name, id, r.KeyType)
		return err
	})
	request := requestOf(r, ids, func() (crypto.Signer, error) {
		err := making.Wait()
		return key, err
	})
	if d.Hooks != nil {
		if err := d.Hooks.Attempt(ctx, o.URL, request); err != nil {
			_ = making.Wait() // the hook's error is the one to tell
			return result, err
		}
	}
	proven := prove(ctx, d, r, o, tried)
	made := making.Wait()
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	if err := errors.Join(proven, made); err != nil {
		return result, err
	}
	csr, err := request()
	if err != nil {
		return result, err
	}
	issued, err := finalize(ctx, d.CA, d.Story, r, csr, o, key)
	if err != nil {
		return result, err
	}
	return Result{OrderID: id, OrderURL: o.URL, CSR: csr, Issued: issued, Done: done}, nil
}

// requestOf gives the certificate request of an order: the one that was made
// elsewhere, or one that is made the first time that it is asked for.
func requestOf(r model.Request, ids []model.Identifier, key func() (crypto.Signer, error)) func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) {
		if len(r.CSR) > 0 {
			return r.CSR, nil
		}
		signer, err := key()
		if err != nil {
			return nil, err
		}
		return csr(signer, ids, r.MustStaple)
	})
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
	// A CA gives them in any order; people and scripts see them in the user's.
	slices.SortStableFunc(pending, func(a, b model.Authorization) int {
		return cmp.Compare(slices.Index(r.Identifiers, a.Identifier), slices.Index(r.Identifiers, b.Identifier))
	})
	h := &handler{Deps: d, request: r, order: o, tried: tried}
	chosen, err := h.choose(ctx, pending)
	if err != nil {
		return err
	}
	return h.answer(ctx, chosen)
}
