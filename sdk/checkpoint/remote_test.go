package checkpoint

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk"
)

type (
	likeThis struct{ Certificate string }
	isThere  struct{ Numbers []int }
)

func remote(t *testing.T, state string) *Remote[likeThis, isThere] {
	t.Helper()
	r, err := NewRemote[likeThis, isThere](t.Context(), state, nil)
	must(t, err)
	return r
}

func wants(t *testing.T, r *Remote[likeThis, isThere], lineage, text string) sdk.Checkpoint {
	t.Helper()
	must(t, r.Stage(during(t, lineage, "deploy"), likeThis{text}))
	c, err := r.Save(during(t, lineage, text), sdk.SaveRequest{Title: title})
	must(t, err)
	return c
}

// holds gives what each certificate is wanted to be, as a new process reads it.
func holds(t *testing.T, state string) map[string]string {
	t.Helper()
	r := remote(t, state)
	lineages, err := r.Lineages()
	must(t, err)
	out := map[string]string{}
	for _, l := range lineages {
		w, err := r.Wanted(l)
		must(t, err)
		if w != nil {
			out[l] = w.Certificate
		}
	}
	return out
}

func TestRemoteGoesBackStepByStep(t *testing.T) {
	state := t.TempDir()
	r := remote(t, state)
	if c := wants(t, r, "a", "one"); c.ID == "" {
		t.Error("no checkpoint")
	}
	wants(t, r, "b", "other")
	wants(t, r, "a", "two")
	must(t, r.Stage(during(t, "a", "deploy"), likeThis{"two"}))
	c, err := r.Save(during(t, "a", "the same"), sdk.SaveRequest{Title: title})
	must(t, err)
	equal(t, "", c.ID) // nothing is different
	equal(t, map[string]string{"a": "two", "b": "other"}, holds(t, state))
	info, err := os.Stat(filepath.Join(state, "wanted", "a.json"))
	must(t, err)
	equal(t, os.FileMode(0o600), info.Mode())

	for n, want := range []string{"one", ""} {
		var synced []string
		// In a new process, as after a crash.
		must(t, remote(t, state).Rollback(during(t, "a", "back"+string(rune('0'+n))), 1, silent{}, func(_ context.Context, l string) error {
			synced = append(synced, l)
			return nil
		}))
		equal(t, []string{"a"}, synced)
		expected := map[string]string{"a": want, "b": "other"}
		if want == "" {
			delete(expected, "a")
		}
		equal(t, expected, holds(t, state))
	}
}

func TestRemoteDropsWhatIsUnfinished(t *testing.T) {
	state := t.TempDir()
	r := remote(t, state)
	wants(t, r, "a", "one")
	must(t, r.Stage(during(t, "a", "deploy"), likeThis{"two"}))
	_, err := r.Save(during(t, "a", "save"), sdk.SaveRequest{})
	must(t, err)
	equal(t, map[string]string{"a": "two"}, holds(t, state))
	must(t, r.Rollback(during(t, "a", "drop"), 0, silent{}, unwelcome(t)))
	equal(t, map[string]string{"a": "one"}, holds(t, state))
}

// unwelcome is a sync that is not to be called.
func unwelcome(t *testing.T) func(context.Context, string) error {
	return func(_ context.Context, lineage string) error {
		t.Errorf("the server is made as it is wanted for %q", lineage)
		return nil
	}
}

// What is saved and not proven, as a kill may leave it before the host has noted
// it: the host asks with a count of zero first, and that brings nothing live.
func TestRemoteBringsNothingLiveForNothing(t *testing.T) {
	state := t.TempDir()
	c := wants(t, remote(t, state), "a", "one")
	r := remote(t, state)
	for _, ctx := range []context.Context{during(t, "a", "drop"), t.Context()} {
		must(t, r.Rollback(ctx, 0, silent{}, unwelcome(t)))
	}
	again, err := r.Save(during(t, "a", "one"), sdk.SaveRequest{Title: title})
	must(t, err)
	equal(t, c.ID, again.ID)
	var synced []string
	must(t, r.Rollback(during(t, "a", "back"), 1, silent{}, func(_ context.Context, l string) error {
		synced = append(synced, l)
		return nil
	}))
	equal(t, []string{"a"}, synced)
}

func TestRemoteKeepsWhatIsThere(t *testing.T) {
	state := t.TempDir()
	r := remote(t, state)
	none, err := r.There("a")
	must(t, err)
	if none != nil {
		t.Errorf("there is %+v", none)
	}
	must(t, r.Keep("a", &isThere{[]int{1, 2}}))
	got, err := remote(t, state).There("a")
	must(t, err)
	equal(t, &isThere{[]int{1, 2}}, got)
	must(t, r.Keep("b", &isThere{}))
	lineages, err := r.Lineages()
	must(t, err)
	equal(t, []string{"a", "b"}, lineages)
	for range 2 {
		must(t, r.Keep("a", nil))
	}
	wants(t, r, "c", "other")
	var synced []string
	must(t, r.Rollback(t.Context(), 1, silent{}, func(_ context.Context, l string) error {
		synced = append(synced, l)
		return nil
	}))
	equal(t, []string{"b"}, synced) // nothing of c is left
}

// What a killed process had begun to write may hold a key: the next one removes
// it, and the records stay.
func TestRemoteRemovesWhatWasBegun(t *testing.T) {
	state := t.TempDir()
	must(t, remote(t, state).Keep("a", &isThere{[]int{1}}))
	must(t, os.WriteFile(filepath.Join(state, "there", ".new-123"), []byte("half of a"), 0o600))
	kept, err := remote(t, state).There("a")
	must(t, err)
	equal(t, &isThere{[]int{1}}, kept)
	entries, err := os.ReadDir(filepath.Join(state, "there"))
	must(t, err)
	equal(t, 1, len(entries))
}

func TestRemoteRefusesNamesThatAreNone(t *testing.T) {
	r := remote(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".hidden"} {
		if err := r.Stage(during(t, name, "deploy"), likeThis{}); err == nil {
			t.Errorf("%q is staged", name)
		}
		if err := r.Keep(name, &isThere{}); err == nil {
			t.Errorf("%q is kept", name)
		}
	}
}
