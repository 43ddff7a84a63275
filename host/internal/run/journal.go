package run

import (
	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
)

// journalling is the journal as the stages know it.
type journalling struct {
	*journal.Journal
	// instances of the request that is ordered.
	instances map[string]model.Instance
	// follows is the version that there is; 0: none.
	follows int
	// resumed ends what the journal holds of an order of an interrupted run, when
	// another entry has taken its place; nil: there is nothing.
	resumed func() error
	// asked is the request as it is kept with the lineage; what is ordered may
	// have the certificate request of a hook.
	asked model.Request
	// engine knows the secrets, which have no place in a journal; nil: there are
	// none.
	engine *Engine
}

// Performing implements order.Journal.
func (j journalling) Performing(lineage, operation string, i model.Instance, challenges []model.Challenge) (order.Entry, error) {
	id, err := j.Journal.Performing(journal.Perform{
		Instance: i, Lineage: lineage, OperationID: operation, Challenges: challenges,
	})
	return journalEntry{j.Journal, id, lineage, i.Name, j.engine}, err
}

type journalEntry struct {
	journal           *journal.Journal
	id                string
	lineage, instance string
	engine            *Engine
}

func (e journalEntry) Receipts(receipts []order.Receipt) error {
	out := make([]journal.Receipt, 0, len(receipts))
	for _, r := range receipts {
		if e.engine != nil && e.engine.Secrets.Redact(string(r.Data)) != string(r.Data) {
			// This run still has it; one that finds the journal must do without,
			// as Cleanup can.
			e.engine.Terminal.Warn(e.lineage, "%s put a secret into a receipt, which is not written to the journal", e.instance)
			continue
		}
		out = append(out, journal.Receipt(r))
	}
	return e.journal.Receipts(e.id, out)
}

func (e journalEntry) Cleaned(ids []string) error { return e.journal.Cleaned(e.id, ids) }

// Ordering implements order.Journal.
func (j journalling) Ordering(r model.Request, o model.Order) (func() error, error) {
	var asked *model.Request
	if len(r.CSR) > len(j.asked.CSR) {
		asked = &j.asked
	}
	id, err := j.Order(journal.Order{
		Asked: asked, Lineage: r.Name, Server: r.Server, Account: r.Account, OrderURL: o.URL, OrderID: order.ID(o.URL), Expires: o.Expires,
		Request: r, Instances: j.instances, Follows: j.follows,
	})
	if err == nil && j.resumed != nil {
		err = j.resumed()
	}
	return func() error { return j.OrderDone(id) }, err
}

// Deploying implements deploy.Journal.
func (j journalling) Deploying(b deploy.Begun) (deploy.Entry, error) {
	id, err := j.Journal.Deploying(journal.Deploy{
		Lineage: b.Lineage, Identifiers: b.Identifiers, Instance: b.Instance, From: b.From, To: b.To, RunID: b.RunID, Undo: b.Undo,
	})
	return deployEntry{j.Journal, id}, err
}

// Deployed implements deploy.Journal.
func (j journalling) Deployed(entries []deploy.Entry) error {
	var ids []string
	for _, e := range entries {
		if mine, ok := e.(deployEntry); ok {
			ids = append(ids, mine.id)
		}
	}
	return j.DeploysDone(ids)
}

type deployEntry struct {
	journal *journal.Journal
	id      string
}

func (e deployEntry) Saved(checkpoint string) error { return e.journal.Saved(e.id, checkpoint) }
func (e deployEntry) Restarting() error             { return e.journal.Restarting(e.id) }
func (e deployEntry) RolledBack() error             { return e.journal.RolledBack(e.id) }
func (e deployEntry) Done() error                   { return e.journal.DeployDone(e.id, "done") }

// undoing is a deployment in the journal of a dead run.
type undoing struct{ journal.Entry }

func (undoing) Restarting() error { return nil }
func (undoing) Done() error       { return nil }
