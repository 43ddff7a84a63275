package checkpoint

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk"
)

type silent struct{}

func (silent) Progress(string, string)                     {}
func (silent) Say(sdk.Stream, string)                      {}
func (silent) Result(sdk.Result)                           {}
func (silent) Ask(context.Context, string) (string, error) { return "", io.EOF }

// during is a context of a step of a deployment, as the host gives it.
func during(t *testing.T, lineage, step string) context.Context {
	return sdk.WithOperation(t.Context(), sdk.Operation{ID: lineage + "/" + step, Lineage: lineage})
}

// note stages a text for a file; write brings it there.
type note struct{ path, text string }

func stage(t *testing.T, e *Edits[note], lineage, path, text string) {
	t.Helper()
	must(t, e.Stage(during(t, lineage, "deploy"), func(n *note) error {
		*n = note{path, text}
		return nil
	}))
}

func write(ctx context.Context, n *note, begin func() (*Draft, error)) error {
	d, err := begin()
	if err != nil {
		return err
	}
	return d.WriteFile(ctx, n.path, []byte(n.text), Attributes{Mode: 0o644})
}

func edits(t *testing.T, state string) *Edits[note] {
	t.Helper()
	return NewEdits[note](t.Context(), open(t, state))
}

const title = "Deployed ACME Certificate"

func finalise(t *testing.T, e *Edits[note], lineage, step string) sdk.Checkpoint {
	t.Helper()
	c, err := e.Save(during(t, lineage, step), sdk.SaveRequest{Title: title}, write)
	must(t, err)
	return c
}

func TestEdits(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "conf")
	put(t, path, "before", 0o644)
	e := edits(t, state)
	stage(t, e, "a", path, "after")
	equal(t, "before", read(t, path))
	c, err := e.Save(during(t, "a", "save"), sdk.SaveRequest{}, write)
	must(t, err)
	equal(t, sdk.Checkpoint{}, c)
	equal(t, "after", read(t, path))
	made := finalise(t, e, "a", "titled")
	equal(t, []string{path}, made.Files)

	// The same again, here and in another process; another one makes nothing.
	equal(t, made.ID, finalise(t, e, "a", "titled").ID)
	equal(t, made.ID, finalise(t, edits(t, state), "a", "titled").ID)
	equal(t, "", finalise(t, edits(t, state), "a", "another").ID)

	must(t, e.Rollback(during(t, "a", "back"), 1, silent{}))
	equal(t, "before", read(t, path))
	equal(t, "", finalise(t, e, "a", "titled").ID)
}

// What fails is put back at once, and Rollback drops what was staged.
func TestEditsThatFail(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "conf")
	put(t, path, "before", 0o644)
	e := edits(t, t.TempDir())
	var dropped []string
	e.Dropped = func(n *note) { dropped = append(dropped, n.text) }
	stage(t, e, "a", path, "after")
	stage(t, e, "b", path, "other")
	failure := errors.New("no")
	_, err := e.Save(during(t, "a", "save"), sdk.SaveRequest{}, func(ctx context.Context, n *note, begin func() (*Draft, error)) error {
		return errors.Join(write(ctx, n, begin), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	equal(t, "before", read(t, path))
	must(t, e.Rollback(during(t, "a", "back"), 0, silent{}))
	equal(t, []string{"after"}, dropped)
	equal(t, "", finalise(t, e, "a", "titled").ID)
	finalise(t, e, "b", "titled")
	equal(t, "other", read(t, path))

	if err := e.Stage(during(t, "c", "deploy"), func(*note) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	equal(t, "", finalise(t, e, "c", "titled").ID)
	wantNegative := e.Rollback(during(t, "a", "back"), -1, silent{})
	if p := sdk.ProblemOf(wantNegative); p == nil || p.Code != sdk.InvalidConfig {
		t.Errorf("error %v", wantNegative)
	}
}

// What cannot be undone of one certificate does not keep another one from being
// taken back.
func TestEditsBesideWhatCannotBeUndone(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	mine, other := filepath.Join(dir, "mine"), filepath.Join(dir, "other")
	put(t, mine, "before", 0o644)
	dead := begin(t, open(t, state), "b")
	must(t, dead.WriteFile(t.Context(), other, []byte("half"), Attributes{}))
	dead.close()
	must(t, os.Remove(other))
	must(t, os.MkdirAll(filepath.Join(other, "in the way"), 0o755))

	e := edits(t, state)
	if e.Unrecovered(t.Context()) == nil {
		t.Fatal("it was recovered")
	}
	stage(t, e, "a", mine, "after")
	finalise(t, e, "a", "titled")
	must(t, e.Rollback(during(t, "a", "back"), 1, silent{}))
	equal(t, "before", read(t, mine))
	for _, lineage := range []string{"b", ""} {
		if e.Rollback(during(t, lineage, "back"), 0, silent{}) == nil {
			t.Errorf("%q: what is left is not told", lineage)
		}
	}
	must(t, os.RemoveAll(other))
	must(t, e.Rollback(during(t, "b", "again"), 0, silent{}))
	must(t, e.Unrecovered(t.Context()))
}

// A Save whose caller is gone leaves no checkpoint.
func TestEditsCancelled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "conf")
	put(t, path, "before", 0o644)
	e := edits(t, t.TempDir())
	ctx, cancel := context.WithCancel(during(t, "a", "titled"))
	e.Store().Step = func(what string) {
		if what == "finalise: rename" {
			cancel()
		}
	}
	stage(t, e, "a", path, "after")
	if _, err := e.Save(ctx, sdk.SaveRequest{Title: title}, write); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	equal(t, "before", read(t, path))
	list, err := e.Store().List()
	must(t, err)
	equal(t, 0, len(list))
}

func TestDiff(t *testing.T) {
	equal(t, "", Diff("/x", []byte("a\n"), []byte("a\n")))
	equal(t, "--- /dev/null\n+++ /x\n@@ -0,0 +1,1 @@\n+a\n", Diff("/x", nil, []byte("a\n")))
	equal(t, "--- /x\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n", Diff("/x", []byte("a\n"), nil))
	equal(t, "--- /x\n+++ /x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n", Diff("/x", []byte("a\nb\n"), []byte("a\nc\n")))
}
