package checkpoint

import "testing"

func TestNotes(t *testing.T) {
	dir := t.TempDir()
	const one, two = "a/b one", "../two"
	must(t, open(t, dir).Note(one, two))
	s := open(t, dir)
	if !s.Noted(one) || !s.Noted(two) || s.Noted("three") {
		t.Error("another process does not find exactly what was noted")
	}
	must(t, s.Note(one))
	must(t, s.Forget(one, "three"))
	must(t, s.Recover(t.Context()))
	if s.Noted(one) || !s.Noted(two) {
		t.Error("not exactly what was forgotten is gone")
	}
}
