package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// staging is what is to be in AWS for a certificate.
type staging struct {
	// found is what there is, to be put back on a rollback; nil: not looked yet.
	found *wanted
	// want is what is to be.
	want *wanted
	// aliases of the distributions that it is for.
	aliases []string
	changed bool
}

// Deploy looks at the distributions and checks what AWS would refuse. Nothing is
// sent to it.
func (f *front) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	if len(f.settings.Distributions) == 0 {
		return notInstaller()
	}
	m := material{Leaf: string(d.LeafPEM), Chain: string(d.ChainPEM), Key: string(d.KeyPEM)}
	result := sdk.Result{Subject: d.Name}
	if d.DryRun {
		s := staging{}
		if err := f.stage(ctx, &s, m); err != nil {
			return err
		}
		if result.Changed, result.Endpoints = s.changed, f.endpoints(s, d.Name); s.changed {
			result.Diff = s.diff(f.settings.Store)
		}
		r.Result(result)
		return nil
	}
	if err := f.edits.Unrecovered(ctx); err != nil {
		r.Progress("", fmt.Sprintf("an interrupted deployment is not undone yet: %v", err))
	}
	err := f.edits.Stage(ctx, func(s *staging) error { return f.stage(ctx, s, m) })
	if err != nil {
		return err
	}
	// It is the same for every name of the certificate.
	err = f.edits.Stage(ctx, func(s *staging) error {
		result.Changed, result.Endpoints = s.changed, f.endpoints(*s, d.Name)
		return nil
	})
	r.Result(result)
	return err
}

// endpoints are where a name is to be seen, if one of the distributions serves it.
func (f *front) endpoints(s staging, name string) []sdk.Endpoint {
	serves := slices.ContainsFunc(s.aliases, func(alias string) bool {
		_, parent, _ := strings.Cut(name, ".")
		return strings.EqualFold(alias, name) || strings.EqualFold(alias, "*."+parent)
	})
	if !serves {
		return nil
	}
	var out []sdk.Endpoint
	for _, e := range f.settings.Endpoints {
		out = append(out, sdk.Endpoint{Address: e})
	}
	return out
}

func (f *front) stage(ctx context.Context, s *staging, m material) error {
	if err := checkMaterial(m, time.Now()); err != nil {
		return err
	}
	if s.found == nil {
		if err := f.look(ctx, s, m); err != nil {
			return err
		}
	}
	want := &wanted{Version: bookVersion, Certificate: &m, Distributions: map[string]distributionState{}}
	s.changed = s.found.Certificate == nil || !s.found.Certificate.equal(m)
	for id, there := range s.found.Distributions {
		s.changed = s.changed || !there.Ours
		want.Distributions[id] = distributionState{Ours: true, Before: there.Before}
	}
	s.want = want
	return nil
}

// look asks every distribution what it serves, and takes those that the
// certificate is for.
func (f *front) look(ctx context.Context, s *staging, m material) error {
	leaf, err := m.certificate()
	if err != nil {
		return err
	}
	lineage := sdk.OperationFrom(ctx).Lineage
	known, err := f.book.wanted(lineage)
	if err != nil {
		return err
	}
	ours, err := f.book.made(lineage)
	if err != nil {
		return err
	}
	found := &wanted{Version: bookVersion, Distributions: map[string]distributionState{}}
	if known != nil {
		found.Certificate = known.Certificate
	}
	served, names := false, []string{}
	for _, id := range f.settings.Distributions {
		d, err := f.cloud.distribution(ctx, id)
		if err != nil {
			return err
		}
		now, err := viewerOf(d.document)
		if err != nil {
			return fmt.Errorf("read the configuration of the distribution %s: %w", id, err)
		}
		mine := found.Certificate != nil && f.belongs(now, ours)
		covered, err := covers(leaf, id, d.aliases())
		if !covered && !mine {
			names = append(names, d.aliases()...)
			continue // it is another certificate's
		}
		if err != nil {
			return err
		}
		s.aliases = append(s.aliases, d.aliases()...)
		one := distributionState{Before: now}
		if mine {
			one, served = known.Distributions[id], true
			one.Ours = true
		}
		found.Distributions[id] = one
	}
	if len(found.Distributions) == 0 {
		if len(names) == 0 {
			names = []string{"they have no alternate domain names"}
		}
		err := sdk.Problemf(sdk.Conflict, "the certificate names nothing that the distributions serve: %s", strings.Join(names, ", "))
		return sdk.Hint(sdk.Permanent(err), "correct the setting distributions, or add the names to the distribution")
	}
	if !served {
		found.Certificate = nil // it is served nowhere: there is none to be put back
	}
	s.found = found
	return nil
}

// belongs says whether a distribution serves one that this instance has put into
// AWS. In IAM a distribution names it by a number that only IAM knows.
func (f *front) belongs(v viewer, ours []made) bool {
	return slices.ContainsFunc(ours, func(m made) bool {
		switch m.Store {
		case inACM:
			return v.value(byACM) == m.ID
		default:
			return m.Number != "" && v.value(byIAM) == m.Number
		}
	})
}

func (s *staging) diff(store string) string {
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.want.Distributions)) {
		there := s.found.Distributions[id]
		before := "-" + describe(there.Before)
		if there.Ours {
			before = "-" + s.found.Certificate.describe()
		}
		fmt.Fprintf(&out, "--- distribution %s\n+++ distribution %s\n@@ viewer certificate @@\n%s\n+%s, by %s\n",
			id, id, before, s.want.Certificate.describe(), strings.ToUpper(store))
	}
	return out.String()
}

func describe(v viewer) string {
	for _, name := range []string{byACM, byIAM} {
		if value := v.value(name); value != "" {
			return name + " " + value
		}
	}
	return "CloudFront's own certificate"
}

func (m material) describe() string {
	leaf, err := m.certificate()
	if err != nil {
		return "a certificate that cannot be read"
	}
	return fmt.Sprintf("certificate %X for %s, valid until %s", leaf.SerialNumber, strings.Join(leaf.DNSNames, ", "), leaf.NotAfter.UTC().Format(time.RFC3339))
}

// Save writes down what AWS is to have, so that a rollback finds what it had.
// Nothing is sent to it before Restart.
func (f *front) Save(ctx context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	lineage := sdk.OperationFrom(ctx).Lineage
	return f.edits.Save(ctx, req, func(ctx context.Context, s *staging, begin func() (*checkpoint.Draft, error)) error {
		path, err := f.book.wantedFile(lineage)
		if err != nil {
			return err
		}
		data, err := s.want.encode()
		if err != nil {
			return err
		}
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, data) {
			return nil
		}
		if err := f.book.observe(lineage, s.found); err != nil {
			return err
		}
		draft, err := begin()
		if err != nil {
			return err
		}
		return draft.WriteFile(ctx, path, data, checkpoint.Attributes{Mode: 0o600})
	})
}

// Restart brings AWS to what was written down.
func (f *front) Restart(ctx context.Context, r sdk.Reporter) error {
	lineage := sdk.OperationFrom(ctx).Lineage
	if lineage == "" {
		return nil
	}
	return f.sync(ctx, lineage, r)
}

// Rollback writes down again what AWS had, and brings it to that.
func (f *front) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	before, err := f.edits.Store().List()
	if err != nil {
		return err
	}
	if err := f.edits.Rollback(ctx, count, r); err != nil {
		return err
	}
	after, err := f.edits.Store().List()
	if err != nil {
		return err
	}
	var errs []error
	for _, lineage := range f.concerned(ctx, count, before, after) {
		errs = append(errs, f.sync(ctx, lineage, r))
		if err := f.sweep(ctx, lineage, r); err != nil {
			r.Progress("", "what was taken back is still in AWS, and is removed another time: "+err.Error())
		}
	}
	return errors.Join(errs...)
}

// concerned gives the certificates that a rollback is about. A rollback of the
// same operation again finds no checkpoint, and may have failed in AWS before.
func (f *front) concerned(ctx context.Context, count int, before, after []checkpoint.Checkpoint) []string {
	var out []string
	if lineage := sdk.OperationFrom(ctx).Lineage; lineage != "" && count > 0 {
		out = append(out, lineage)
	}
	for _, c := range before {
		if !slices.ContainsFunc(after, func(a checkpoint.Checkpoint) bool { return a.ID == c.ID }) {
			out = append(out, c.Label)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Names gives the names of each distribution.
func (f *front) Names(ctx context.Context) ([]sdk.Site, error) {
	var out []sdk.Site
	for _, id := range f.settings.Distributions {
		d, err := f.cloud.distribution(ctx, id)
		if err != nil {
			return nil, err
		}
		now, err := viewerOf(d.document)
		if err != nil {
			return nil, err
		}
		out = append(out, sdk.Site{ID: id, Names: d.aliases(), TLS: now.value(byACM) != "" || now.value(byIAM) != ""})
	}
	return out, nil
}
