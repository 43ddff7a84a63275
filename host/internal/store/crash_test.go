package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/sdk"
)

// everyStep kills a child at its first step, its second, and so on until one is
// not killed; prepare makes the directory of each, check looks at it.
func everyStep(t *testing.T, action string, least int, prepare func(t *testing.T, dir string), check func(t *testing.T, dir string)) {
	t.Helper()
	for n := 1; ; n++ {
		dir := filepath.Join(t.TempDir(), "state")
		prepare(t, dir)
		out, killed, err := runChild(t, action, dir, -1, n)
		if !killed {
			if err != nil {
				t.Fatalf("%s, not killed: %v: %s", action, err, out)
			}
			if n <= least {
				t.Fatalf("%s has only %d steps", action, n-1)
			}
			return
		}
		t.Run(strings.ReplaceAll(out, " ", "_"), func(t *testing.T) { check(t, dir) })
	}
}

func repair(t *testing.T, s *Store) Repaired {
	t.Helper()
	r, err := s.Repair(testName)
	if err != nil {
		t.Fatalf("repair: %v", err)
	}
	again, err := s.Repair(testName)
	if err != nil || len(again.Finished) > 0 || again.Deleted {
		t.Errorf("the second repair found %+v, %v", again, err)
	}
	return r
}

// A commit that was killed anywhere is, after Repair, done or can be repeated
// with the same key; live/ is a whole pair, the old or the new one.
func TestCommitKilled(t *testing.T) {
	for name, before := range map[string]bool{"first": false, "renewal": true} {
		t.Run(name, func(t *testing.T) {
			old, version := 0, 1
			if before {
				old, version = 1, 2
			}
			finished := 0
			prepare := func(t *testing.T, dir string) { prepareCommit(t, dir, before) }
			everyStep(t, "commit", 8, prepare, func(t *testing.T, dir string) {
				s := open(t, dir)
				r := repair(t, s)
				live := sound(t, s)
				switch {
				case len(r.Orders) == 1 && r.Orders[0] == "o2" && len(r.Finished) == 0:
					if live != old {
						t.Errorf("live is %d while the order is open, want %d", live, old)
					}
					if err := commitPrepared(s); err != nil {
						t.Fatalf("commit again: %v", err)
					}
				case len(r.Orders) == 0:
					finished++
				default:
					t.Fatalf("repair found %+v", r)
				}
				if live := sound(t, s); live != version {
					t.Errorf("live is %d at last, want %d", live, version)
				}
				if l, err := s.Lineage(testName); err != nil || l.Version.Serial != "2" || len(l.Request.Identifiers) != 3 {
					t.Errorf("lineage: %+v, %v", l, err)
				}
			})
			if finished == 0 {
				t.Error("no commit was finished by repair")
			}
		})
	}
}

// A loss of power can leave any of the new files with nothing or half of what
// was written, and the order is as it was before them.
func TestCommitCutShort(t *testing.T) {
	for _, name := range []string{certFile, chainFile, fullchainFile, staged} {
		for _, part := range []int64{0, 2} {
			dir := filepath.Join(t.TempDir(), "state")
			prepareCommit(t, dir, true)
			if _, killed, err := runChild(t, "commit", dir, -1, 4); !killed {
				t.Fatalf("not killed: %v", err)
			}
			s := open(t, dir)
			path := filepath.Join(s.orderDir(testName, "o2"), name)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, info.Size()*part/3); err != nil {
				t.Fatal(err)
			}
			if r := repair(t, s); len(r.Orders) != 1 || len(r.Finished) > 0 {
				t.Errorf("%s cut to %d/3: repair found %+v", name, part, r)
			}
			if live := sound(t, s); live != 1 {
				t.Errorf("%s cut to %d/3: live is %d", name, part, live)
			}
			if err := commitPrepared(s); err != nil || sound(t, s) != 2 {
				t.Errorf("%s cut to %d/3: commit again: %v", name, part, err)
			}
		}
	}
}

// Repair itself may be killed.
func TestRepairKilled(t *testing.T) {
	for _, step := range []int{4, 5, 7} {
		prepare := func(t *testing.T, dir string) {
			prepareCommit(t, dir, true)
			if _, killed, err := runChild(t, "commit", dir, -1, step); !killed {
				t.Fatalf("not killed: %v", err)
			}
		}
		everyStep(t, "repair", 1, prepare, func(t *testing.T, dir string) {
			s := open(t, dir)
			repair(t, s)
			if live := sound(t, s); live != 2 {
				t.Errorf("live is %d, want 2", live)
			}
		})
	}
}

// A deletion that was killed is complete after Repair, or has not begun.
func TestDeleteKilled(t *testing.T) {
	prepare := func(t *testing.T, dir string) { prepareCommit(t, dir, true) }
	everyStep(t, "delete", 4, prepare, func(t *testing.T, dir string) {
		s := open(t, dir)
		if r := repair(t, s); !r.Deleted {
			_, err := s.Lineage(testName)
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the lineage lives: %v", err)
			}
		}
		gone(t, s)
	})
}

// An order that is dropped is there with its key, or not at all.
func TestDropKilled(t *testing.T) {
	prepare := func(t *testing.T, dir string) { prepareCommit(t, dir, true) }
	everyStep(t, "drop", 1, prepare, func(t *testing.T, dir string) {
		s := open(t, dir)
		if r := repair(t, s); len(r.Orders) > 0 {
			t.Errorf("%+v", r)
		}
		if live := sound(t, s); live != 1 {
			t.Errorf("live is %d", live)
		}
	})
}

func TestNewKeyKilled(t *testing.T) {
	everyStep(t, "newkey", 1, func(*testing.T, string) {}, func(t *testing.T, dir string) {
		s := open(t, dir)
		repair(t, s)
		noTemp(t, dir)
		commit(t, s, testLineage(), "o2", 2)
		sound(t, s)
	})
}

func TestAccountKeyKilled(t *testing.T) {
	everyStep(t, "account", 1, func(*testing.T, string) {}, func(t *testing.T, dir string) {
		s := open(t, dir)
		if _, err := s.PendingAccountKey("main"); err != nil {
			t.Fatal(err)
		}
		noTemp(t, dir)
	})
}

// A disk that is full (here: a limit on the size of files, which needs no
// privilege) leaves the old version, and the order can be committed later.
func TestCommitOnFullDisk(t *testing.T) {
	for _, file := range []string{"nothing", "cert.pem", "fullchain.pem", staged} {
		dir := filepath.Join(t.TempDir(), "state")
		prepareCommit(t, dir, true)
		// One byte less than the version before needed; the files grow in the
		// order of this list.
		limit := int64(0)
		if file == staged {
			file = "../../../lineages/example.com.json"
		}
		if info, err := os.Stat(filepath.Join(dir, "archive", testName, "0001", file)); err == nil {
			limit = info.Size() - 16 // a signature can be some bytes shorter
		}
		out, killed, err := runChild(t, "commit", dir, limit, 0)
		if err == nil || killed {
			t.Fatalf("limit %d: the child did not fail: %s", limit, out)
		}
		if !strings.Contains(out, "file too large") || !strings.Contains(out, dir) || strings.Contains(out, ".tmp-") {
			t.Errorf("limit %d: unreadable error: %s", limit, out)
		}
		s := open(t, dir)
		if live := sound(t, s); live != 1 {
			t.Errorf("limit %d: live is %d", limit, live)
		}
		if left, err := readDir(s.orderDir(testName, "o2")); err != nil || len(left) != 1 || left[0].Name() != "privkey.pem" {
			t.Errorf("limit %d: the order has %v, %v", limit, left, err)
		}
		r := repair(t, s)
		if len(r.Orders) != 1 || len(r.Finished) > 0 {
			t.Errorf("limit %d: repair found %+v", limit, r)
		}
		err = commitPrepared(s)
		if live := sound(t, s); err != nil || live != 2 {
			t.Errorf("limit %d: live is %d after more room, %v", limit, live, err)
		}
	}
}

func TestNewKeyOnFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir)
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"newkey", "account"} {
		if out, _, err := runChild(t, action, dir, 0, 0); err == nil {
			t.Fatalf("%s did not fail: %s", action, out)
		}
	}
	noTemp(t, dir)
	for _, d := range []string{"archive", "accounts"} {
		if entries, err := readDir(s.path(d)); err != nil || len(entries) > 0 {
			t.Errorf("left in %s: %v, %v", d, entries, err)
		}
	}
	err := disk.Error("write", "/x/y", &fs.PathError{Op: "write", Path: "/x/.y.tmp-1", Err: unix.ENOSPC})
	p := sdk.ProblemOf(err)
	if p.Error() != "write /x/y: no space left on device" || !strings.Contains(p.Hint, "free some space") {
		t.Errorf("%v, hint %q", p, p.Hint)
	}
}

// What fails after the version has its number loses nothing: the error says
// where it is, and the next run finishes it.
func TestCommitNotLive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	prepareCommit(t, dir, false)
	s := open(t, dir)
	obstacle := s.path("live", testName)
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	err := commitPrepared(s)
	if err == nil || !strings.Contains(err.Error(), "safe in "+s.versionDir(testName, 1)) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	if r := repair(t, s); len(r.Finished) != 1 || r.Finished[0] != 1 {
		t.Errorf("%+v", r)
	}
	if live := sound(t, s); live != 1 {
		t.Errorf("live is %d", live)
	}
}
