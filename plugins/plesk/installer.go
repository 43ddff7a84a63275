package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// wanted is the certificate that is to be installed, with its key: Plesk never
// gives one back, and an older certificate is to be installable again.
type wanted struct {
	// Certificate is its name in Plesk.
	Certificate string   `json:"certificate"`
	Sites       []string `json:"sites"`
	Fingerprint string   `json:"fingerprint"`
	Leaf        string   `json:"leaf"`
	Chain       string   `json:"chain"`
	Key         string   `json:"key"`
}

// there is what Plesk has because of us, by site.
type there struct {
	Certificate string            `json:"certificate"`
	Sites       map[string]*state `json:"sites"`
	// Panel is nil if Plesk itself was not given the certificate.
	Panel *panel `json:"panel,omitempty"`
}

// state of a site.
type state struct {
	// Before is what was assigned before us.
	Before    string `json:"before"`
	BeforeSSL string `json:"before_ssl"`
	// Content is the fingerprint of what is installed under our name; empty: it is
	// not known.
	Content  string `json:"content"`
	Assigned bool   `json:"assigned"`
	// Adopted: our name was assigned already, by a process whose state directory
	// is lost. What there was before that is not known, so it is left.
	Adopted bool `json:"adopted,omitempty"`
	// Taken is the fingerprint of what was deployed when the site was taken from
	// a certificate that somebody had chosen since: a roll back of that gives it
	// back.
	Taken string `json:"taken,omitempty"`
	// Left: what somebody has chosen is left, until the next deployment.
	Left bool `json:"left,omitempty"`
}

// Deploy stages the certificate in memory, for the site of the name.
func (p *plesk) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	if len(d.KeyPEM) == 0 || len(d.LeafPEM) == 0 {
		return sdk.Problemf(sdk.Internal, "the host has handed over no certificate and key for %s", d.Name)
	}
	w := wanted{
		Certificate: strings.ReplaceAll(p.settings.Certificate, placeholder, d.Lineage),
		Leaf:        string(d.LeafPEM), Chain: string(d.ChainPEM), Key: string(d.KeyPEM),
	}
	sum := sha256.Sum256(d.FullchainPEM)
	w.Fingerprint = hex.EncodeToString(sum[:])
	var err error
	if w.Sites, err = p.sitesFor(ctx, d, w.Fingerprint); err != nil {
		return err
	}
	endpoints, err := p.settings.endpoints(strings.Replace(d.Name, "*.", "wildcard.", 1))
	if err != nil {
		return err
	}
	t, err := p.records.There(d.Lineage)
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: d.Name, Changed: !t.serves(&w, p.settings.Certmng != ""), Endpoints: endpoints}
	if d.DryRun {
		if result.Changed {
			result.Diff = preview(t, w)
		}
		r.Result(result)
		return nil
	}
	if err := p.records.Stage(ctx, w); err != nil {
		return err
	}
	r.Result(result)
	return nil
}

// seen are the sites that Deploy has found for the first name of a certificate,
// for the calls for its other names.
type seen struct {
	fingerprint string
	sites       []string
}

// sitesFor finds the sites that answer for the names of a certificate, once.
func (p *plesk) sitesFor(ctx context.Context, d sdk.Deployment, fingerprint string) ([]string, error) {
	p.mu.Lock()
	known := p.seen[d.Lineage]
	p.mu.Unlock()
	if slices.Index(d.Names, d.Name) > 0 && known.fingerprint == fingerprint {
		return known.sites, nil
	}
	var sites []string
	for _, name := range d.Names {
		found, err := p.api.siteOf(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("find the site of %s: %w", name, err)
		}
		if found.properties == nil {
			err := sdk.Permanent(sdk.Problemf(sdk.NotFound, "the site %s is without hosting, so it serves no certificate", found.Name))
			return nil, sdk.Hint(err, "give it web hosting in Plesk, or leave %s out", name)
		}
		sites = append(sites, found.Name)
	}
	slices.Sort(sites)
	sites = slices.Compact(sites)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[d.Lineage] = seen{fingerprint, sites}
	return sites, nil
}

// preview says what a deployment would do, in the form of a diff.
func preview(t *there, w wanted) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- certificates in Plesk\n+++ certificates in Plesk\n@@ -1,%d +1,%d @@\n", len(w.Sites), len(w.Sites))
	for _, site := range w.Sites {
		if t != nil && t.Sites[site] != nil {
			fmt.Fprintf(&b, "-%s: %s, SHA-256 %s\n", site, t.Certificate, t.Sites[site].Content)
		}
		fmt.Fprintf(&b, "+%s: %s, SHA-256 %s\n", site, w.Certificate, w.Fingerprint)
	}
	return b.String()
}

// serves says whether Plesk has what is wanted, as far as we know.
func (t *there) serves(w *wanted, panel bool) bool {
	switch {
	case t == nil || w == nil:
		return t == nil && w == nil
	case panel && (t.Panel == nil || t.Panel.Content != w.Fingerprint):
		return false
	case t.Certificate != w.Certificate || len(t.Sites) != len(w.Sites):
		return false
	}
	return !slices.ContainsFunc(w.Sites, func(site string) bool {
		s := t.Sites[site]
		return s == nil || s.Content != w.Fingerprint || !s.Assigned && !s.Left
	})
}

// Save records what is wanted; nothing is sent to Plesk yet.
func (p *plesk) Save(ctx context.Context, req sdk.SaveRequest, _ sdk.Reporter) (sdk.Checkpoint, error) {
	return p.records.Save(ctx, req)
}

// Restart makes Plesk serve what is wanted.
func (p *plesk) Restart(ctx context.Context, r sdk.Reporter) error {
	lineage := sdk.OperationFrom(ctx).Lineage
	w, err := p.records.Wanted(lineage)
	if err != nil || w == nil {
		return err
	}
	if err := p.sync(ctx, lineage, true); err != nil {
		return err
	}
	t, err := p.records.There(lineage)
	if err != nil || t == nil {
		return err
	}
	for _, site := range w.Sites {
		if t.Sites[site].Left {
			r.Progress("", fmt.Sprintf("%s is left with the certificate that somebody has chosen in Plesk", site))
			continue
		}
		r.Progress("", fmt.Sprintf("Plesk serves %q on %s", w.Certificate, site))
	}
	return nil
}

// Rollback brings back what Plesk served before.
func (p *plesk) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return p.records.Rollback(ctx, count, r, func(ctx context.Context, lineage string) error {
		if err := p.sync(ctx, lineage, false); err != nil {
			return fmt.Errorf("bring back what Plesk served before: %w", err)
		}
		return nil
	})
}

// sync makes Plesk as it is wanted for a certificate. Without start, what Plesk
// was never told of is left so: its time comes with Restart.
func (p *plesk) sync(ctx context.Context, lineage string, start bool) error {
	if err := p.installs.enter(ctx); err != nil {
		return err
	}
	defer p.installs.leave()
	w, err := p.records.Wanted(lineage)
	if err != nil {
		return err
	}
	t, err := p.records.There(lineage)
	if err != nil || t == nil && (w == nil || !start) || t.serves(w, p.settings.Certmng != "") {
		return err
	}
	if t == nil {
		t = &there{Certificate: w.Certificate}
	}
	if t.Sites == nil {
		t.Sites = map[string]*state{}
	}
	job := &job{plesk: p, lineage: lineage, there: t, start: start}
	keep := []string{}
	if w != nil && t.Certificate == w.Certificate {
		keep = w.Sites
	}
	if err := job.release(ctx, keep); err != nil {
		return fmt.Errorf("take the certificate %q away: %w", t.Certificate, err)
	}
	if w == nil {
		if err := job.unsecure(ctx); err != nil {
			return err
		}
		return p.records.Keep(lineage, nil)
	}
	t.Certificate = w.Certificate
	if err := job.ensure(ctx, *w); err != nil {
		return fmt.Errorf("install the certificate %q: %w", w.Certificate, err)
	}
	return job.secure(ctx, *w)
}

// job is one such work.
type job struct {
	*plesk
	lineage string
	there   *there
	start   bool // it is no roll back
}

func (j *job) keep(what string) error {
	j.step(what)
	return j.records.Keep(j.lineage, j.there)
}

// ensure installs and assigns. What was assigned before, and that something is
// going to be installed, is written down first.
func (j *job) ensure(ctx context.Context, w wanted) error {
	stale := false
	for _, site := range w.Sites {
		if err := j.look(ctx, site, w); err != nil {
			return fmt.Errorf("site %s: %w", site, err)
		}
		stale = stale || j.there.Sites[site].Content != w.Fingerprint
	}
	if stale {
		for _, site := range w.Sites {
			j.there.Sites[site].Content = ""
		}
	}
	if err := j.keep("before the installation"); err != nil {
		return err
	}
	if stale {
		if err := j.install(ctx, w); err != nil {
			return err
		}
	}
	for _, site := range w.Sites {
		s := j.there.Sites[site]
		if s.Assigned || s.Left {
			continue
		}
		if err := j.api.assign(ctx, site, property{"ssl", "true"}, property{"certificate_name", w.Certificate}); err != nil {
			return err
		}
		s.Assigned = true
		if err := j.keep("after the assignment to " + site); err != nil {
			return err
		}
	}
	return nil
}

// look compares what a site is assigned with what is known of it. A deployment
// takes a site that somebody has assigned another certificate since, and a roll
// back leaves him that.
func (j *job) look(ctx context.Context, site string, w wanted) error {
	found, err := j.api.site(ctx, site)
	if err != nil {
		return err
	}
	now, ssl := found.properties["certificate_name"], found.properties["ssl"]
	s := j.there.Sites[site]
	switch {
	case s == nil:
		j.there.Sites[site] = &state{Before: now, BeforeSSL: ssl, Adopted: now == w.Certificate}
	case !j.start && s.Taken != "" && s.Taken != w.Fingerprint:
		s.Assigned, s.Left = false, true
		if err := j.keep("before it is given back"); err != nil {
			return err
		}
		return j.unassign(ctx, site, s, w.Certificate)
	case now == w.Certificate:
		if s.Left || s.Assigned && s.Taken != w.Fingerprint {
			s.Taken = ""
		}
		s.Left = false
	case !s.Assigned && !s.Left && now == s.Before: // it is to be assigned yet
	case !j.start:
		s.Assigned, s.Left = false, true
	default:
		*s = state{Before: now, BeforeSSL: ssl, Content: s.Content, Taken: w.Fingerprint}
	}
	return nil
}

// install brings the content in under our name: in place where Plesk's protocol
// can do that, so that whatever uses the certificate goes on.
func (j *job) install(ctx context.Context, w wanted) error {
	can, err := j.api.canUpdate(ctx)
	if err != nil {
		return err
	}
	if !can { // what is assigned cannot be removed
		if err := j.clear(ctx, w.Sites, w.Certificate, false); err != nil {
			return err
		}
	}
	for _, site := range w.Sites {
		pool, err := j.api.pool(ctx, site)
		if err != nil {
			return err
		}
		switch there := slices.Contains(pool, w.Certificate); {
		case !there:
			err = j.api.write(ctx, "install", site, w)
		case can:
			err = j.api.write(ctx, "update", site, w)
		default: // just now, for another site of the same subscription
		}
		if err != nil {
			return fmt.Errorf("site %s: %w", site, err)
		}
		j.there.Sites[site].Content = w.Fingerprint
		if err := j.keep("after the installation for " + site); err != nil {
			return err
		}
	}
	return nil
}

// clear removes our certificate from sites: from all of them before from the
// first, because those of one subscription share it. shared: another site keeps
// it, which may be of the same subscription.
func (j *job) clear(ctx context.Context, sites []string, certificate string, shared bool) error {
	if len(sites) == 0 {
		return nil
	}
	for _, site := range sites {
		j.there.Sites[site].Content, j.there.Sites[site].Assigned = "", false
	}
	if err := j.keep("before the removal"); err != nil {
		return err
	}
	var errs []error
	for _, site := range sites {
		if err := j.unassign(ctx, site, j.there.Sites[site], certificate); err != nil && !missing(err) {
			errs = append(errs, fmt.Errorf("site %s: %w", site, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, site := range sites {
		j.step("remove")
		if err := j.api.remove(ctx, site, certificate); err != nil && (!shared || codeOf(err) != codeInUse) {
			return fmt.Errorf("site %s: %w", site, err)
		}
	}
	return nil
}

// unassign gives the site what it had before us, unless somebody has chosen
// something else meanwhile.
func (j *job) unassign(ctx context.Context, site string, s *state, certificate string) error {
	found, err := j.api.site(ctx, site)
	if err != nil {
		return err
	}
	if found.properties["certificate_name"] != certificate {
		return nil
	}
	properties := []property{{"certificate_name", s.Before}}
	if s.BeforeSSL != "" {
		properties = append([]property{{"ssl", s.BeforeSSL}}, properties...)
	}
	j.step("unassign")
	return j.api.assign(ctx, site, properties...)
}

// release takes our certificate from all sites but those that keep it.
func (j *job) release(ctx context.Context, keep []string) error {
	var others []string
	for _, site := range slices.Sorted(maps.Keys(j.there.Sites)) {
		switch {
		case slices.Contains(keep, site):
		case j.there.Sites[site].Adopted:
			delete(j.there.Sites, site)
		default:
			others = append(others, site)
		}
	}
	if err := j.clear(ctx, others, j.there.Certificate, len(keep) > 0); err != nil {
		return err
	}
	for _, site := range others {
		delete(j.there.Sites, site)
	}
	return j.keep("after the removal")
}
