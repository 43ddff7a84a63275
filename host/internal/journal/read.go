package journal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// ErrNewer is wrapped by errors about a journal of a newer certwright.
var ErrNewer = errors.New("written by a newer certwright")

// CorruptError is about one line of a journal that cannot be read. What it
// recorded is not known.
type CorruptError struct {
	File string
	Line int
	Err  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal %s, line %d: cannot be read: %v", e.File, e.Line, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// contents is what a journal says.
type contents struct {
	// pending entries in the order of their sequence numbers.
	pending []Entry
	corrupt []error
	lastSeq int64
	// whole is where the last line that has its end ends.
	whole int64
}

func (c *contents) fail(file string, line int, err error) {
	c.corrupt = append(c.corrupt, &CorruptError{File: file, Line: line, Err: err})
}

// read understands a journal. The error is for a file that must be left alone
// as a whole; what is wrong with single lines is in contents.corrupt.
func read(file string, data []byte) (contents, error) {
	var c contents
	c.whole = int64(bytes.LastIndexByte(data, '\n') + 1)
	lines := bytes.Split(data[:c.whole], []byte("\n"))
	lines = lines[:len(lines)-1] // what follows the last end of line
	if len(lines) == 0 {
		return c, nil
	}
	var h header
	switch err := json.Unmarshal(lines[0], &h); {
	case err != nil:
		c.fail(file, 1, err)
	case h.V > formatVersion:
		return c, sdk.Hint(fmt.Errorf("read journal %s: format %d is %w (this one knows %d)", file, h.V, ErrNewer, formatVersion),
			"run the certwright that wrote it, or a newer one, so that it can end what it began")
	case h.V < 1:
		c.fail(file, 1, errors.New(`no format version "v"`))
	}
	c.apply(file, c.records(file, lines[1:]))
	return c, nil
}

type numbered struct {
	record
	line int
}

// records gives the lines that can be read, in the order of their sequence.
func (c *contents) records(file string, lines [][]byte) []numbered {
	var records []numbered
	for i, line := range lines {
		r := numbered{line: i + 2}
		if err := json.Unmarshal(line, &r.record); err != nil {
			c.fail(file, r.line, err)
			continue
		}
		if r.Seq < 1 {
			c.fail(file, r.line, fmt.Errorf("its sequence number is %d", r.Seq))
			continue
		}
		records = append(records, r)
	}
	slices.SortStableFunc(records, func(a, b numbered) int { return cmp.Compare(a.Seq, b.Seq) })
	unreadable := len(c.corrupt) > 0
	records = slices.DeleteFunc(records, func(r numbered) bool {
		switch {
		case r.Seq == c.lastSeq:
			c.fail(file, r.line, fmt.Errorf("its sequence number %d is another line's", r.Seq))
			return true
		case r.Seq != c.lastSeq+1 && !unreadable:
			c.fail(file, r.line, fmt.Errorf("its sequence number is %d, after %d", r.Seq, c.lastSeq))
		}
		c.lastSeq = r.Seq
		return false
	})
	return records
}

// apply plays the records back.
func (c *contents) apply(file string, records []numbered) {
	open := map[string]*Entry{}
	for _, r := range records {
		if err := play(open, file, r.record); err != nil {
			c.fail(file, r.line, err)
		}
	}
	for _, e := range open {
		c.pending = append(c.pending, *e)
	}
	slices.SortFunc(c.pending, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
}

func play(open map[string]*Entry, file string, r record) error {
	begun := Entry{File: file, Seq: r.Seq, ID: entryID(r.Seq)}
	switch {
	case r.Op == opPerform && r.Perform != nil:
		begun.Perform = performFromWire(r.Perform)
	case r.Op == opDeploy && r.Deploy != nil:
		begun.Deploy = r.Deploy
		begun.Deploy.Checkpoint, begun.Deploy.Restarting = r.Deploy.Undo, r.Deploy.Undo != ""
	case r.Op == opOrder && r.Order != nil:
		begun.Order = r.Order
	default:
		return continued(open, r)
	}
	open[begun.ID] = &begun
	return nil
}

// continued plays a record that is about an entry.
func continued(open map[string]*Entry, r record) error {
	if r.Op == opDone && len(r.IDs) > 0 {
		var errs []error
		for _, id := range r.IDs {
			errs = append(errs, continued(open, record{Op: opDone, ID: id}))
		}
		return errors.Join(errs...)
	}
	e := open[r.ID]
	if e == nil {
		return fmt.Errorf("%q is about entry %q, which is not pending", r.Op, r.ID)
	}
	switch {
	case r.Op == opReceipts && e.Perform != nil:
		for _, receipt := range r.Receipts {
			for i := range e.Perform.Challenges {
				if c := &e.Perform.Challenges[i]; c.ID == receipt.ChallengeID {
					c.Receipt = receipt.Data
				}
			}
		}
	case r.Op == opCleaned && e.Perform != nil:
		e.Perform.Challenges = slices.DeleteFunc(e.Perform.Challenges, func(c model.Challenge) bool {
			return slices.Contains(r.Cleaned, c.ID)
		})
		if len(e.Perform.Challenges) == 0 {
			delete(open, r.ID)
		}
	case r.Op == opStep && e.Deploy != nil:
		return stepped(e.Deploy, r)
	case r.Op == opDone:
		delete(open, r.ID)
	case r.Op == opFailed:
		e.Attempts++
	default:
		return fmt.Errorf("operation %q is not known for entry %s", r.Op, r.ID)
	}
	return nil
}

func stepped(d *Deploy, r record) error {
	switch r.Step {
	case stepSaved:
		d.Checkpoint = r.Checkpoint
	case stepRestarting:
		d.Restarting = true
	case stepRolledBack:
		d.RolledBack = true
	default:
		return fmt.Errorf("the step %q is not known for entry %s", r.Step, r.ID)
	}
	return nil
}

func entryID(seq int64) string { return strconv.FormatInt(seq, 10) }
