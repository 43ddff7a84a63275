package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// wanted is the certificate that is to be hosted, with its key: without it, an
// older one could not be brought back after Gandi has deleted it.
type wanted struct {
	Names       []string `json:"names"`
	Fingerprint string   `json:"fingerprint"`
	Fullchain   string   `json:"fullchain"`
	Key         string   `json:"key"`
}

// hosted is what Gandi holds because of us.
type hosted struct {
	Ours []upload `json:"ours,omitempty"`
	// Pending is an upload of which the answer is not known.
	Pending *pending `json:"pending,omitempty"`
}

type upload struct {
	Fingerprint string `json:"fingerprint"`
	ID          int    `json:"id"`
}

// pending names the certificates that were there before: ours is one that is
// there besides them, and ends when ours does.
type pending struct {
	Fingerprint string   `json:"fingerprint"`
	Names       []string `json:"names"`
	Known       []int    `json:"known"`
	// Expires is the end of its validity.
	Expires time.Time `json:"expires"`
}

// settleLimit bounds the wait until Gandi has taken a certificate into use.
const settleLimit = 2 * time.Minute

// Deploy stages the certificate in memory.
func (g *gandi) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	if g.settings.APIKey == "" {
		p := sdk.Problemf(sdk.InvalidConfig, "upload a certificate to Gandi: there is no API key")
		return sdk.Subject(sdk.Hint(sdk.Permanent(p), "set api_key: only the XML-RPC API takes certificates"), "api_key")
	}
	if len(d.KeyPEM) == 0 || len(d.FullchainPEM) == 0 {
		return sdk.Problemf(sdk.Internal, "the host has handed over no certificate and key for %s", d.Name)
	}
	endpoints, err := g.settings.endpoints(d.Name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(d.LeafPEM)
	w := wanted{Names: d.Names, Fingerprint: hex.EncodeToString(sum[:]), Fullchain: string(d.FullchainPEM), Key: string(d.KeyPEM)}
	before, err := g.records.Wanted(d.Lineage)
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: d.Name, Changed: before == nil || before.Fingerprint != w.Fingerprint, Endpoints: endpoints}
	if d.DryRun {
		if result.Changed {
			result.Diff, err = g.preview(ctx, w)
		}
		if err == nil {
			r.Result(result)
		}
		return err
	}
	if err := g.records.Stage(ctx, w); err != nil {
		return err
	}
	r.Result(result)
	return nil
}

// preview says what a deployment would do, in the form of a diff.
func (g *gandi) preview(ctx context.Context, w wanted) (string, error) {
	old, err := g.rpc.hostedFor(ctx, w.Names)
	if err != nil {
		return "", fmt.Errorf("list the hosted certificates of %s: %w", w.Names[0], err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- hosted certificates at Gandi\n+++ hosted certificates at Gandi\n@@ -1,%d +1,%d @@\n", len(old), len(old)+1)
	for _, h := range old {
		fmt.Fprintf(&b, " %d %s\n", h.ID, h.Subject)
	}
	fmt.Fprintf(&b, "+new for %s, SHA-256 of the certificate's PEM %s\n", strings.Join(w.Names, ", "), w.Fingerprint)
	return b.String(), nil
}

// Save records what is wanted; nothing is uploaded yet.
func (g *gandi) Save(ctx context.Context, req sdk.SaveRequest, _ sdk.Reporter) (sdk.Checkpoint, error) {
	return g.records.Save(ctx, req)
}

// Restart uploads what is wanted and not there. What it replaces is deleted when
// all has ended well.
func (g *gandi) Restart(ctx context.Context, r sdk.Reporter) error {
	lineage := sdk.OperationFrom(ctx).Lineage
	if err := g.uploads.enter(ctx); err != nil {
		return err
	}
	defer g.uploads.leave()
	w, err := g.records.Wanted(lineage)
	if err != nil || w == nil {
		return err
	}
	id, err := g.ensure(ctx, lineage, *w)
	if err != nil {
		return fmt.Errorf("upload the certificate %s to Gandi: %w", lineage, err)
	}
	r.Progress("", fmt.Sprintf("hosted certificate %d holds %s", id, strings.Join(w.Names, ", ")))
	g.note(lineage, true)
	return nil
}

func (g *gandi) note(lineage string, fresh bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fresh[lineage] = fresh
}

// ensure gives the ID under which Gandi holds a certificate, which is uploaded if
// it has to be. That Gandi has an ID is written down before it is needed, so no
// upload is lost or made twice.
func (g *gandi) ensure(ctx context.Context, lineage string, w wanted) (int, error) {
	t, err := g.settled(ctx, lineage)
	if err != nil {
		return 0, err
	}
	for _, u := range t.Ours {
		if u.Fingerprint != w.Fingerprint {
			continue
		}
		if _, err := g.rpc.hosted(ctx, u.ID); err == nil {
			return u.ID, g.inUse(ctx, u.ID)
		} else if !notFound(err) {
			return 0, err
		}
	}
	there, err := g.rpc.hostedFor(ctx, w.Names)
	if err != nil {
		return 0, err
	}
	t.Ours = slices.DeleteFunc(t.Ours, func(u upload) bool { return u.Fingerprint == w.Fingerprint })
	t.Pending = &pending{Fingerprint: w.Fingerprint, Names: w.Names, Known: ids(there), Expires: w.expires()}
	if err := g.records.Keep(lineage, t); err != nil {
		return 0, err
	}
	g.step("create")
	h, err := g.rpc.create(ctx, w.Fullchain, w.Key)
	if refused(err) { // so what is there later is somebody else's
		t.Pending = nil
		return 0, errors.Join(err, g.records.Keep(lineage, t))
	}
	if err != nil {
		return 0, err
	}
	g.step("created")
	t.Ours, t.Pending = append(t.Ours, upload{w.Fingerprint, h.ID}), nil
	if err := g.records.Keep(lineage, t); err != nil {
		return 0, err
	}
	return h.ID, g.inUse(ctx, h.ID)
}

func ids(list []hostedCert) []int {
	out := make([]int, 0, len(list))
	for _, h := range list {
		out = append(out, h.ID)
	}
	return out
}

// settled gives the record of what is there after it has found out what has
// become of an upload that nobody lived to hear of.
func (g *gandi) settled(ctx context.Context, lineage string) (*hosted, error) {
	t, err := g.records.There(lineage)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return &hosted{}, nil
	}
	if t.Pending == nil {
		return t, nil
	}
	there, err := g.rpc.hostedFor(ctx, t.Pending.Names)
	if err != nil {
		return nil, err
	}
	held, err := g.held()
	if err != nil {
		return nil, err
	}
	there = slices.DeleteFunc(there, func(h hostedCert) bool {
		return held[h.ID] || slices.Contains(t.Pending.Known, h.ID) || !h.endsAt(t.Pending.Expires)
	})
	// Of several, nobody could tell which one is ours: rather is one left over
	// than somebody else's deleted.
	if len(there) == 1 {
		t.Ours = append(t.Ours, upload{t.Pending.Fingerprint, there[0].ID})
	}
	t.Pending = nil
	return t, g.records.Keep(lineage, t)
}

// held are the IDs of what is ours, of all certificates.
func (g *gandi) held() (map[int]bool, error) {
	lineages, err := g.records.Lineages()
	if err != nil {
		return nil, err
	}
	out := map[int]bool{}
	for _, l := range lineages {
		t, err := g.records.There(l)
		if err != nil {
			return nil, err
		}
		if t != nil {
			for _, u := range t.Ours {
				out[u.ID] = true
			}
		}
	}
	return out, nil
}

// deleteOthers deletes those for the same names that are nobody's here.
func (g *gandi) deleteOthers(ctx context.Context, names []string) error {
	lineages, err := g.records.Lineages()
	if err != nil {
		return err
	}
	for _, l := range lineages {
		if _, err := g.settled(ctx, l); err != nil {
			return err
		}
	}
	held, err := g.held()
	if err != nil {
		return err
	}
	there, err := g.rpc.hostedFor(ctx, names)
	if err != nil {
		return err
	}
	for _, h := range there {
		if held[h.ID] {
			continue
		}
		if err := g.rpc.delete(ctx, h.ID); err != nil {
			return err
		}
	}
	return nil
}

// expires is the end of the certificate's validity; zero: it cannot be read.
func (w wanted) expires() time.Time {
	block, _ := pem.Decode([]byte(w.Fullchain))
	if block == nil {
		return time.Time{}
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{} // Gandi says what is wrong with it
	}
	return leaf.NotAfter
}

// inUse waits until Gandi has taken a certificate into use.
func (g *gandi) inUse(ctx context.Context, id int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleLimit, errors.New("it was not taken into use in time"))
	defer cancel()
	again := time.NewTicker(g.pause)
	defer again.Stop()
	for {
		h, err := g.rpc.hosted(ctx, id)
		if err != nil {
			return err
		}
		if h.State == created {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			p := sdk.Problemf(sdk.Timeout, "hosted certificate %d is in state %q: %w", id, h.State, context.Cause(ctx))
			return sdk.RetryAfter(sdk.Hint(p, "see what Gandi's list of operations says of it"), 0)
		}
	}
}

// Rollback brings back what was hosted before.
func (g *gandi) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return g.records.Rollback(ctx, count, r, func(ctx context.Context, lineage string) error {
		g.note(lineage, false)
		if err := g.uploads.enter(ctx); err != nil {
			return err
		}
		defer g.uploads.leave()
		if err := g.prune(ctx, lineage, false); err != nil {
			return fmt.Errorf("bring back what Gandi hosted before for the certificate %s: %w", lineage, err)
		}
		return nil
	})
}

// prune makes the wanted certificate the only one of ours. others: also of those
// that are for the same names and not of ours.
func (g *gandi) prune(ctx context.Context, lineage string, others bool) error {
	w, err := g.records.Wanted(lineage)
	if err != nil {
		return err
	}
	t, err := g.records.There(lineage)
	if err != nil || t == nil && w == nil {
		return err
	}
	if w == nil {
		w = &wanted{}
	}
	if t == nil || t.Pending == nil && !others && t.only(w.Fingerprint) {
		return nil // never uploaded, or as it is wanted
	}
	if w.Fingerprint != "" {
		if _, err := g.ensure(ctx, lineage, *w); err != nil {
			return err
		}
	}
	if t, err = g.settled(ctx, lineage); err != nil {
		return err
	}
	for _, u := range slices.Clone(t.Ours) {
		if u.Fingerprint == w.Fingerprint {
			continue
		}
		g.step("delete")
		if err := g.rpc.delete(ctx, u.ID); err != nil {
			return err
		}
		t.Ours = slices.DeleteFunc(t.Ours, func(o upload) bool { return o == u })
		if err := g.records.Keep(lineage, t); err != nil {
			return err
		}
	}
	if w.Fingerprint == "" {
		return g.records.Keep(lineage, nil)
	}
	if !others {
		return nil
	}
	return g.deleteOthers(ctx, w.Names)
}

func (h *hosted) only(fingerprint string) bool {
	return len(h.Ours) == 1 && h.Ours[0].Fingerprint == fingerprint
}

// Run hears of the end of the run: what was replaced is deleted.
func (g *gandi) Run(ctx context.Context, e sdk.HookEvent, _ sdk.Reporter) (sdk.HookResult, error) {
	if e.Event != sdk.EventPost {
		return sdk.HookResult{}, nil
	}
	if err := g.uploads.enter(ctx); err != nil {
		return sdk.HookResult{}, err
	}
	defer g.uploads.leave()
	var errs []error
	for _, lineage := range e.Renewed {
		g.mu.Lock()
		fresh := g.fresh[lineage]
		g.mu.Unlock()
		if !fresh || slices.Contains(e.Failed, lineage) {
			continue
		}
		if err := g.prune(ctx, lineage, g.settings.DeleteOther); err != nil {
			errs = append(errs, fmt.Errorf("delete what the certificate %s replaces at Gandi: %w", lineage, err))
		}
	}
	return sdk.HookResult{}, errors.Join(errs...)
}

// Names are those of the virtual hosts of the instance.
func (g *gandi) Names(ctx context.Context) ([]sdk.Site, error) {
	if g.settings.Instance == "" {
		p := sdk.Problemf(sdk.InvalidConfig, "list the virtual hosts: no Simple Hosting instance is named")
		return nil, sdk.Subject(sdk.Hint(sdk.Permanent(p), "set instance to the name of the instance"), "instance")
	}
	found, err := g.instance(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]sdk.Site, 0, len(found.VHosts))
	for _, v := range found.VHosts {
		out = append(out, sdk.Site{ID: v.Name, Names: []string{v.Name}, File: found.Name})
	}
	return out, nil
}
