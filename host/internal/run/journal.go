package run

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/sdk"
)

// journalling is the journal as the stages know it.
type journalling struct{ *journal.Journal }

// Performing implements order.Journal.
func (j journalling) Performing(lineage, operation string, i model.Instance, challenges []model.Challenge) (order.Entry, error) {
	id, err := j.Journal.Performing(journal.Perform{
		Instance: i, Lineage: lineage, OperationID: operation, Challenges: challenges,
	})
	return journalEntry{j.Journal, id}, err
}

type journalEntry struct {
	journal *journal.Journal
	id      string
}

func (e journalEntry) Receipts(receipts []order.Receipt) error {
	out := make([]journal.Receipt, 0, len(receipts))
	for _, r := range receipts {
		out = append(out, journal.Receipt(r))
	}
	return e.journal.Receipts(e.id, out)
}

func (e journalEntry) Cleaned(ids []string) error { return e.journal.Cleaned(e.id, ids) }

// Ordering implements order.Journal.
func (j journalling) Ordering(r model.Request, orderID, orderURL string) (func() error, error) {
	id, err := j.Order(journal.Order{
		Lineage: r.Name, Server: r.Server, Account: r.Account, OrderURL: orderURL, OrderID: orderID,
	})
	return func() error { return j.OrderDone(id) }, err
}

// Deploying implements deploy.Journal.
func (j journalling) Deploying(lineage string, i model.Instance, from, to int) (func() error, error) {
	id, err := j.Journal.Deploying(journal.Deploy{Lineage: lineage, Instance: i, From: from, To: to, Created: from == 0})
	return func() error { return j.DeployDone(id, "done") }, err
}

// Recover undoes what runs that were killed have left. What cannot be undone
// three times is only warned of.
func (e *Engine) Recover(ctx context.Context) error {
	t := &team{engine: e, byLineage: map[string]map[string]*member{}, cas: newCAs(e)}
	defer t.stop(ctx)
	err := journal.Recover(ctx, filepath.Join(e.Store.Dir(), "journal"), func(ctx context.Context, entry journal.Entry) error {
		e.Terminal.Tell("", "cleaning up after an interrupted run: %s", entry)
		switch {
		case entry.Perform != nil:
			return e.recoverPerform(ctx, t, *entry.Perform)
		case entry.Deploy != nil:
			return e.recoverDeploy(ctx, t, *entry.Deploy)
		case entry.Order != nil:
			return e.recoverOrder(ctx, *entry.Order)
		}
		return nil
	})
	warnings, blocking := journal.Split(err)
	for _, w := range warnings {
		e.Terminal.Warn("", "%v", w)
	}
	return blocking
}

// recoverPerform has challenges taken away by an instance with the settings
// that it had then.
func (e *Engine) recoverPerform(ctx context.Context, t *team, p journal.Perform) error {
	instance, err := t.recall(ctx, p.Lineage, p.Instance)
	if err != nil {
		return err
	}
	ctx = sdk.WithOperation(ctx, sdk.Operation{ID: p.OperationID + "-recover", RunID: e.RunID, Lineage: p.Lineage, Attempt: 1})
	_, err = order.Clean(ctx, instance.Authenticator(), p.Challenges, e.Terminal.Reporter(p.Lineage, p.Instance.Name))
	return err
}

// recoverDeploy drops what is unfinished and leads the pointer back to what was
// served. The plan then sees a target that is behind, and deploys again.
func (e *Engine) recoverDeploy(ctx context.Context, t *team, d journal.Deploy) error {
	unlock, err := e.Store.Lock(ctx, "lineage-"+d.Lineage, true)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := e.Store.Lineage(d.Lineage)
	if err != nil {
		return err
	}
	if state := l.Targets[d.Instance.Name]; state.Deployed == d.To && state.Error == "" {
		return nil // it was done but for the last line of the journal
	}
	instance, err := t.recall(ctx, d.Lineage, d.Instance)
	if err != nil {
		return err
	}
	ctx = sdk.WithOperation(ctx, sdk.Operation{ID: "recover-" + d.Lineage, RunID: e.RunID, Lineage: d.Lineage, Attempt: 1})
	if err := instance.Installer().Rollback(ctx, 0, e.Terminal.Reporter(d.Lineage, d.Instance.Name)); err != nil {
		return fmt.Errorf("drop what %s has left unfinished: %w", d.Instance.Name, err)
	}
	if d.From == 0 {
		// The configuration may name it already; the next deployment moves it.
		return nil
	}
	return e.Store.SetPointer(d.Instance.Name, d.Lineage, d.From)
}

// recoverOrder drops the key of an order that nobody will finish.
func (e *Engine) recoverOrder(ctx context.Context, o journal.Order) error {
	unlock, err := e.Store.Lock(ctx, "lineage-"+o.Lineage, true)
	if err != nil {
		return err
	}
	defer unlock()
	return e.Store.DropOrder(o.Lineage, o.OrderID)
}

// recall starts an instance as the journal remembers it; one that several
// entries need is started once.
func (t *team) recall(ctx context.Context, lineage string, i model.Instance) (running, error) {
	d, err := t.engine.Plugins.Describe(ctx, i.Plugin)
	if err != nil {
		return running{}, err
	}
	m, err := t.engine.member(config.Instance{Name: i.Name, Plugin: i.Plugin}, i, d)
	if err != nil {
		return running{}, err
	}
	for _, known := range t.byLineage {
		for _, other := range known {
			if other.key() == m.key() {
				return running{other.instance, other.config}, other.err
			}
		}
	}
	m.instance, m.err = t.engine.start(ctx, m)
	key := fmt.Sprintf("%s#%d", lineage, len(t.byLineage))
	t.byLineage[key] = map[string]*member{i.Name: m}
	return running{m.instance, m.config}, m.err
}
