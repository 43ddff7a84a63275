package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/host/internal/disk"
)

// file is a journal that this process holds the lock of.
type file struct {
	f    *os.File
	path string
	told func(string)

	mu  sync.Mutex // guards what is below
	end int64
	seq int64
	// broken is set when the end of the file is no longer known to be good.
	broken error

	syncing sync.Mutex // one fsync at a time; guards synced
	synced  int64
}

const newPrefix = ".new-"

// create makes the file of a run. It gets its name only when it is locked and
// has its first line, so that nobody ever takes it for a dead one.
func create(dir string) (*file, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, disk.Error("make the journal's directory", dir, err)
	}
	if err := disk.Sync(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	for {
		f, err := tryCreate(dir)
		// A sweep that met the file between its making and its locking has
		// taken it away.
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
}

func tryCreate(dir string) (*file, error) {
	tmp, err := os.CreateTemp(dir, newPrefix+"*")
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) { // not ours to try again
			return nil, fmt.Errorf("make a journal: the directory %s is gone", dir)
		}
		return nil, disk.Error("make a journal in", dir, err)
	}
	f, err := name(dir, tmp)
	if err != nil {
		_ = os.Remove(tmp.Name())
		_ = tmp.Close()
		return nil, disk.Error("make a journal in", dir, err)
	}
	return f, nil
}

// name locks a new file, writes its first line and gives it its name. No name
// is given twice: the temporary ones differ while they exist, and the directory
// is listed after ours was made.
func name(dir string, tmp *os.File) (*file, error) {
	if err := disk.Flock(tmp, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, err
	}
	line, err := encode(header{V: formatVersion})
	if err != nil {
		return nil, err
	}
	if _, err := tmp.Write(line); err != nil {
		return nil, err
	}
	if err := tmp.Sync(); err != nil {
		return nil, err
	}
	names, err := list(dir)
	if err != nil {
		return nil, err
	}
	last := int64(0)
	if len(names) > 0 {
		last = number(names[len(names)-1])
	}
	path := filepath.Join(dir, fmt.Sprintf("%08d-%s%s", last+1, strings.TrimPrefix(filepath.Base(tmp.Name()), newPrefix), suffix))
	if err := os.Rename(tmp.Name(), path); err != nil {
		return nil, err
	}
	if err := disk.Sync(dir); err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	return &file{f: tmp, path: path, end: int64(len(line)), synced: int64(len(line))}, nil
}

// append writes a record, and with durable set returns when it would survive a
// loss of power. Records that come while another fsync runs share the next.
func (l *file) append(r record, durable bool) (seq int64, err error) {
	seq, end, err := l.write(r)
	if err == nil && durable {
		err = l.sync(end)
	}
	if err == nil && l.told != nil {
		l.told(r.Op + r.Step)
	}
	return seq, err
}

func (l *file) write(r record) (seq, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return 0, 0, fmt.Errorf("write the journal %s: it failed before: %w", l.path, l.broken)
	}
	r.Seq = l.seq + 1
	line, err := encode(r)
	if err != nil {
		return 0, 0, err
	}
	if _, err := l.f.WriteAt(line, l.end); err != nil {
		// Half a line must not stand before the next one.
		if cut := l.f.Truncate(l.end); cut != nil {
			l.broken = cut
		}
		return 0, 0, disk.Error("write the journal", l.path, err)
	}
	l.seq = r.Seq
	l.end += int64(len(line))
	return l.seq, l.end, nil
}

func (l *file) sync(end int64) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.synced >= end {
		return nil
	}
	l.mu.Lock()
	end, err := l.end, l.broken
	l.mu.Unlock()
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		// After a failed fsync the kernel may have dropped what was written;
		// a second one would succeed and mean nothing.
		l.mu.Lock()
		l.broken = err
		l.mu.Unlock()
		return disk.Error("sync the journal", l.path, err)
	}
	l.synced = end
	return nil
}

// remove takes the file away while it is still locked.
func (l *file) remove() error {
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return disk.Error("remove the journal", l.path, err)
	}
	return disk.Sync(filepath.Dir(l.path))
}

const suffix = ".jsonl"

var nameRE = regexp.MustCompile(`^[0-9]{8,18}-[0-9]+\.jsonl$`)

// list gives the names of the journals, by number; a directory that does not
// exist has none.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, disk.Error("list the journals in", dir, err)
	}
	var names []string
	for _, e := range entries {
		if nameRE.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(number(a), number(b)), cmp.Compare(a, b))
	})
	return names, nil
}

// number is of a name that list gave; its expression leaves no room for errors.
func number(name string) int64 {
	digits, _, _ := strings.Cut(name, "-")
	n, _ := strconv.ParseInt(digits, 10, 64)
	return n
}
