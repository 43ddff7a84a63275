package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/certwright/certwright/sdk"
)

// sync brings AWS to what is written down for a certificate, and changes nothing
// that is so already. It may be repeated, and be interrupted anywhere.
func (f *front) sync(ctx context.Context, lineage string, r sdk.Reporter) error {
	want, err := f.book.wanted(lineage)
	if err != nil || want == nil {
		return err
	}
	var ours source
	if want.Certificate != nil {
		if ours, err = f.place(ctx, lineage, *want.Certificate); err != nil {
			return err
		}
	} else if err := f.book.retire(lineage); err != nil {
		return err
	}
	made, err := f.book.made(lineage)
	if err != nil {
		return err
	}
	var changed []string
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(want.Distributions)) {
		one := want.Distributions[id]
		f.step("update " + id)
		var different bool
		if one.Ours {
			different, err = f.serve(ctx, id, ours)
		} else {
			different, err = f.restore(ctx, id, one.Before, made, r)
		}
		errs = append(errs, err)
		if different {
			changed = append(changed, id)
			r.Progress(id, "changed the viewer certificate of the distribution "+id)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f.wait(ctx, slices.Sorted(maps.Keys(want.Distributions)), len(changed) > 0, r)
}

// serve has a distribution serve our certificate.
func (f *front) serve(ctx context.Context, id string, ours source) (bool, error) {
	var broken error
	changed, err := f.cloud.update(ctx, id, func(now viewer) (viewer, bool) {
		if now.uses(ours) {
			return now, false
		}
		after, err := now.with(ours, f.settings.MinimumProtocol)
		broken = err
		return after, err == nil
	})
	return changed, errors.Join(err, broken)
}

// restore has a distribution serve what it did before. If it serves neither ours
// nor that, somebody else has decided it since.
func (f *front) restore(ctx context.Context, id string, before viewer, ours []made, r sdk.Reporter) (bool, error) {
	if len(before) == 0 {
		before = ownOfCloudFront
	}
	foreign := false
	changed, err := f.cloud.update(ctx, id, func(now viewer) (viewer, bool) {
		foreign = !now.same(before) && !f.belongs(now, ours)
		return before, !foreign && !now.same(before)
	})
	if foreign && err == nil {
		r.Progress(id, fmt.Sprintf("the distribution %s serves another certificate by now, and keeps it", id))
	}
	return changed, err
}

// wait waits until CloudFront's servers serve what was configured, if the
// settings say so.
func (f *front) wait(ctx context.Context, ids []string, changed bool, r sdk.Reporter) error {
	if f.settings.Wait == 0 {
		if changed {
			r.Progress("", "CloudFront changes its servers within minutes; set wait to see the end of it")
		}
		return nil
	}
	for _, id := range ids {
		err := f.cloud.eventually(ctx, f.settings.Wait, func() (bool, error) {
			done, err := f.cloud.deployed(ctx, id)
			if err == nil && !done {
				err = sdk.RetryAfter(sdk.Problemf(sdk.Timeout, "the distribution %s is not deployed after %s", id, f.settings.Wait), 0)
				return true, sdk.Hint(err, "set wait and the instance's timeout to a longer time")
			}
			return false, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep deletes what this instance has put into AWS for the certificate and is
// not served any more. What something serves still is tried another time.
func (f *front) sweep(ctx context.Context, lineage string, r sdk.Reporter) error {
	lost := f.lost(ctx, lineage, r)
	all, err := f.book.made(lineage)
	if err != nil {
		return errors.Join(lost, err)
	}
	errs := []error{lost}
	for _, one := range all {
		if one.Current {
			continue
		}
		f.step("delete " + one.ID)
		inUse, err := f.cloud.discard(ctx, one)
		switch {
		case err != nil:
			errs = append(errs, err)
		case inUse:
			r.Progress("", fmt.Sprintf("%s is in use still, and is deleted another time", one.ID))
		default:
			errs = append(errs, f.book.drop(lineage, one))
		}
	}
	return errors.Join(errs...)
}
