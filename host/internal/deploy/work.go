package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// title of the checkpoint, which certbot's users know.
const title = "Deployed ACME Certificate"

// work is one deployment on its way.
type work struct {
	Deps
	target  Target
	fresh   func(context.Context) (Target, error)
	before  model.Target
	enhance map[string][]string
	cert    Certificate

	entry Entry
	// run that began it.
	run   string
	from  int
	moved bool
	// checkpoint that was finalised; no ID: none, or, if unsure is set, one that
	// Save did not live to tell of.
	checkpoint sdk.Checkpoint
	unsure     bool
	rolledBack bool
	// written: something may have been, at the target.
	written   bool
	restarted bool
	// stopped: the server did not run when it was to serve again.
	stopped bool

	mu sync.Mutex
	// staging are the names that results without a server's name are about.
	staging   []model.Identifier
	endpoints []model.Endpoint
	failures  []error
}

func (w *work) name() string { return w.target.Config.Name }

// begin notes what is going to happen.
func (w *work) begin() (err error) {
	if w.from, err = w.Pointers.Pointer(w.name(), w.cert.Lineage); err != nil {
		return fmt.Errorf("read what %s serves: %w", w.name(), err)
	}
	if w.entry, err = w.Journal.Deploying(Begun{
		Lineage: w.cert.Lineage, Identifiers: w.cert.Identifiers, Instance: w.target.Config,
		From: w.from, To: w.cert.Version, RunID: w.run,
	}); err != nil {
		w.entry = nil
		return fmt.Errorf("journal the deployment to %s: %w", w.name(), err)
	}
	return nil
}

// write brings the configuration onto the disk and has it tested. What is served
// stays as it is.
func (w *work) write(ctx context.Context) error {
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
	return nil
}

// point leads the configuration to the new version and has it tested with that.
func (w *work) point(ctx context.Context) error {
	if w.from == 0 || w.from == w.cert.Version {
		return nil
	}
	if err := w.move(w.cert.Version); err != nil {
		return err
	}
	if err := w.told(w.target.ConfigTest(w.operation(ctx, "test-moved"), w)); err != nil {
		return fmt.Errorf("test the configuration with the new certificate: %w", err)
	}
	return nil
}

func (w *work) restart(ctx context.Context) error {
	if err := w.entry.Restarting(); err != nil {
		return fmt.Errorf("journal the restart: %w", err)
	}
	w.restarted = true
	if err := w.told(w.target.Restart(w.operation(ctx, "restart"), w)); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

// stage calls Deploy and Save for each name, then what else is wanted, and
// finalises the checkpoint.
func (w *work) stage(ctx context.Context) error {
	for _, id := range w.cert.Identifiers {
		name := id.String()
		w.stageFor(id)
		err := w.target.Deploy(w.operation(ctx, "deploy "+name), w.deployment(name), w)
		w.written = w.written || broken(err)
		if err := w.told(err); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		w.stageFor(w.cert.Identifiers...)
		_, err = w.target.Save(w.operation(ctx, "save "+name), sdk.SaveRequest{}, w)
		w.written = w.written || err == nil || broken(err)
		if err := w.told(err); err != nil {
			return fmt.Errorf("save %s: %w", name, err)
		}
	}
	for _, enhancement := range slices.Sorted(maps.Keys(w.enhance)) {
		for _, name := range w.enhance[enhancement] {
			if err := w.told(w.target.Enhance(w.operation(ctx, enhancement+" "+name), name, enhancement, w)); err != nil {
				return fmt.Errorf("set %s for %s: %w", enhancement, name, err)
			}
		}
	}
	if err := w.told(w.finalise(ctx)); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if w.checkpoint.ID == "" {
		return nil
	}
	if err := w.entry.Saved(w.checkpoint.ID); err != nil {
		return fmt.Errorf("journal the checkpoint: %w", err)
	}
	return nil
}

// finalise calls Save with the title. A call that broke may have finalised all
// the same.
func (w *work) finalise(ctx context.Context) error {
	c, err := w.target.Save(w.operation(ctx, "save"), sdk.SaveRequest{Title: title}, w)
	if w.unsure = broken(err); err == nil {
		w.checkpoint = c
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
	return w.served(ctx, w.endpoints, w.cert.Issued.LeafPEM, "the new certificate")
}

// served holds that all endpoints show the leaf. One of IPv6, where that is
// switched off, is only worth a warning if another one does.
func (w *work) served(ctx context.Context, endpoints []model.Endpoint, leafPEM []byte, what string) error {
	prove := w.Prove
	if prove == nil {
		prove = Handshake
	}
	errs, warnings := make([]error, len(endpoints)), make([][]string, len(endpoints))
	var all sync.WaitGroup
	for i, e := range endpoints {
		all.Go(func() {
			warnings[i], errs[i] = prove(ctx, e, leafPEM)
		})
	}
	all.Wait()
	proven := slices.Contains(errs, nil)
	for i, err := range errs {
		switch address := endpoints[i].Address; {
		case err == nil:
		case proven && absent(err):
			errs[i], warnings[i] = nil, []string{fmt.Sprintf("%s is not proven, there is no way to it from here: %v", address, err)}
		default:
			errs[i] = fmt.Errorf("prove that %s serves %s: %w", address, what, err)
		}
	}
	for _, text := range slices.Compact(slices.Concat(warnings...)) {
		w.Story.Warn(w.cert.Lineage, "%s: %s", w.name(), text)
	}
	return errors.Join(errs...)
}

// after is the state of the target: with an error as before, but for that.
func (w *work) after(err error) model.Target {
	now := w.Now().UTC()
	if err != nil {
		after := w.before
		after.Error, after.At = err.Error(), now
		return after
	}
	after := model.Target{
		Deployed: w.cert.Version, Endpoints: w.endpoints, Since: now, At: now,
		Enhanced: w.enhanced(), Checkpoints: w.before.Checkpoints,
	}
	if len(w.endpoints) > 0 {
		after.Proven = w.cert.Version
	}
	if w.before.Deployed == after.Deployed && !w.before.Since.IsZero() {
		after.Since = w.before.Since
	}
	if c := w.checkpoint; c.ID != "" {
		after = after.Checkpointed(model.Checkpoint{
			ID: c.ID, At: now, Files: c.Files, From: w.from, Endpoints: w.before.Endpoints, Enhanced: w.before.Enhanced,
		})
	}
	return after
}

// enhanced adds what was set now to what there was.
func (w *work) enhanced() map[string][]string {
	if len(w.enhance) == 0 {
		return w.before.Enhanced
	}
	out := map[string][]string{}
	for _, done := range []map[string][]string{w.before.Enhanced, w.enhance} {
		for enhancement, names := range done {
			all := slices.Concat(out[enhancement], names)
			slices.Sort(all)
			out[enhancement] = slices.Compact(all)
		}
	}
	return out
}

func (w *work) operation(ctx context.Context, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{
		// The run is in it: to deploy a version again is no retry.
		ID:    fmt.Sprintf("%s/%s/%d/%s/%s", w.cert.Lineage, w.name(), w.cert.Version, w.run, step),
		RunID: w.RunID, Lineage: w.cert.Lineage, Attempt: 1, Identifiers: w.cert.Identifiers,
	})
}
