// Package deploy brings a certificate into one target: stage, save, test, move
// the pointer, restart, prove by a handshake, or put everything back.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// title of the checkpoint, which certbot's users know.
const title = "Deployed ACME Certificate"

// Installer is what a running instance can do.
type Installer interface {
	sdk.Installer
	sdk.ConfigTester
	sdk.Rollbacker
}

// Target is one running installer instance.
type Target struct {
	Config      model.Instance
	Description sdk.Description
	Installer
}

// Pointers are the deployed/<instance>/<lineage> links.
type Pointers interface {
	// Pointer gives the version that it leads to; 0: there is none.
	Pointer(instance, lineage string) (int, error)
	// SetPointer moves it atomically; version 0 removes it.
	SetPointer(instance, lineage string, version int) error
	DeployedPaths(instance, lineage string) model.Paths
}

// Journal records a deployment before it begins.
type Journal interface {
	// Deploying MUST have returned before the target or its pointer is touched.
	Deploying(Begun) (Entry, error)
}

// Begun is what a run has to know that undoes a deployment after a crash.
type Begun struct {
	Lineage     string
	Identifiers []model.Identifier
	Instance    model.Instance
	// From is the version that the pointer led to, 0: none; To the new one.
	From, To int
	// RunID is in the operations' IDs.
	RunID string
}

// Entry is a deployment in the journal.
type Entry interface {
	// Saved: Save with a title has finalised a checkpoint.
	Saved(checkpoint string) error
	// Restarting MUST have returned before Restart is called.
	Restarting() error
	// RolledBack: the checkpoint is taken back.
	RolledBack() error
	// Done: it ended, well or rolled back.
	Done() error
}

// Story is what the user is told while it happens.
type Story interface {
	Tell(lineage, format string, args ...any)
	Warn(lineage, format string, args ...any)
	Reporter(lineage, instance string) sdk.Reporter
}

// Deps is what a deployment needs.
type Deps struct {
	Pointers Pointers
	Journal  Journal
	Story    Story
	// Prove shows that an endpoint serves the leaf; nil: Handshake.
	Prove func(ctx context.Context, e model.Endpoint, leafPEM []byte) error
	// Fresh gives the target with a process that is certainly alive, by starting
	// another one if need be. Nil: the one that there is has to do.
	Fresh func(ctx context.Context) (Target, error)
	RunID string
	Now   func() time.Time
}

// Certificate is what is deployed.
type Certificate struct {
	Lineage     string
	Version     int
	Identifiers []model.Identifier
	Issued      model.Issued
	// Paths in live/.
	Paths model.Paths
	// KeyPath is where the key is, if it is not ours; empty: beside the rest.
	KeyPath string
}

// Run deploys to one target. The state that it returns is to be kept, on an
// error too: then the target serves what it served before, or the error says
// that it does not.
func Run(ctx context.Context, d Deps, t Target, c Certificate, before model.Target) (model.Target, error) {
	after := before
	after.At = d.Now().UTC()
	w := &work{Deps: d, target: t, cert: c, run: d.RunID}
	err := w.whole(ctx)
	if err != nil {
		after.Error = err.Error()
		return after, err
	}
	after.Error, after.Deployed, after.Endpoints, after.Proven = "", c.Version, w.endpoints, 0
	if len(w.endpoints) > 0 {
		after.Proven = c.Version
	}
	return after, nil
}

// work is one deployment on its way.
type work struct {
	Deps
	target Target
	cert   Certificate

	entry Entry
	// run that began it.
	run   string
	from  int
	moved bool
	// checkpoint that was finalised; empty: none, or, if unsure is set, one that
	// Save did not live to tell of.
	checkpoint string
	unsure     bool
	rolledBack bool
	restarted  bool

	mu sync.Mutex
	// staging is the name that Deploy is called for, while it is.
	staging   []model.Identifier
	endpoints []model.Endpoint
	failures  []error
}

func (w *work) name() string { return w.target.Config.Name }

func (w *work) whole(ctx context.Context) (err error) {
	if w.from, err = w.Pointers.Pointer(w.name(), w.cert.Lineage); err != nil {
		return fmt.Errorf("read what %s serves: %w", w.name(), err)
	}
	if w.entry, err = w.Journal.Deploying(Begun{
		Lineage: w.cert.Lineage, Identifiers: w.cert.Identifiers, Instance: w.target.Config,
		From: w.from, To: w.cert.Version, RunID: w.run,
	}); err != nil {
		return fmt.Errorf("journal the deployment to %s: %w", w.name(), err)
	}
	if err = w.forward(ctx); err != nil {
		err = fmt.Errorf("deploy to %s: %w", w.name(), err)
		if undo := w.back(context.WithoutCancel(ctx)); undo != nil {
			// What is left has to be mended, so the journal keeps it.
			return errors.Join(err, fmt.Errorf("put %s back to what it served before: %w", w.name(), undo))
		}
	}
	return errors.Join(err, w.entry.Done())
}

func (w *work) forward(ctx context.Context) error {
	w.Story.Tell(w.cert.Lineage, "deploying version %d to %s", w.cert.Version, w.name())
	if w.from == 0 {
		// A server's configuration may name it as soon as Deploy is called.
		if err := w.move(w.cert.Version); err != nil {
			return err
		}
	}
	if err := w.stage(ctx); err != nil {
		return err
	}
	if err := w.told(w.target.ConfigTest(w.operation(ctx, "test"), w)); err != nil {
		return fmt.Errorf("test the configuration: %w", err)
	}
	if w.from != 0 && w.from != w.cert.Version {
		if err := w.move(w.cert.Version); err != nil {
			return err
		}
		if err := w.told(w.target.ConfigTest(w.operation(ctx, "test-moved"), w)); err != nil {
			return fmt.Errorf("test the configuration with the new certificate: %w", err)
		}
	}
	if err := w.entry.Restarting(); err != nil {
		return fmt.Errorf("journal the restart: %w", err)
	}
	w.restarted = true
	if err := w.told(w.target.Restart(w.operation(ctx, "restart"), w)); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return w.prove(ctx)
}

// stage calls Deploy and Save for each name, then finalises the checkpoint.
func (w *work) stage(ctx context.Context) error {
	for _, id := range w.cert.Identifiers {
		name := id.String()
		w.stageFor(id)
		if err := w.told(w.target.Deploy(w.operation(ctx, "deploy "+name), w.deployment(name), w)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		w.stageFor(w.cert.Identifiers...)
		_, err := w.target.Save(w.operation(ctx, "save "+name), sdk.SaveRequest{}, w)
		if err := w.told(err); err != nil {
			return fmt.Errorf("save %s: %w", name, err)
		}
	}
	err := w.finalise(ctx)
	if err := w.told(err); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if w.checkpoint == "" {
		return nil
	}
	if err := w.entry.Saved(w.checkpoint); err != nil {
		return fmt.Errorf("journal the checkpoint: %w", err)
	}
	return nil
}

// finalise calls Save with the title. A call that broke may have finalised all
// the same.
func (w *work) finalise(ctx context.Context) error {
	c, err := w.target.Save(w.operation(ctx, "save"), sdk.SaveRequest{Title: title}, w)
	if w.unsure = broken(err); err == nil {
		w.checkpoint = c.ID
	}
	return err
}

func (w *work) deployment(name string) sdk.Deployment {
	out := sdk.Deployment{
		Lineage: w.cert.Lineage, Name: name, Names: model.Names(w.cert.Identifiers),
		LeafPEM: w.cert.Issued.LeafPEM, ChainPEM: w.cert.Issued.ChainPEM, FullchainPEM: w.cert.Issued.FullchainPEM,
		Paths: w.cert.Paths, ConfigPaths: w.Pointers.DeployedPaths(w.name(), w.cert.Lineage),
	}
	if w.cert.KeyPath != "" {
		out.ConfigPaths.Privkey = w.cert.KeyPath
	}
	if w.target.Description.Permissions.Key == sdk.KeyBytes {
		out.KeyPEM = w.cert.Issued.KeyPEM
	}
	return out
}

func (w *work) move(version int) error {
	w.moved = true
	if err := w.Pointers.SetPointer(w.name(), w.cert.Lineage, version); err != nil {
		return fmt.Errorf("move the pointer of %s: %w", w.name(), err)
	}
	return nil
}

// prove asks every endpoint for the new leaf, all at once.
func (w *work) prove(ctx context.Context) error {
	prove := w.Prove
	if prove == nil {
		prove = Handshake
	}
	errs := make([]error, len(w.endpoints))
	var all sync.WaitGroup
	for i, e := range w.endpoints {
		all.Go(func() {
			if err := prove(ctx, e, w.cert.Issued.LeafPEM); err != nil {
				errs[i] = fmt.Errorf("prove that %s serves the new certificate: %w", e.Address, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (w *work) operation(ctx context.Context, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{
		// The run is in it: to deploy a version again is no retry.
		ID:    fmt.Sprintf("%s/%s/%d/%s/%s", w.cert.Lineage, w.name(), w.cert.Version, w.run, step),
		RunID: w.RunID, Lineage: w.cert.Lineage, Attempt: 1, Identifiers: w.cert.Identifiers,
	})
}

// told is the error of a call with what its results have reported as failures.
func (w *work) told(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		err = errors.Join(w.failures...)
	}
	w.failures = nil
	return err
}

// stageFor says for which names endpoints are reported that name none.
func (w *work) stageFor(ids ...model.Identifier) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.staging = ids
}

// The work is its own reporter: results are collected, the rest is told.

func (w *work) reporter() sdk.Reporter { return w.Story.Reporter(w.cert.Lineage, w.name()) }

// Progress implements sdk.Reporter.
func (w *work) Progress(subject, message string) { w.reporter().Progress(subject, message) }

// Say implements sdk.Reporter.
func (w *work) Say(to sdk.Stream, text string) { w.reporter().Say(to, text) }

// Ask implements sdk.Reporter.
func (w *work) Ask(ctx context.Context, text string) (string, error) {
	return w.reporter().Ask(ctx, text)
}

// Result implements sdk.Reporter.
func (w *work) Result(r sdk.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Err != nil {
		w.failures = append(w.failures, r.Err)
	}
	for _, e := range r.Endpoints {
		if e.ServerName == "" {
			e.ServerName = serverName(w.staging)
		}
		if !slices.Contains(w.endpoints, e) {
			w.endpoints = append(w.endpoints, e)
		}
	}
}

// serverName is a name that can be asked for: a wildcard is filled in.
func serverName(ids []model.Identifier) string {
	for _, id := range ids {
		if !id.Wildcard {
			return id.Value
		}
	}
	for _, id := range ids {
		return "certwright." + id.Value
	}
	return ""
}
