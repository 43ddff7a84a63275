package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDeclaration(t *testing.T) {
	d, err := declaration(&webroot{}).Description()
	if err != nil {
		t.Fatal(err)
	}
	roots := []sdk.Value{sdk.FromSetting("path"), sdk.FromSetting("map")}
	if diff := cmp.Diff(sdk.Permissions{Read: roots, Write: roots, Key: sdk.KeyPath}, d.Permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	if !slices.Contains(d.Features, sdk.FeaturePrefer) {
		t.Errorf("features are %q", d.Features)
	}
	types := map[string]sdk.SettingType{}
	for _, s := range d.Settings {
		types[s.Name] = s.Type
	}
	if diff := cmp.Diff(map[string]sdk.SettingType{"path": sdk.StringSetting, "map": sdk.MapSetting}, types); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestPreferKnowsNamesWithoutDirectory(t *testing.T) {
	root := realDir(t)
	w := configured(t, settings{Map: map[string]string{"a.example, B.example.": root, "192.0.2.1": root, "bücher.example": root}}, t.TempDir())
	ids := []sdk.Identifier{
		{Type: "dns", Value: "a.example"}, {Type: "dns", Value: "b.example"}, {Type: "ip", Value: "192.0.2.1"},
		{Type: "dns", Value: "xn--bcher-kva.example"},
		{Type: "dns", Value: "c.example"}, {Type: "dns", Value: "a.example", Wildcard: true},
	}
	got, err := w.Prefer(t.Context(), ids)
	if err != nil || len(got) != len(ids) {
		t.Fatalf("%v, %v", got, err)
	}
	for i, p := range got {
		known := i < 4
		if p.Identifier != ids[i] || (p.Err == nil) != known || known != slices.Equal(p.ChallengeTypes, []string{sdk.HTTP01}) {
			t.Errorf("%s: %+v", ids[i], p)
		}
	}
	for word, p := range map[string]*sdk.Problem{"c.example": sdk.ProblemOf(got[4].Err), "*.a.example": sdk.ProblemOf(got[5].Err)} {
		if !strings.Contains(p.Error(), word) || p.Hint == "" {
			t.Errorf("the problem is %+v", p)
		}
	}
	if p := failed(t, w, challenge("c.example", "token")); p.Code != sdk.NotFound || !strings.Contains(p.Hint, "map") {
		t.Errorf("the problem is %+v", p)
	}
}

func TestMapWinsOverPath(t *testing.T) {
	a, b, other := realDir(t), realDir(t), realDir(t)
	w := configured(t, settings{Path: other, Map: map[string]string{"a.example,c.example": a, "b.example": b}}, t.TempDir())
	for name, root := range map[string]string{"a.example": a, "c.example": a, "b.example": b, "d.example": other, "sub.a.example": other} {
		c := challenge(name, "token")
		performed(t, w, "", c)
		for _, dir := range []string{a, b, other} {
			if got := served(t, dir, c); (got == c.KeyAuthorization) != (dir == root) {
				t.Errorf("%s below %s gives %q", name, dir, got)
			}
		}
		cleaned(t, w, "", c)
	}
}

func TestFilesAndDirectoriesAreReadableWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	root := realDir(t)
	w := configured(t, settings{Path: root}, t.TempDir())
	one, two := challenge("a.example", "one"), challenge("b.example", "two")
	performed(t, w, "", one, two)
	for path, want := range map[string]fs.FileMode{
		".well-known": fs.ModeDir | 0o755, inRoot: fs.ModeDir | 0o755, inRoot + "/one": 0o644, inRoot + "/two": 0o644,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("mode of %s is %s, want %s", path, info.Mode(), want)
		}
	}
	for _, c := range []sdk.Challenge{one, two} {
		if got := served(t, root, c); got != c.KeyAuthorization {
			t.Errorf("%s is served as %q", c.Token, got)
		}
	}
	if got := tree(t, root); got != ".well-known "+inRoot+" "+inRoot+"/one "+inRoot+"/two" {
		t.Errorf("below the root: %s", got)
	}
	if story := cleaned(t, w, "", one); len(story) > 0 {
		t.Errorf("the story of the first is %q", story)
	}
	if got := served(t, root, two); got != two.KeyAuthorization {
		t.Errorf("the other is served as %q", got)
	}
	cleaned(t, w, "", two)
	if got := tree(t, root); got != "" {
		t.Errorf("left over: %s", got)
	}
	cleaned(t, w, "", one, two)
}

func TestOnlyDirectoriesThatWereMadeAreRemoved(t *testing.T) {
	for _, before := range []string{"", ".well-known", inRoot} {
		root := realDir(t)
		mkdirs(t, root, before)
		was := tree(t, root)
		w := configured(t, settings{Path: root}, t.TempDir())
		c := challenge("a.example", "token")
		performed(t, w, "", c)
		performed(t, w, "", c) // the same again leaves no duplicate
		if got := served(t, root, c); got != c.KeyAuthorization {
			t.Errorf("served as %q", got)
		}
		cleaned(t, w, "", c)
		if got := tree(t, root); got != was {
			t.Errorf("with %q before, %q is left", was, got)
		}
	}
}

func TestADirectoryThatIsNotEmptyStaysAndIsRemovedLater(t *testing.T) {
	root, state := realDir(t), t.TempDir()
	w := configured(t, settings{Path: root}, state)
	c := challenge("a.example", "token")
	performed(t, w, "", c)
	foreign := filepath.Join(root, inRoot, "foreign")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	story := cleaned(t, w, "", c)
	if len(story) != 1 || !strings.Contains(story[0], "foreign") || !strings.Contains(story[0], filepath.Join(root, inRoot)) {
		t.Errorf("the story is %q", story)
	}
	present(t, foreign)
	absent(t, filepath.Join(root, inRoot, "token"))
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	cleaned(t, configured(t, settings{Path: root}, state), "", c)
	if got := tree(t, root); got != "" {
		t.Errorf("left over: %s", got)
	}
}

func TestCleanupInANewProcess(t *testing.T) {
	t.Run("without receipt", func(t *testing.T) {
		root, state := realDir(t), t.TempDir()
		c := challenge("a.example", "token")
		performed(t, configured(t, settings{Path: root}, state), "lineage", c)
		cleaned(t, configured(t, settings{Path: root}, state), "lineage", c)
		if got := tree(t, root); got != "" {
			t.Errorf("left over: %s", got)
		}
	})
	t.Run("without state", func(t *testing.T) {
		root := realDir(t)
		c := performed(t, configured(t, settings{Path: root}, t.TempDir()), "lineage", challenge("a.example", "token"))
		cleaned(t, configured(t, settings{Path: root}, t.TempDir()), "lineage", c...)
		if got := tree(t, root); got != "" {
			t.Errorf("left over: %s", got)
		}
	})
	t.Run("without both", func(t *testing.T) {
		root := realDir(t)
		c := challenge("a.example", "token")
		performed(t, configured(t, settings{Path: root}, t.TempDir()), "lineage", c)
		cleaned(t, configured(t, settings{Path: root}, t.TempDir()), "lineage", c)
		if got := tree(t, root); got != ".well-known "+inRoot {
			t.Errorf("left over: %s", got)
		}
	})
	t.Run("with other settings", func(t *testing.T) {
		root, state := realDir(t), t.TempDir()
		c := challenge("a.example", "token")
		performed(t, configured(t, settings{Path: root}, state), "lineage", c)
		cleaned(t, configured(t, settings{Map: map[string]string{"b.example": realDir(t)}}, state), "lineage", c)
		if got := tree(t, root); got != "" {
			t.Errorf("left over: %s", got)
		}
	})
	t.Run("after a crash in the middle of a file", func(t *testing.T) {
		root, state := realDir(t), t.TempDir()
		c := challenge("a.example", "token")
		performed(t, configured(t, settings{Path: root}, state), "lineage", c)
		dir := filepath.Join(root, inRoot)
		if err := os.Rename(filepath.Join(dir, "token"), filepath.Join(dir, tempName("token"))); err != nil {
			t.Fatal(err)
		}
		cleaned(t, configured(t, settings{Path: root}, state), "lineage", c)
		if got := tree(t, root); got != "" {
			t.Errorf("left over: %s", got)
		}
	})
	t.Run("of nothing, and of a root that is gone", func(t *testing.T) {
		root := realDir(t)
		w := configured(t, settings{Path: root}, t.TempDir())
		cleaned(t, w, "lineage", challenge("a.example", "token"))
		if err := os.Remove(root); err != nil {
			t.Fatal(err)
		}
		cleaned(t, w, "lineage", challenge("a.example", "token"))
		if p := failed(t, w, challenge("a.example", "token")); !strings.Contains(p.Error(), root) || p.Hint == "" {
			t.Errorf("the problem is %+v", p)
		}
	})
}

func TestTokensThatAreNoFileNamesAreRefused(t *testing.T) {
	root := realDir(t)
	w := configured(t, settings{Path: root}, t.TempDir())
	victim := filepath.Join(root, "victim")
	if err := os.WriteFile(victim, []byte("v"), 0o600); err != nil {
		t.Fatal(err)
	}
	was := tree(t, root)
	for _, token := range []string{"", ".", "..", "../../victim", "a/b", "/etc/x", "a.b", "a\x00b", "a b", "ü", strings.Repeat("a", 300)} {
		c := challenge("a.example", token)
		if p := failed(t, w, c); p.Retry != sdk.RetryNever {
			t.Errorf("token %q: %+v", token, p)
		}
		cleaned(t, w, "", c)
		if got := tree(t, root); got != was {
			t.Errorf("token %q leaves %s", token, got)
		}
	}
}

func TestWhatCannotBeServedDoesNotStopTheRest(t *testing.T) {
	good, blocked := realDir(t), realDir(t)
	if err := os.WriteFile(filepath.Join(blocked, ".well-known"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := configured(t, settings{Path: good, Map: map[string]string{"blocked.example": blocked}}, t.TempDir())
	fine, bad, dns := challenge("a.example", "one"), challenge("blocked.example", "two"), challenge("c.example", "three")
	dns.Type = sdk.DNS01
	r := &recorder{}
	if err := w.Perform(t.Context(), []sdk.Challenge{bad, dns, fine}, r); err != nil {
		t.Fatal(err)
	}
	if err := r.result(t, fine.ID).Err; err != nil {
		t.Error(err)
	}
	if p := sdk.ProblemOf(r.result(t, bad.ID).Err); p.Code != sdk.Conflict || !strings.Contains(p.Error(), "in the way") || p.Hint == "" {
		t.Errorf("the problem is %+v", p)
	}
	if p := sdk.ProblemOf(r.result(t, dns.ID).Err); p.Code != sdk.Unsupported || p.Subject != dns.ID {
		t.Errorf("the problem is %+v", p)
	}
	cleaned(t, w, "", fine, dns)
	present(t, filepath.Join(blocked, ".well-known"))
}

// A CA may give one pending authorization to two orders (RFC 8555 section 7.4).
func TestAFileStaysWhileAnotherOrderNeedsIt(t *testing.T) {
	root, state := realDir(t), t.TempDir()
	c := challenge("a.example", "shared")
	one, two := configured(t, settings{Path: root}, state), configured(t, settings{Path: root}, state)
	performed(t, one, "one", c)
	performed(t, two, "two", c)
	cleaned(t, one, "one", c)
	cleaned(t, one, "one", c)
	if got := served(t, root, c); got != c.KeyAuthorization {
		t.Errorf("served as %q while an order needs it", got)
	}
	cleaned(t, two, "two", c)
	if got := tree(t, root); got != "" {
		t.Errorf("left over: %s", got)
	}
}

// Two instances that know nothing of each other, each of them in two processes,
// make and remove the same directories all the time.
func TestConcurrentOrdersOnOneRoot(t *testing.T) {
	root := realDir(t)
	var orders sync.WaitGroup
	for _, state := range []string{t.TempDir(), t.TempDir()} {
		for process := range 2 {
			w := configured(t, settings{Path: root}, state)
			for order := range 2 {
				orders.Go(func() {
					for i := range 20 {
						lineage := fmt.Sprintf("%s-%d-%d", filepath.Base(state), process, order)
						c := challenge("a.example", fmt.Sprintf("%s-%d", lineage, i))
						r := &recorder{}
						if err := w.Perform(operation(t.Context(), lineage), []sdk.Challenge{c}, r); err != nil {
							t.Errorf("perform: %v", err)
						}
						if err := r.result(t, c.ID).Err; err != nil {
							t.Errorf("perform %s: %v", c.ID, err)
						}
						if got, err := os.ReadFile(filepath.Join(root, c.HTTP.Path)); string(got) != c.KeyAuthorization {
							t.Errorf("the file of %s holds %q (%v)", c.ID, got, err)
						}
						if err := w.Cleanup(operation(t.Context(), lineage), []sdk.Challenge{c}, r); err != nil {
							t.Errorf("cleanup: %v", err)
						}
						if err := r.result(t, c.ID).Err; err != nil {
							t.Errorf("cleanup %s: %v", c.ID, err)
						}
					}
				})
			}
		}
	}
	orders.Wait()
	// Of two instances the one that did not make a directory may be the last to
	// use it; no file is left in any case.
	if got := tree(t, root); got != "" && got != ".well-known" && got != ".well-known "+inRoot {
		t.Errorf("left over: %s", got)
	}
}

func TestNobodyReadsHalfAFile(t *testing.T) {
	root := realDir(t)
	mkdirs(t, root, inRoot)
	w := configured(t, settings{Path: root}, t.TempDir())
	c := challenge("a.example", "token")
	c.HTTP.Body = []byte(strings.Repeat("x", 1<<20))
	performed(t, w, "", c)
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			got, err := os.ReadFile(filepath.Join(root, c.HTTP.Path))
			if err != nil || len(got) != len(c.HTTP.Body) {
				t.Errorf("%d bytes, %v", len(got), err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for range 50 {
		performed(t, w, "", c)
	}
	close(done)
	reader.Wait()
	cleaned(t, w, "", c)
}

func TestCancelledCallsEnd(t *testing.T) {
	root := realDir(t)
	w := configured(t, settings{Path: root}, t.TempDir())
	book, err := w.ledger.open(t.Context()) // another process is at work
	if err != nil {
		t.Fatal(err)
	}
	defer book.close()
	for name, call := range map[string]func(context.Context, []sdk.Challenge, sdk.Reporter) error{"Perform": w.Perform, "Cleanup": w.Cleanup} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- call(ctx, []sdk.Challenge{challenge("a.example", "token")}, &recorder{}) }()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if got := tree(t, root); got != "" {
		t.Errorf("left over: %s", got)
	}
}
