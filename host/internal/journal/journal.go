package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Journal is the record of one run. It is safe for concurrent use.
type Journal struct {
	dir string

	mu     sync.Mutex
	file   *file
	closed bool
	// told of every record that was written; tests stop the process there.
	told func(string)
	// pending entries; of a Perform, the challenges that are not cleaned.
	pending map[string]*pending
}

type pending struct {
	op         string
	challenges []string
}

// Open prepares the journal of a run. Nothing is on disk before its first
// record: a run that does nothing leaves no file.
func Open(dir string) (*Journal, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the journal's directory %s: %w", dir, err)
	}
	return &Journal{dir: abs, pending: map[string]*pending{}}, nil
}

// OnRecord has f told of every record that is written. It is there for tests
// that stop the process at each, and MUST be called before the first record.
func (j *Journal) OnRecord(f func(what string)) { j.told = f }

// Performing records challenges in one durable record. It MUST have returned
// before the plugin is asked to Perform.
func (j *Journal) Performing(p Perform) (id string, err error) {
	challenges, err := challengeIDs(p)
	if err != nil {
		return "", err
	}
	return j.begin(record{Op: opPerform, Perform: performToWire(p)}, challenges)
}

// Receipts records what Perform reported, all in one durable record. A caller
// that gets receipts fast hands over those that came meanwhile together.
func (j *Journal) Receipts(id string, receipts []Receipt) error {
	f, err := j.entry(id, opPerform)
	if err != nil {
		return err
	}
	_, err = f.append(record{Op: opReceipts, ID: id, Receipts: receipts}, true)
	return err
}

// Cleaned records challenges whose response was taken away. The entry is done
// when it was told of all. It is not synced: a second Cleanup does no harm.
func (j *Journal) Cleaned(id string, challengeIDs []string) error {
	f, err := j.entry(id, opPerform)
	if err != nil {
		return err
	}
	if _, err := f.append(record{Op: opCleaned, ID: id, Cleaned: challengeIDs}, false); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.pending[id]; e != nil {
		e.challenges = slices.DeleteFunc(e.challenges, func(c string) bool { return slices.Contains(challengeIDs, c) })
		if len(e.challenges) == 0 {
			delete(j.pending, id)
		}
	}
	return nil
}

// Deploying records a deployment. It MUST have returned before the target or
// its pointer is touched.
func (j *Journal) Deploying(d Deploy) (id string, err error) {
	return j.begin(record{Op: opDeploy, Deploy: &d}, nil)
}

// Saved records that a deployment has finalised a checkpoint.
func (j *Journal) Saved(id, checkpoint string) error {
	return j.step(id, record{Step: stepSaved, Checkpoint: checkpoint})
}

// Restarting records that a deployment is about to restart its target. It MUST
// have returned before that.
func (j *Journal) Restarting(id string) error { return j.step(id, record{Step: stepRestarting}) }

// RolledBack records that the checkpoint of a deployment was taken back.
func (j *Journal) RolledBack(id string) error { return j.step(id, record{Step: stepRolledBack}) }

func (j *Journal) step(id string, r record) error {
	f, err := j.entry(id, opDeploy)
	if err != nil {
		return err
	}
	r.Op, r.ID = opStep, id
	_, err = f.append(r, true)
	return err
}

// DeployDone records that a deployment has ended, well or rolled back; outcome
// is for a person who reads the file.
func (j *Journal) DeployDone(id, outcome string) error { return j.done(id, opDeploy, outcome) }

// DeploysDone records that several deployments have ended well: all of them, or
// if the process dies in between none.
func (j *Journal) DeploysDone(ids []string) error {
	var f *file
	for _, id := range ids {
		var err error
		if f, err = j.entry(id, opDeploy); err != nil {
			return err
		}
	}
	if f == nil {
		return nil
	}
	if _, err := f.append(record{Op: opDone, IDs: ids}, true); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, id := range ids {
		delete(j.pending, id)
	}
	return nil
}

// Order records an order. It MUST have returned before its key is used.
func (j *Journal) Order(o Order) (id string, err error) {
	return j.begin(record{Op: opOrder, Order: &o}, nil)
}

// OrderDone records that an order has ended: its certificate is in the store,
// or it never will be.
func (j *Journal) OrderDone(id string) error { return j.done(id, opOrder, "") }

// Close ends the run. The file is removed if nothing is pending, else it stays,
// to be recovered by the next run. Close may be called twice.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	f := j.file
	if f == nil {
		return nil
	}
	j.file = nil
	var err error
	if len(j.pending) == 0 {
		err = f.remove()
	}
	return errors.Join(err, f.f.Close())
}

func (j *Journal) begin(r record, challenges []string) (id string, err error) {
	f, err := j.open()
	if err != nil {
		return "", err
	}
	seq, err := f.append(r, true)
	if err != nil {
		return "", err
	}
	id = entryID(seq)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending[id] = &pending{op: r.Op, challenges: challenges}
	return id, nil
}

func (j *Journal) open() (*file, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, fmt.Errorf("write the journal in %s: %w", j.dir, os.ErrClosed)
	}
	if j.file == nil {
		f, err := create(j.dir)
		if err != nil {
			return nil, err
		}
		f.told = j.told
		j.file = f
	}
	return j.file, nil
}

// entry gives the file, if an entry of that kind is pending.
func (j *Journal) entry(id, op string) (*file, error) {
	f, err := j.open()
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.pending[id]
	if e == nil || e.op != op {
		return nil, fmt.Errorf("write the journal %s: no %s with ID %q is pending", f.path, op, id)
	}
	return f, nil
}

// done of an order is not synced: who recovers it finds out that it was done. Of
// a deployment it is: what has gone well must not be taken back.
func (j *Journal) done(id, op, outcome string) error {
	f, err := j.entry(id, op)
	if err != nil {
		return err
	}
	if _, err := f.append(record{Op: opDone, ID: id, Outcome: outcome}, op == opDeploy); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.pending, id)
	return nil
}
