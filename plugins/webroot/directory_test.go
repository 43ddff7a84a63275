package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// A deployment moves the link "current" between Perform and Cleanup.
func TestTheWebrootMayBeALinkThatMoves(t *testing.T) {
	base := realDir(t)
	first, second := mkdirs(t, base, "first"), mkdirs(t, base, "second")
	current := filepath.Join(base, "current")
	symlink(t, first, current)
	w := configured(t, settings{Path: current}, t.TempDir())
	c := challenge("a.example", "token")
	performed(t, w, "", c)
	if got := served(t, current, c); got != c.KeyAuthorization {
		t.Errorf("served as %q", got)
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	symlink(t, second, current)
	cleaned(t, w, "", c)
	for _, dir := range []string{first, second} {
		if got := tree(t, dir); got != "" {
			t.Errorf("left over in %s: %s", dir, got)
		}
	}
}

func TestLinksOfTrustedOwnersAreFollowed(t *testing.T) {
	for name, prepare := range map[string]func(root, outside string){
		"well-known out of the root, absolute": func(root, outside string) {
			symlink(t, outside, filepath.Join(root, ".well-known"))
		},
		"well-known out of the root, relative": func(root, outside string) {
			symlink(t, "../"+filepath.Base(outside), filepath.Join(root, ".well-known"))
		},
		"well-known in the root": func(root, _ string) {
			mkdirs(t, root, "static")
			symlink(t, "static", filepath.Join(root, ".well-known"))
		},
		"acme-challenge out of the root": func(root, outside string) {
			mkdirs(t, root, ".well-known")
			symlink(t, outside, filepath.Join(root, inRoot))
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := realDir(t)
			root, outside := mkdirs(t, base, "root"), mkdirs(t, base, "outside")
			prepare(root, outside)
			was := tree(t, base)
			w := configured(t, settings{Path: root}, t.TempDir())
			c := challenge("a.example", "token")
			performed(t, w, "", c)
			if got := served(t, root, c); got != c.KeyAuthorization {
				t.Errorf("served as %q", got)
			}
			cleaned(t, w, "", c)
			if got := tree(t, base); got != was {
				t.Errorf("before %q, after %q", was, got)
			}
		})
	}
}

func TestLinksOfOthersAreNotFollowedOut(t *testing.T) {
	if !trusted(0) || !trusted(uint32(os.Geteuid())) || trusted(uint32(os.Geteuid())+4242) {
		t.Error("trusted are root and the effective user, and nobody else")
	}
	if os.Geteuid() != 0 {
		return // only root can make another's link; the rule is checked above
	}
	base := realDir(t)
	root, outside := mkdirs(t, base, "root"), mkdirs(t, base, "outside")
	link := filepath.Join(root, ".well-known")
	symlink(t, outside, link)
	if err := os.Lchown(link, 4242, 4242); err != nil {
		t.Fatal(err)
	}
	w := configured(t, settings{Path: root}, t.TempDir())
	p := failed(t, w, challenge("a.example", "token"))
	if p.Code != sdk.Conflict || !strings.Contains(p.Error(), link) || !strings.Contains(p.Hint, link) {
		t.Errorf("the problem is %+v", p)
	}
	if got := tree(t, outside); got != "" {
		t.Errorf("written outside: %s", got)
	}
}

func TestALinkThatLeadsNowhere(t *testing.T) {
	root := realDir(t)
	symlink(t, filepath.Join(root, "none"), filepath.Join(root, ".well-known"))
	w := configured(t, settings{Path: root}, t.TempDir())
	c := challenge("a.example", "token")
	if p := failed(t, w, c); !strings.Contains(p.Error(), "nowhere") || p.Hint == "" {
		t.Errorf("the problem is %+v", p)
	}
	cleaned(t, w, "", c)
	present(t, filepath.Join(root, ".well-known"))
}

func TestAFileOfTheTokenThatIsALinkIsReplacedNotWrittenThrough(t *testing.T) {
	root := realDir(t)
	victim := filepath.Join(root, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	mkdirs(t, root, inRoot)
	symlink(t, victim, filepath.Join(root, inRoot, "token"))
	symlink(t, victim, filepath.Join(root, inRoot, tempName("token")))
	w := configured(t, settings{Path: root}, t.TempDir())
	c := challenge("a.example", "token")
	performed(t, w, "", c)
	cleaned(t, w, "", c)
	if got, err := os.ReadFile(victim); string(got) != "precious" {
		t.Errorf("the file behind the link holds %q (%v)", got, err)
	}
}

func TestALinkInPlaceOfAMadeDirectoryIsNotRemoved(t *testing.T) {
	root := realDir(t)
	w := configured(t, settings{Path: root}, t.TempDir())
	c := challenge("a.example", "token")
	performed(t, w, "", c)
	elsewhere := mkdirs(t, root, "elsewhere")
	if err := os.Rename(filepath.Join(root, inRoot), filepath.Join(elsewhere, "acme-challenge")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, ".well-known")); err != nil {
		t.Fatal(err)
	}
	symlink(t, elsewhere, filepath.Join(root, ".well-known"))
	cleaned(t, w, "", c)
	if info, err := os.Lstat(filepath.Join(root, ".well-known")); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the user's link is gone (%v)", err)
	}
	absent(t, filepath.Join(elsewhere, "acme-challenge", "token"))
}

// Whoever is not root may give nothing away; root is tested as nobody in
// TestWithoutPrivileges.
func TestNewDirectoriesBelongToTheOwnerOfTheWebroot(t *testing.T) {
	root := realDir(t)
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 4242, 4343
	}
	if err := os.Chown(root, uid, gid); err != nil {
		t.Fatal(err)
	}
	w := configured(t, settings{Path: root}, t.TempDir())
	r := &recorder{}
	c := challenge("a.example", "token")
	if err := w.Perform(t.Context(), []sdk.Challenge{c}, r); err != nil {
		t.Fatal(err)
	}
	if err := r.result(t, c.ID).Err; err != nil || len(r.progress) > 0 {
		t.Errorf("%v, the story is %q", err, r.progress)
	}
	for _, level := range levels {
		info, err := os.Stat(filepath.Join(root, level))
		if err != nil {
			t.Fatal(err)
		}
		if is := info.Sys().(*syscall.Stat_t); int(is.Uid) != uid || int(is.Gid) != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", level, is.Uid, is.Gid, uid, gid)
		}
	}
	cleaned(t, w, "", c)
}

func TestExplainSaysWhatToDo(t *testing.T) {
	for cause, want := range map[error]struct {
		code sdk.Code
		hint string
	}{
		syscall.EACCES: {sdk.PermissionDenied, "user"}, syscall.EPERM: {sdk.PermissionDenied, "user"},
		syscall.ENOSPC: {sdk.Unavailable, "space"}, syscall.EDQUOT: {sdk.Unavailable, "space"},
		syscall.EROFS: {sdk.PermissionDenied, "writable"},
	} {
		p := sdk.ProblemOf(explain(&fs.PathError{Op: "mkdirat", Path: ".well-known", Err: cause}, "/srv/www"))
		if p.Code != want.code || !strings.Contains(p.Hint, want.hint) || !strings.Contains(p.Error(), "/srv/www") ||
			!strings.Contains(p.Error(), cause.Error()) {
			t.Errorf("%v gives %+v", cause, p)
		}
	}
	if err := explain(nil, "/srv/www"); err != nil {
		t.Error(fmt.Errorf("nothing gives %w", err))
	}
}

// A directory that another instance removes after Perform has looked is made
// again, and is this plugin's from then on.
func TestADirectoryThatVanishesIsInTheBookOnceItIsMade(t *testing.T) {
	root, state := realDir(t), t.TempDir()
	book, err := ledger{dir: state}.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := challenge("a.example", "token")
	// The book says nothing yet: when it was written, both levels were there.
	err = place(t.Context(), root, []file{{id: c.ID, token: c.Token, body: c.HTTP.Body}}, book, &recorder{})
	book.close()
	if err != nil {
		t.Fatal(err)
	}
	cleaned(t, configured(t, settings{Path: root}, state), "", c)
	if got := tree(t, root); got != "" {
		t.Errorf("left over: %s", got)
	}
}
