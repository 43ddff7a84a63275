package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// DefaultKeep is how many finalised checkpoints are kept for each label. They
// hold old private keys, so they must not pile up for ever.
const DefaultKeep = 10

// Errors that callers may want to tell apart.
var (
	// ErrHeld: the path belongs to another draft that is not finished.
	ErrHeld = errors.New("held by another unfinished checkpoint")
	// ErrClosed: the draft is finalised or discarded already.
	ErrClosed = errors.New("this checkpoint is closed already")
)

// Store keeps checkpoints in a directory. Its fields are set after [Open] and
// before the first call, and not changed after. Its methods may be called from
// several goroutines, and by several processes on the same directory.
type Store struct {
	// Keep is how many finalised checkpoints are kept for each label; older
	// ones are removed by Finalise. Zero: DefaultKeep.
	Keep int
	// Now gives the time. Nil: time.Now.
	Now func() time.Time
	// Step, if set, is called before each change on disk with a few words about
	// it. It is there for tests that kill the process at every step.
	Step func(what string)

	dir string
}

// Checkpoint is a finalised set of changes.
type Checkpoint struct {
	// ID rises strictly in the order of finalising, as a decimal number. Empty:
	// nothing was changed, there is no checkpoint.
	ID string
	// Label as given to Begin, Title as given to Finalise.
	Label   string
	Title   string
	Created time.Time
	// Operation that it was made by: see Draft.
	Operation string
	// Files that were registered, sorted.
	Files []string
	// Edited, of a checkpoint that was reverted: copies of files that had been
	// changed by somebody else since.
	Edited []string
}

// Open gives the store in a directory, which must be the caller's own and is
// made if it is missing. It changes nothing else; call Recover next.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the checkpoints in %s: %w", dir, err)
	}
	s := &Store{dir: filepath.Join(abs, "checkpoints")}
	for _, d := range []string{s.dir, s.openDir(), s.doneDir(), s.trashDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open the checkpoints in %s: %w", dir, err)
		}
	}
	// It may have been made by hand, or restored with another mode. A plugin that
	// writes nowhere else may not change modes in its sandbox, and need not.
	info, err := os.Stat(s.dir)
	if err == nil && info.Mode().Perm() != 0o700 {
		err = chmodDir(s.dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("open the checkpoints in %s: %w", dir, err)
	}
	return s, nil
}

// What is in the store's directory:
//
//	lock          flocked while the store is read or changed
//	open/TOKEN/   unfinished drafts; the manifest is flocked while one is alive
//	done/ID/      finalised checkpoints
//	trash/        what is only to be deleted
//	edited/       what others had changed before a rollback
//	undo          a rollback that is going on
//	undone        the last rollback
//	notes/        what is to be taken back outside of the files

func (s *Store) openDir() string  { return filepath.Join(s.dir, "open") }
func (s *Store) doneDir() string  { return filepath.Join(s.dir, "done") }
func (s *Store) trashDir() string { return filepath.Join(s.dir, "trash") }

func (s *Store) step(format string, args ...any) {
	if s.Step != nil {
		s.Step(fmt.Sprintf(format, args...))
	}
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// lock keeps other users of the store out until unlock is called.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the checkpoints: %w", err)
	}
	const first, most = 2 * time.Millisecond, 100 * time.Millisecond
	for wait := first; ; wait = min(2*wait, most) {
		locked, err := tryLock(f)
		if locked {
			return func() { _ = f.Close() }, nil
		}
		if err == nil {
			err = pause(ctx, wait)
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock the checkpoints in %s: %w", s.dir, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Begin opens a draft. The label says what it belongs to, for instance the
// certificate's name; checkpoints are counted and can be rolled back by it. It
// may be empty.
func (s *Store) Begin(ctx context.Context, label string) (*Draft, error) {
	return s.begin(ctx, header{Label: label})
}

// BeginTemporary opens a draft that cannot be finalised, only discarded: for
// what a challenge needs. Recover drops such drafts before the others.
func (s *Store) BeginTemporary(ctx context.Context, label string) (*Draft, error) {
	return s.begin(ctx, header{Label: label, Temporary: true})
}

func (s *Store) begin(ctx context.Context, h header) (*Draft, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin a checkpoint: %w", err)
	}
	defer unlock()
	h.Version, h.Token, h.Begun = manifestVersion, rand.Text()[:12], s.now().UTC()
	d := &Draft{store: s, header: h, dir: filepath.Join(s.openDir(), h.Token), index: map[string]int{}}
	if err := d.create(); err != nil {
		_ = os.RemoveAll(d.dir)
		return nil, fmt.Errorf("begin a checkpoint: %w", err)
	}
	return d, nil
}

// List gives the finalised checkpoints, newest first.
func (s *Store) List() ([]Checkpoint, error) {
	done, err := s.finalised()
	out := make([]Checkpoint, 0, len(done))
	for _, f := range done {
		out = append(out, f.checkpoint())
	}
	return out, err
}

// kept is a checkpoint directory as it was read.
type kept struct {
	id  int64
	dir string
	manifest
}

func (k kept) checkpoint() Checkpoint {
	return Checkpoint{
		ID: formatID(k.id), Label: k.header.Label, Title: k.final.Title, Created: k.final.Created,
		Operation: k.final.Operation, Files: k.files(),
	}
}

// finalised reads done/, newest first.
func (s *Store) finalised() ([]kept, error) {
	names, err := os.ReadDir(s.doneDir())
	if err != nil {
		return nil, fmt.Errorf("list the checkpoints: %w", err)
	}
	var out []kept
	var errs []error
	for _, n := range names {
		id, err := strconv.ParseInt(n.Name(), 10, 64)
		if err != nil {
			continue // not ours
		}
		k := kept{id: id, dir: filepath.Join(s.doneDir(), n.Name())}
		k.manifest, err = readManifest(k.dir)
		switch {
		case errors.Is(err, fs.ErrNotExist): // rolled back while we were reading
		case err != nil:
			errs = append(errs, fmt.Errorf("read checkpoint %s: %w", n.Name(), err))
		default:
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b kept) int { return int(min(max(b.id-a.id, -1), 1)) })
	return out, errors.Join(errs...)
}

// nextID is later than every one there is, also when the clock was set back.
func (s *Store) nextID(done []kept) int64 {
	id := s.now().UnixMilli()
	for _, k := range done {
		id = max(id, k.id+1)
	}
	return id
}

// Digits for ten thousand years of milliseconds, so that names sort too.
func formatID(id int64) string { return fmt.Sprintf("%015d", id) }
