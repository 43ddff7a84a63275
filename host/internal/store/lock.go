package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/host/internal/disk"
)

// LineageLock names the lock of a lineage.
func LineageLock(name string) string { return "lineage-" + name }

// AccountLock names the lock of an account: shared while an order uses it,
// exclusive for what changes it.
func AccountLock(name string) string { return "account-" + name }

// ResourceLock names the lock of an exclusive resource, such as "tcp/80".
func ResourceLock(resource string) string { return "resource-" + resource }

// HeldError says who holds a lock.
type HeldError struct {
	Name string
	// PID of the holder; 0 if it is not known.
	PID int
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("the lock %s is held by another process", e.Name)
	}
	return fmt.Sprintf("the lock %s is held by process %d", e.Name, e.PID)
}

// lockPoll is how often a lock that is held is tried again. flock cannot wait
// for a context, and a goroutine stuck in it could not be ended.
const lockPoll = 50 * time.Millisecond

// Lock takes a kernel lock, and waits for it until the context is done; the
// error then wraps a [*HeldError] and the context's. The lock belongs to the
// value returned, not to the process: a second Lock of the same name waits in
// the same process too. It ends with the process, even by SIGKILL. Callers take
// lineage, account, resource locks in this order, sorted, and MUST call unlock,
// which may be called twice.
func (s *Store) Lock(ctx context.Context, name string, exclusive bool) (unlock func(), err error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		unlock, err := s.TryLock(name, exclusive)
		var held *HeldError
		if !errors.As(err, &held) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another certwright: %w: %w", held, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// TryLock is Lock without the wait: it returns a [*HeldError] at once.
func (s *Store) TryLock(name string, exclusive bool) (unlock func(), err error) {
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("take the lock %s: %w", name, err)
	}
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	return s.flockFile(name, how|unix.LOCK_NB)
}

// flockFile locks the file of a lock. The file is never removed, so its inode
// is the same for everybody.
func (s *Store) flockFile(name string, how int) (unlock func(), err error) {
	path := s.path("locks", lockFile(name))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, disk.Error("open the lock", path, err)
	}
	err = disk.Flock(f, how)
	if errors.Is(err, unix.EWOULDBLOCK) {
		held := &HeldError{Name: name, PID: holder(f)}
		_ = f.Close() // it was only read
		return nil, held
	}
	if err != nil {
		return nil, errors.Join(disk.Error("lock", path, err), f.Close())
	}
	noteHolder(f)
	// Closing the only descriptor releases the lock; what Close could report
	// does not change that.
	return sync.OnceFunc(func() { _ = f.Close() }), nil
}

// noteHolder records our process for the messages of others. It is advice only,
// so a full disk is no reason to fail. Of several that share a lock the last
// one is named.
func noteHolder(f *os.File) {
	text := fmt.Appendf(nil, "%-10d\n", os.Getpid())
	_, _ = f.WriteAt(text, 0)
}

// holder reads who noted himself last, if that process still lives.
func holder(f *os.File) int {
	buf := make([]byte, 16)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(buf[:n])))
	if err != nil || pid <= 0 || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return 0
	}
	return pid
}

// lockFile escapes what cannot stand in a file name, one to one.
func lockFile(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	escaped := b.String()
	if len(escaped) > maxName {
		// A long resource is told apart by its hash; "%%" begins no escape.
		escaped = fmt.Sprintf("%s%%%%%x", escaped[:100], sha256.Sum256([]byte(name)))
	}
	return escaped + ".lock"
}
