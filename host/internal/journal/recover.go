package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/sdk"
)

// ErrHeld is wrapped by what a caller of [Recover] returns for an entry that
// another process works on: it stays as it is, and is not counted.
var ErrHeld = errors.New("another process works on it")

// maxAttempts is after how many failures an entry no longer blocks.
const maxAttempts = 3

// FailedError is about an entry that could not be recovered this time.
type FailedError struct {
	Entry Entry
	Err   error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("undo what an earlier run left, %s (attempt %d of %d, journal %s): %v", e.Entry, e.Entry.Attempts, maxAttempts, e.Entry.File, e.Err)
}

func (e *FailedError) Unwrap() error { return e.Err }

// StuckError is about an entry that could not be recovered three times or more.
// It is a warning; later runs go on trying.
type StuckError struct {
	Entry Entry
	Err   error
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("undo what an earlier run left, %s (failed %d times or more, journal %s): %v", e.Entry, maxAttempts, e.Entry.File, e.Err)
}

func (e *StuckError) Unwrap() error { return e.Err }

// Split tells the warnings (StuckError and CorruptError) in an error of
// [Recover] or [Pending] from the rest, which is nil if nothing blocks.
func Split(err error) (warnings []error, blocking error) {
	if err == nil {
		return nil, nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, e := range joined.Unwrap() {
			w, b := Split(e)
			warnings = append(warnings, w...)
			rest = append(rest, b)
		}
		return warnings, errors.Join(rest...)
	}
	var stuck *StuckError
	var corrupt *CorruptError
	if errors.As(err, &stuck) || errors.As(err, &corrupt) {
		return []error{err}, nil
	}
	return nil, err
}

// Pending gives what unlocked journals still name, for a note. It changes
// nothing and waits for nobody. What it cannot read is in the error; the
// entries are good all the same.
func Pending(dir string) ([]Entry, error) {
	names, err := list(dir)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	var errs []error
	for _, name := range names {
		c, err := peek(filepath.Join(dir, name))
		entries = append(entries, c.pending...)
		errs = append(append(errs, err), c.corrupt...)
	}
	return entries, errors.Join(errs...)
}

// peek reads a journal if its run is dead.
func peek(path string) (contents, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // ended meanwhile
		return contents{}, nil
	}
	if err != nil {
		return contents{}, disk.Error("read the journal", path, err)
	}
	defer f.Close() // it was only read
	err = disk.Flock(f, unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return contents{}, nil
	}
	if err == nil {
		err = disk.Flock(f, unix.LOCK_UN)
	}
	if err != nil {
		return contents{}, disk.Error("look who holds the journal", path, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return contents{}, disk.Error("read the journal", path, err)
	}
	return read(filepath.Base(path), data)
}

// Recover undoes what dead runs left. It calls fn for every pending entry of
// every journal that nobody holds, oldest first, while it holds the journal
// itself: no entry is handed to two processes. fn MUST be idempotent; an error
// of it is counted in the journal, and the entry comes again in the next run; one
// that wraps [ErrHeld] is not, and is no error of Recover.
// A file that has nothing left is removed. The error holds a [*FailedError] or
// [*StuckError] for each entry that remains and a [*CorruptError] for each line
// that could not be read; see [Split]. A cancelled context counts nothing.
func Recover(ctx context.Context, dir string, fn func(context.Context, Entry) error) error {
	names, err := list(dir)
	if err != nil {
		return err
	}
	errs := []error{sweep(dir)}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("recover what earlier runs left: %w", err))...)
		}
		errs = append(errs, recoverFile(ctx, filepath.Join(dir, name), fn))
	}
	return errors.Join(errs...)
}

func recoverFile(ctx context.Context, path string, fn func(context.Context, Entry) error) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk.Error("recover the journal", path, err)
	}
	defer f.Close() // what was written was synced, or failed already
	dead, err := lockDead(ctx, f)
	if err != nil {
		return disk.Error("lock the journal", path, err)
	}
	if !dead || !still(path, f) {
		return nil
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return disk.Error("read the journal", path, err)
	}
	c, err := read(filepath.Base(path), data)
	if err != nil {
		return err
	}
	if c.whole < int64(len(data)) {
		// Half a line must not stand before the lines that we add.
		if err := f.Truncate(c.whole); err != nil {
			return disk.Error("repair the journal", path, err)
		}
	}
	l := &file{f: f, path: path, end: c.whole, seq: c.lastSeq}
	left, err := l.replay(ctx, c.pending, fn)
	if left > 0 {
		return errors.Join(append(c.corrupt, err)...)
	}
	return errors.Join(append(c.corrupt, err, l.retire(len(c.corrupt) > 0))...)
}

// replay hands the entries over and says how many remain.
func (l *file) replay(ctx context.Context, entries []Entry, fn func(context.Context, Entry) error) (left int, err error) {
	var errs []error
	left = len(entries)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return left, errors.Join(append(errs, fmt.Errorf("undo what an earlier run left, %s: %w", e, err))...)
		}
		e.recovering = l
		err := fn(ctx, e)
		e.recovering = nil
		switch {
		case err == nil:
			left--
			_, err = l.append(record{Op: opDone, ID: e.ID, Outcome: "recovered"}, true)
			errs = append(errs, err)
		case errors.Is(err, ErrHeld):
		case ctx.Err() != nil: // cancelled, not failed
			errs = append(errs, fmt.Errorf("undo what an earlier run left, %s: %w", e, err))
		default:
			errs = append(errs, l.failed(e, err)...)
		}
	}
	return left, errors.Join(errs...)
}

func (l *file) failed(e Entry, err error) []error {
	var errs []error
	if e.Attempts < maxAttempts {
		e.Attempts++
		// The text of the error stays out of the file: it may quote anything.
		_, countErr := l.append(record{Op: opFailed, ID: e.ID}, true)
		errs = append(errs, countErr)
	}
	if e.Attempts >= maxAttempts {
		return append(errs, sdk.Hint(&StuckError{Entry: e, Err: err}, "%s", stuckHint(err, l.path)))
	}
	return append(errs, &FailedError{Entry: e, Err: err})
}

func stuckHint(err error, path string) string {
	hint := "remove by hand what is named there, then delete " + path
	if p := sdk.ProblemOf(err); p.Hint != "" {
		hint = p.Hint + "; or " + hint
	}
	return hint
}

// retire removes a journal that has nothing left, or keeps it for a person.
func (l *file) retire(corrupt bool) error {
	if !corrupt {
		return l.remove()
	}
	to := l.path + ".corrupt"
	if err := os.Rename(l.path, to); err != nil {
		return disk.Error("rename the journal "+l.path+" to", to, err)
	}
	return disk.Sync(filepath.Dir(to))
}

// probePoll is how soon a lock that only a reader held is tried again.
const probePoll = 5 * time.Millisecond

// lockDead locks a journal if its run is dead. A run that lives, and another
// Recover, hold it exclusively; Pending holds it shared, for an instant, and
// must not be mistaken for them.
func lockDead(ctx context.Context, f *os.File) (bool, error) {
	tick := time.NewTicker(probePoll)
	defer tick.Stop()
	for {
		err := disk.Flock(f, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err == nil, err
		}
		err = disk.Flock(f, unix.LOCK_SH|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		if err == nil {
			err = disk.Flock(f, unix.LOCK_UN)
		}
		if err != nil {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// still says whether path leads to the file that was locked: between opening
// and locking, its run or another Recover may have removed it.
func still(path string, f *os.File) bool {
	a, errA := os.Stat(path)
	b, errB := f.Stat()
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// sweep removes files that never got their name, of runs that are dead.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk.Error("list the journals in", dir, err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) {
			errs = append(errs, sweepOne(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func sweepOne(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk.Error("remove", path, err)
	}
	defer f.Close() // it was not even read
	if err := disk.Flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // its run lives
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return disk.Error("remove", path, err)
	}
	return nil
}
