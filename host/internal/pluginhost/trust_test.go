package pluginhost

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// stranger is a user and a group that own nothing.
const stranger = 54321

// world is a directory in which a test can give files to a stranger: as root
// it does, and as a user the rule is that of somebody else.
type world struct {
	*testing.T
	dir  string
	rule trustRule
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, dir: pluginDir(t), rule: currentRule()}
	w.write("bin/certwright-plugin-x")
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) write(name string) {
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o700))
	w.must(os.WriteFile(w.path(name), []byte("#!/bin/sh\n"), 0o700))
}

func (w *world) chmod(name string, mode fs.FileMode) { w.must(os.Chmod(w.path(name), mode)) }

// giveAway makes a stranger the owner of a path and a link.
func (w *world) giveAway(name string) {
	if os.Geteuid() == 0 {
		w.must(os.Lchown(w.path(name), stranger, -1))
		return
	}
	w.rule.uid = stranger
}

// foreignGroup gives a path to a group that is nobody's primary one.
func (w *world) foreignGroup(name string) {
	if os.Geteuid() == 0 {
		w.must(os.Lchown(w.path(name), -1, stranger))
		return
	}
	w.rule.gid = stranger
}

func (w *world) link(target, name string) {
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o700))
	w.must(os.Symlink(target, w.path(name)))
}

func TestTrust(t *testing.T) {
	const x = "bin/certwright-plugin-x"
	tests := []struct {
		name    string
		prepare func(*world)
		// refused are words of the error; none: it is trusted.
		refused []string
	}{
		{"as installed", func(*world) {}, nil},
		{"everyone may write the binary", func(w *world) { w.chmod(x, 0o702) },
			[]string{"can be written by everyone", "chmod o-w DIR/" + x, "-rwx----w-"}},
		{"a group may write the binary", func(w *world) { w.foreignGroup(x); w.chmod(x, 0o720) },
			[]string{"can be written by its group", "chmod g-w DIR/" + x}},
		{"everyone may write the directory", func(w *world) { w.chmod("bin", 0o777) },
			[]string{"DIR/bin ", "can be written by everyone", "chmod o-w DIR/bin"}},
		{"a group may write the directory", func(w *world) { w.foreignGroup("bin"); w.chmod("bin", 0o770) },
			[]string{"DIR/bin ", "can be written by its group"}},
		{"everyone may write a directory above", func(w *world) { w.chmod(".", 0o777) },
			[]string{"DIR (", "can be written by everyone"}},
		{"a sticky directory", func(w *world) { w.chmod("bin", 0o777|fs.ModeSticky) }, nil},
		{"a stranger's binary", func(w *world) { w.giveAway(x) }, []string{"belong", "chown -h root"}},
		{"a stranger's binary in a sticky directory", func(w *world) { w.giveAway(x); w.chmod("bin", 0o777|fs.ModeSticky) },
			[]string{"belong"}},
		{"a stranger's directory", func(w *world) { w.giveAway("bin") }, []string{"belong", "chown -h root"}},
		{"not executable", func(w *world) { w.chmod(x, 0o600) }, []string{"is not executable", "chmod +x"}},
		{"a pipe", func(w *world) { w.must(os.Remove(w.path(x))); w.must(syscall.Mkfifo(w.path(x), 0o700)) },
			[]string{"is not a regular file"}},
		{"a link to a good one", func(w *world) {
			w.must(os.Rename(w.path(x), w.path("real")))
			w.link("../real", x)
		}, nil},
		{"a link to a directory that everyone may write", func(w *world) {
			w.write("open/real")
			w.must(os.Remove(w.path(x)))
			w.link(w.path("open/real"), x)
			w.chmod("open", 0o777)
		}, []string{"DIR/open ", "can be written by everyone"}},
		{"a link by way of a directory that everyone may write", func(w *world) {
			w.must(os.Rename(w.path(x), w.path("real")))
			w.link("../real", "open/second")
			w.link("../open/second", x)
			w.chmod("open", 0o777)
		}, []string{"DIR/open ", "can be written by everyone"}},
		{"a stranger's link", func(w *world) {
			w.must(os.Rename(w.path(x), w.path("real")))
			w.link("../real", x)
			w.giveAway(x)
		}, []string{"belong"}},
		{"a loop of links", func(w *world) {
			w.must(os.Remove(w.path(x)))
			w.link("certwright-plugin-x", x)
		}, []string{"too many symbolic links"}},
		{"a link to nothing", func(w *world) {
			w.must(os.Remove(w.path(x)))
			w.link("../nothing", x)
		}, []string{"no such file"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.prepare(w)
			h := New(Options{Dirs: []string{w.path("bin")}})
			h.rule = w.rule
			found := h.List()
			if len(found) != 1 || found[0].Name != "x" || found[0].Path != w.path(x) {
				t.Fatalf("found %+v", found)
			}
			err := found[0].Refused
			if test.refused == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var words []string
			for _, word := range test.refused {
				words = append(words, strings.ReplaceAll(word, "DIR", w.dir))
			}
			mention(t, err, append(words, w.path(x))...)
			// Nothing of it is run: neither described nor started.
			_, err = h.Describe(t.Context(), "x")
			mention(t, err, words...)
			_, err = h.Start(t.Context(), Spec{Name: "i", Plugin: "x"})
			mention(t, err, words...)
		})
	}
}

// TestTrustRule covers what depends on who runs the host.
func TestTrustRule(t *testing.T) {
	dir := pluginDir(t)
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o770); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		rule     trustRule
		uid, gid uint32
		trusted  bool
	}{
		{"root's, as root", trustRule{0, 0}, 0, 0, true},
		{"root's, as user", trustRule{1000, 1000}, 0, 0, true},
		{"the user's own", trustRule{1000, 1000}, 1000, 1000, true},
		{"the user's, root's group", trustRule{1000, 1000}, 1000, 0, true},
		{"the user's, another group", trustRule{1000, 1000}, 1000, 100, false},
		{"a user's, as root", trustRule{0, 0}, 1000, 1000, false},
		{"root's with a user's group, as root", trustRule{0, 0}, 0, 1000, false},
		{"another user's", trustRule{1000, 1000}, 1001, 1000, false},
		{"group number of root's process is no reason", trustRule{0, 1000}, 0, 1000, false},
	}
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			reason, _ := test.rule.fault(file, owned{fi, test.uid, test.gid})
			if (reason == "") != test.trusted {
				t.Errorf("reason %q", reason)
			}
		})
	}
}

// owned is a file with another owner.
type owned struct {
	fs.FileInfo
	uid, gid uint32
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: o.uid, Gid: o.gid} }

// refusing is a lock that lets nothing pass.
type refusing struct {
	verify, permit error
	seen           func(plugin string, f io.ReaderAt)
}

func (l refusing) Verify(plugin string, f io.ReaderAt) error {
	if l.seen != nil {
		l.seen(plugin, f)
	}
	return l.verify
}

func (l refusing) Permit(sdk.Description) error { return l.permit }

// TestLock: it sees the very descriptor, and what the plugin says of itself.
func TestLock(t *testing.T) {
	r := newRig(t, "good")
	r.opts.Lock = refusing{verify: errors.New("the hash is another one"), seen: func(plugin string, f io.ReaderAt) {
		if plugin != "good" {
			t.Errorf("plugin %s", plugin)
		}
		magic := make([]byte, 4)
		if _, err := f.ReadAt(magic, 0); err != nil || string(magic[1:]) != "ELF" {
			t.Errorf("read %q, %v", magic, err)
		}
	}}
	_, err := r.Start(t.Context(), Spec{Name: "web", Plugin: "good"})
	mention(t, err, "the hash is another one", "certwright-plugin-good")
	if pids := r.pids(t); len(pids) != 0 {
		t.Errorf("it was run: %v", pids)
	}
	r.opts.Lock = refusing{permit: errors.New("it asks for more")}
	_, err = r.Start(t.Context(), Spec{Name: "web", Plugin: "good"})
	mention(t, err, "it asks for more", "certwright-plugin-good")
	if pids := r.pids(t); len(pids) > 1 {
		t.Errorf("more was run than describe: %v", pids)
	}
}
