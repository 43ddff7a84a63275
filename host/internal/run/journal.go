package run

import (
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
)

// journalling is the journal as the stages know it.
type journalling struct {
	*journal.Journal
	// instances of the request that is ordered.
	instances map[string]model.Instance
}

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
func (j journalling) Ordering(r model.Request, o model.Order) (func() error, error) {
	id, err := j.Order(journal.Order{
		Lineage: r.Name, Server: r.Server, Account: r.Account, OrderURL: o.URL, OrderID: order.ID(o.URL), Expires: o.Expires,
		Request: r, Instances: j.instances,
	})
	return func() error { return j.OrderDone(id) }, err
}

// Deploying implements deploy.Journal.
func (j journalling) Deploying(lineage string, i model.Instance, from, to int) (func() error, error) {
	id, err := j.Journal.Deploying(journal.Deploy{Lineage: lineage, Instance: i, From: from, To: to, Created: from == 0})
	return func() error { return j.DeployDone(id, "done") }, err
}
