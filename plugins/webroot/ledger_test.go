package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestALedgerThatCannotBeReadStopsPerformButNotCleanup(t *testing.T) {
	for name, test := range map[string]struct{ content, word string }{
		"no JSON": {"{", "webroot.json"}, "newer": {`{"v":2,"roots":{}}`, "format 2"},
	} {
		t.Run(name, func(t *testing.T) {
			root, state := realDir(t), t.TempDir()
			w := configured(t, settings{Path: root}, state)
			c := challenge("a.example", "token")
			receipts := performed(t, w, "lineage", c)
			path := filepath.Join(state, "webroot.json")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := w.Perform(t.Context(), receipts, &recorder{})
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.word) {
				t.Errorf("Perform gives %v", err)
			}
			story := cleaned(t, w, "lineage", receipts...)
			if len(story) != 1 || !strings.Contains(story[0], path) {
				t.Errorf("the story is %q", story)
			}
			if got := tree(t, root); got != "" {
				t.Errorf("left over: %s", got)
			}
			if got, err := os.ReadFile(path); string(got) != test.content {
				t.Errorf("the file was overwritten with %q (%v)", got, err)
			}
		})
	}
}

func TestTheLedgerSaysWhatIsThereAndNothingAfterwards(t *testing.T) {
	root, state := realDir(t), t.TempDir()
	w := configured(t, settings{Path: root}, state)
	c := challenge("a.example", "token")
	performed(t, w, "lineage", c)
	read := func() map[string]*page {
		t.Helper()
		book, err := ledger{dir: state}.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer book.close()
		return book.pages
	}
	want := map[string]*page{root: {Made: levels, Tokens: map[string][]string{"token": {"lineage"}}}}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("in between (-want +got):\n%s", diff)
	}
	cleaned(t, w, "lineage", c)
	if diff := cmp.Diff(map[string]*page{}, read()); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
	for _, name := range []string{"webroot.json", "lock"} {
		info, err := os.Stat(filepath.Join(state, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("mode of %s is %s", name, info.Mode())
		}
	}
	absent(t, filepath.Join(state, "webroot.json.new"))
}

// What is made is in the book before it is made: of a Perform that dies in
// between, Cleanup finds directories that are there and entries that are not.
func TestCleanupAfterAPerformThatDiedHalfWay(t *testing.T) {
	for _, made := range []string{"", ".well-known", inRoot} {
		root, state := realDir(t), t.TempDir()
		w := configured(t, settings{Path: root}, state)
		book, err := w.ledger.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		book.page(root).own(levels)
		book.page(root).hold("token", "lineage")
		if err := book.save(); err != nil {
			t.Fatal(err)
		}
		book.close()
		mkdirs(t, root, made)
		cleaned(t, configured(t, settings{Path: root}, state), "lineage", challenge("a.example", "token"))
		if got := tree(t, root); got != "" {
			t.Errorf("left over: %s", got)
		}
	}
}

func TestOneHasTheLedgerAtATime(t *testing.T) {
	l := ledger{dir: t.TempDir()}
	first, err := l.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan *openBook)
	go func() {
		book, err := l.open(t.Context())
		if err != nil {
			t.Error(err)
		}
		second <- book
	}()
	first.page("/srv/www").hold("token", "lineage")
	if err := first.save(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-second:
		t.Fatal("opened twice")
	default:
	}
	first.close()
	select {
	case book := <-second:
		defer book.close()
		if len(book.rootsWith("token")) != 1 {
			t.Error("the second does not see what the first has written")
		}
	case <-time.After(time.Minute):
		t.Fatal("the lock is never free")
	}
}
