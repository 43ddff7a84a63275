package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"unicode/utf8"
)

// Draft is a checkpoint that is not finished. It ends by Finalise or Discard,
// one of which MUST be called. If the process ends before, Recover discards it.
type Draft struct {
	// Operation, if it is set before Finalise, is kept with the checkpoint, so
	// that one who repeats it after a crash finds what it has made.
	Operation string

	store  *Store
	header header
	dir    string

	mu      sync.Mutex
	log     *os.File // the manifest, flocked; nil: closed
	entries []entry
	index   map[string]int
}

// Attributes of a file to be written.
type Attributes struct {
	// Mode, permission bits only. Zero: as it is; of a new file 0600.
	Mode fs.FileMode
	// UID and GID. Nil: as it is, as far as the process may keep it; of a new
	// file what the system gives. What is set here MUST be permitted.
	UID, GID *int
}

// create makes the directory with its manifest. Called under the store's lock,
// so that Recover never sees it without the lock that shows it alive.
func (d *Draft) create() error {
	s := d.store
	s.step("begin: make %s", d.dir)
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return err
	}
	s.step("begin: make the manifest")
	f, err := os.OpenFile(filepath.Join(d.dir, manifestName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if locked, err := tryLock(f); !locked {
		return errors.Join(errors.New("the new manifest cannot be locked"), err, f.Close())
	}
	s.step("begin: write the header")
	err = appendRecord(f, record{Header: &d.header})
	if err == nil {
		err = errors.Join(syncDir(d.dir), syncDir(s.openDir()))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.log = f
	return nil
}

// Touch registers a path that the caller is going to change, create or remove by
// itself: a copy is taken, or it is noted that there is nothing. It MUST be
// called before the change. Only the first call for a path does anything. A
// symlink is registered as such, not what it leads to. The directory that the
// path is in must exist.
func (d *Draft) Touch(ctx context.Context, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _, err := d.touch(ctx, path)
	if err != nil {
		return fmt.Errorf("register %s before it is changed: %w", path, err)
	}
	return nil
}

// touch gives the true path and its entry's number.
func (d *Draft) touch(ctx context.Context, path string) (string, int, error) {
	return d.touchAs(ctx, path, "")
}

// touchAs notes a kind that is known; empty: what is there.
func (d *Draft) touchAs(ctx context.Context, path string, known kind) (string, int, error) {
	if d.log == nil {
		return "", 0, ErrClosed
	}
	path, err := canonical(path)
	if err != nil {
		return "", 0, err
	}
	if n, ok := d.index[path]; ok {
		return path, n, nil
	}
	unlock, err := d.store.lock(ctx)
	if err != nil {
		return "", 0, err
	}
	defer unlock()
	if err := d.store.heldByOther(d.dir, path); err != nil {
		return "", 0, err
	}
	n := len(d.entries)
	e := entry{Path: path, Kind: known}
	if known == "" {
		if e, err = d.store.capture(path, d.dir, fmt.Sprintf("%04d", n)); err != nil {
			return "", 0, err
		}
	}
	d.store.step("touch: register %s", path)
	if err := appendRecord(d.log, record{Entry: &e}); err != nil {
		return "", 0, err
	}
	d.entries = append(d.entries, e)
	d.index[path] = n
	return path, n, nil
}

// WriteFile registers a path and replaces the file by one with this content, in
// one atomic step. Until then the new content is in a file beside it that only
// its owner can read. A symlink is followed: what it leads to is replaced, and
// the symlink stays. If it fails the file is as it was.
func (d *Draft) WriteFile(ctx context.Context, path string, data []byte, want Attributes) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.writeFile(ctx, path, data, want); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (d *Draft) writeFile(ctx context.Context, path string, data []byte, want Attributes) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := Resolve(path)
	if err != nil {
		return err
	}
	path, n, err := d.touch(ctx, path)
	if err != nil {
		return err
	}
	a, err := attributesFor(path, want)
	if err != nil {
		return err
	}
	return d.store.place(bytes.NewReader(data), tempName(path, d.header.Token, n), path, a)
}

// Finalise makes a checkpoint of the draft in one atomic step and closes it. A
// draft that has registered nothing gives a Checkpoint without ID. After an
// error the draft is still open, and Discard is to be called.
func (d *Draft) Finalise(ctx context.Context, title string) (Checkpoint, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.log == nil:
		return Checkpoint{}, fmt.Errorf("finalise %q: %w", title, ErrClosed)
	case d.header.Temporary:
		return Checkpoint{}, fmt.Errorf("finalise %q: a temporary checkpoint can only be discarded", title)
	case title == "":
		return Checkpoint{}, errors.New("finalise a checkpoint: it has no title")
	case ctx.Err() != nil:
		return Checkpoint{}, fmt.Errorf("finalise %q: %w", title, ctx.Err())
	}
	unlock, err := d.store.lock(ctx)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("finalise %q: %w", title, err)
	}
	defer unlock()
	if len(d.entries) == 0 {
		d.close()
		return Checkpoint{}, d.store.remove(d.dir)
	}
	c, err := d.finalise(title)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("finalise %q: %w", title, err)
	}
	d.close()
	// What cannot be removed now is tried again by the next one: the checkpoint
	// is there, and that is what the caller asked for.
	_ = d.store.prune(d.header.Label)
	return c, nil
}

func (d *Draft) finalise(title string) (Checkpoint, error) {
	s := d.store
	done, err := s.finalised()
	if err != nil {
		return Checkpoint{}, err
	}
	after, err := sums(d.entries)
	if err != nil {
		return Checkpoint{}, err
	}
	k := kept{id: s.nextID(done), manifest: manifest{
		header: d.header, entries: d.entries,
		final: closing{Title: title, Operation: d.Operation, Created: s.now().UTC(), After: after},
	}}
	k.dir = filepath.Join(s.doneDir(), formatID(k.id))
	s.step("finalise: write the title")
	if err := appendRecord(d.log, record{Final: &k.final}); err != nil {
		return Checkpoint{}, err
	}
	s.step("finalise: rename")
	if err := os.Rename(d.dir, k.dir); err != nil {
		return Checkpoint{}, err
	}
	if err := errors.Join(syncDir(s.doneDir()), syncDir(s.openDir())); err != nil {
		// Not durable is not finalised: back, so that Discard undoes it.
		back := os.Rename(k.dir, d.dir)
		if back != nil {
			d.dir = k.dir
		}
		return Checkpoint{}, errors.Join(err, back)
	}
	return k.checkpoint(), nil
}

// Discard puts everything back as it was and closes the draft. What cannot be
// put back does not stop the rest; it is tried again by the next Recover.
func (d *Draft) Discard(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log == nil {
		return fmt.Errorf("discard: %w", ErrClosed)
	}
	unlock, err := d.store.lock(ctx)
	if err != nil {
		return fmt.Errorf("discard a checkpoint: %w", err)
	}
	defer unlock()
	d.close()
	return errors.Join(d.store.undo(d.dir, manifest{header: d.header, entries: d.entries}))
}

func (d *Draft) close() {
	_ = d.log.Close() // everything in it was synced
	d.log = nil
}

// canonical gives the one name that a path is registered under: absolute, with
// the symlinks on the way to it resolved, but not itself.
func canonical(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("the path is not absolute")
	}
	if !utf8.ValidString(path) {
		return "", errors.New("the path is not valid UTF-8: rename it")
	}
	path = filepath.Clean(path)
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("its directory: %w", err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// Resolve follows the symlinks at the end of a path and gives the path that
// WriteFile would write to, which need not exist.
func Resolve(path string) (string, error) {
	const most = 40 // as many as Linux follows
	for range most {
		path = filepath.Clean(path)
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // not a symlink, or not there
		}
		if !filepath.IsAbs(link) {
			// The kernel takes the link from the true directory.
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			link = filepath.Join(dir, link)
		}
		path = link
	}
	return "", fmt.Errorf("%s: too many symlinks", path)
}
