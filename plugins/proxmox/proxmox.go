package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// proxmox is the installer, for some nodes of one cluster.
type proxmox struct {
	settings settings
	api      api
	remote   *checkpoint.Remote[wanted, there]
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)
	// limits is for tests that do not want to wait.
	limits limits

	mu sync.Mutex
	// seen is what the nodes had at the first name of a lineage's certificate: the
	// answers for its other names are the same.
	seen map[string]look
}

// look is what nodes had, by their names, before a certificate.
type look struct {
	print string
	has   map[string]*certificate
}

var _ interface {
	sdk.Installer
	sdk.Configurer
	sdk.Rollbacker
	sdk.HealthChecker
} = (*proxmox)(nil)

// wanted is what the nodes are to serve. It is kept with its key, because the
// API never gives a key back: this is how an older certificate is installed
// again.
type wanted struct {
	Fullchain string `json:"fullchain"`
	Key       string `json:"key"`
	Print     string `json:"fingerprint"`
}

// there is what the nodes have because of us.
type there struct {
	// Ours are the fingerprints of all that we have put there, the newest last.
	Ours  []string        `json:"ours"`
	Nodes map[string]node `json:"nodes"`
}

// node is what is known of one.
type node struct {
	// Foreign: it had a custom certificate that was not ours.
	Foreign bool `json:"foreign,omitempty"`
	// Has is what it was seen to have after we put it there; empty: not known.
	Has string `json:"has,omitempty"`
}

// oursKept bounds the fingerprints that are remembered.
const oursKept = 50

func newProxmox() *proxmox { return &proxmox{} }

func (p *proxmox) at(step string) {
	if p.step != nil {
		p.step(step)
	}
}

// Configure checks the settings, and undoes what a crash left of the records.
func (p *proxmox) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := p.settings.check(); err != nil {
		return err
	}
	var err error
	if p.api, err = newAPI(p.settings, p.isOurs, p.limits); err != nil || instance.ValidateOnly {
		return err
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	p.remote, err = checkpoint.NewRemote[wanted, there](ctx, instance.StateDir, p.step)
	return err
}

// isOurs says whether a certificate that the API shows was put there by us:
// neither the pin nor the roots of the settings need to know it.
func (p *proxmox) isOurs(fingerprint string) bool {
	lineages, err := p.remote.Lineages()
	if err != nil {
		return false // the certificate is judged by the settings alone
	}
	return slices.ContainsFunc(lineages, func(lineage string) bool {
		t, err := p.remote.There(lineage)
		return err == nil && t != nil && slices.Contains(t.Ours, fingerprint)
	})
}

// Health asks the API, for the privilege too, with deep only: a slow API makes no
// plugin ill.
func (p *proxmox) Health(ctx context.Context, deep bool) error {
	if !deep {
		return nil
	}
	var errs []error
	for _, name := range p.settings.Nodes {
		_, err := p.api.custom(ctx, name)
		if err == nil {
			err = p.api.mayModify(ctx, name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Deploy stages the certificate, after a look at what the nodes have.
func (p *proxmox) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	w := wanted{Fullchain: string(d.FullchainPEM), Key: string(d.KeyPEM), Print: fingerprintOf(d.FullchainPEM)}
	if w.Print == "" || w.Key == "" {
		return sdk.Problemf(sdk.Internal, "the host has handed over no certificate with its key")
	}
	result := sdk.Result{Subject: d.Name}
	if err := p.alone(sdk.OperationFrom(ctx).Lineage); err != nil {
		return err
	}
	t, err := p.remote.There(sdk.OperationFrom(ctx).Lineage)
	if err != nil {
		return err
	}
	all, err := p.look(ctx, d, w)
	if err != nil {
		return err
	}
	var diff strings.Builder
	for _, name := range p.settings.Nodes {
		has := all[name]
		if err := p.mayReplace(name, has, t, w); err != nil {
			return err
		}
		if has == nil || printOf(has) != w.Print {
			result.Changed = true
			diff.WriteString(checkpoint.Diff(name+"/"+customFile, pemOf(has), d.FullchainPEM))
		}
	}
	for _, address := range p.settings.Endpoints {
		result.Endpoints = append(result.Endpoints, sdk.Endpoint{Address: address, Kind: sdk.TLS})
	}
	if d.DryRun {
		result.Diff = diff.String()
	} else if err := p.remote.Stage(ctx, w); err != nil {
		return err
	}
	r.Result(result)
	return nil
}

// look asks all nodes once for a certificate, not once for each of its names.
func (p *proxmox) look(ctx context.Context, d sdk.Deployment, w wanted) (map[string]*certificate, error) {
	lineage := sdk.OperationFrom(ctx).Lineage
	p.mu.Lock()
	known := p.seen[lineage]
	p.mu.Unlock()
	first := len(d.Names) == 0 || d.Name == d.Names[0]
	if !first && known.print == w.Print {
		return known.has, nil
	}
	known = look{print: w.Print, has: map[string]*certificate{}}
	for _, name := range p.settings.Nodes {
		has, err := p.api.custom(ctx, name)
		if err != nil {
			return nil, err
		}
		known.has[name] = has
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]look{}
	}
	p.seen[lineage] = known
	return known.has, nil
}

// forget has the next deployment look again.
func (p *proxmox) forget(lineage string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, lineage)
}

// alone refuses a second certificate for the same nodes.
func (p *proxmox) alone(lineage string) error {
	others, err := p.remote.Lineages()
	if err != nil || p.settings.Force {
		return err
	}
	for _, other := range others {
		w, err := p.remote.Wanted(other)
		if err != nil {
			return err
		}
		if other != lineage && w != nil {
			err := sdk.Permanent(sdk.Problemf(sdk.Conflict, "the nodes have the certificate %s already, and one for all names", other))
			return sdk.Hint(err, "put all names into one certificate, roll the other one back, or set force to replace it")
		}
	}
	return nil
}

// mayReplace guards a certificate that nobody could bring back.
func (p *proxmox) mayReplace(name string, has *certificate, t *there, w wanted) error {
	if has == nil || p.settings.Force || printOf(has) == w.Print || t != nil && slices.Contains(t.Ours, printOf(has)) {
		return nil
	}
	err := sdk.Permanent(sdk.Problemf(sdk.Conflict, "the node %s has a custom certificate that certwright did not put there", name))
	err = sdk.Subject(err, "force")
	return sdk.Hint(err, "set force to replace it: Proxmox never gives its key back, so no rollback can restore it")
}

// Save keeps what is wanted.
func (p *proxmox) Save(ctx context.Context, req sdk.SaveRequest, _ sdk.Reporter) (sdk.Checkpoint, error) {
	return p.remote.Save(ctx, req)
}

// Restart has the nodes serve what is wanted. They are asked, because somebody
// else may have changed them.
func (p *proxmox) Restart(ctx context.Context, r sdk.Reporter) error {
	p.forget(sdk.OperationFrom(ctx).Lineage)
	return p.sync(ctx, sdk.OperationFrom(ctx).Lineage, true, r)
}

// Rollback brings back what was wanted before, and has the nodes serve it.
func (p *proxmox) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	p.forget(sdk.OperationFrom(ctx).Lineage)
	return p.remote.Rollback(ctx, count, r, func(ctx context.Context, lineage string) error {
		return p.sync(ctx, lineage, false, r)
	})
}

func (p *proxmox) sync(ctx context.Context, lineage string, ask bool, r sdk.Reporter) error {
	w, err := p.remote.Wanted(lineage)
	if err != nil {
		return err
	}
	t, err := p.remote.There(lineage)
	switch {
	case err != nil:
		return err
	case w == nil && t == nil:
		return nil
	case w == nil:
		return p.takeAway(ctx, lineage, t, r)
	case t == nil:
		t = &there{Nodes: map[string]node{}}
		ask = true
	}
	var errs []error
	for _, name := range p.settings.Nodes {
		if !ask && t.Nodes[name].Has == w.Print {
			continue
		}
		if err := p.put(ctx, lineage, name, *w, t, r); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// put has one node serve a certificate. An answer that was lost with the restart
// of pveproxy is no failure if the node has it.
func (p *proxmox) put(ctx context.Context, lineage, name string, w wanted, t *there, r sdk.Reporter) error {
	has, err := p.api.custom(ctx, name)
	if err != nil {
		return err
	}
	if err := p.mayReplace(name, has, t, w); err != nil {
		return err
	}
	known, seen := t.Nodes[name]
	if !seen {
		known.Foreign = has != nil && printOf(has) != w.Print
	}
	if has == nil || printOf(has) != w.Print {
		known.Has = ""
		t.note(name, known, w.Print)
		if err := p.remote.Keep(lineage, t); err != nil {
			return err
		}
		p.at("upload")
		// A key may be there without its certificate, and is not shown.
		failure := p.api.upload(ctx, name, w, has != nil || p.settings.Force)
		p.at("uploaded")
		if refused(failure) {
			return failure
		}
		if has, err = p.api.custom(ctx, name); err != nil {
			return errors.Join(failure, err)
		}
		if has == nil || printOf(has) != w.Print {
			if failure == nil {
				failure = sdk.Problemf(sdk.Internal, "Proxmox took the certificate and shows another one")
			}
			return failure
		}
		r.Progress("", "the node "+name+" has the certificate")
	}
	known.Has = w.Print
	t.note(name, known, w.Print)
	return p.remote.Keep(lineage, t)
}

func (t *there) note(name string, n node, fingerprint string) {
	t.Nodes[name] = n
	t.Ours = append(slices.DeleteFunc(t.Ours, func(f string) bool { return f == fingerprint }), fingerprint)
	if len(t.Ours) > oursKept {
		t.Ours = t.Ours[len(t.Ours)-oursKept:]
	}
}

// takeAway lets the nodes go back to the certificate that they have made
// themselves, unless somebody else has put another one there since.
func (p *proxmox) takeAway(ctx context.Context, lineage string, t *there, r sdk.Reporter) error {
	var errs []error
	var names []string
	for name := range t.Nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		has, err := p.api.custom(ctx, name)
		if err == nil && has != nil && slices.Contains(t.Ours, printOf(has)) {
			p.at("remove")
			failure := p.api.remove(ctx, name)
			p.at("removed")
			// As with an upload, the answer may be lost.
			if has, err = p.api.custom(ctx, name); err == nil && has != nil && slices.Contains(t.Ours, printOf(has)) {
				err = errors.Join(failure, fmt.Errorf("it still has the certificate"))
			}
			if err == nil && t.Nodes[name].Foreign {
				r.Progress("", "the node "+name+" is back at its built-in certificate: the custom one that it had before could not be brought back")
			}
		}
		switch {
		case err == nil:
		case p.left(ctx, name):
			r.Progress("", "the node "+name+" has left the cluster, so its certificate is left as it is")
		default:
			errs = append(errs, fmt.Errorf("node %s: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return p.remote.Keep(lineage, nil)
}

// left says whether a node is in the cluster no more; in doubt it is.
func (p *proxmox) left(ctx context.Context, name string) bool {
	members, err := p.api.members(ctx)
	return err == nil && len(members) > 0 && !slices.Contains(members, name)
}

// fingerprintOf is empty if there is no certificate.
func fingerprintOf(text []byte) string {
	block, _ := pem.Decode(text)
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

// printOf gives Proxmox's fingerprint in the form that is used here.
func printOf(c *certificate) string {
	return strings.ToLower(strings.ReplaceAll(c.Fingerprint, ":", ""))
}

func pemOf(c *certificate) []byte {
	if c == nil {
		return nil
	}
	return []byte(c.PEM)
}
