package journal

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func order(seq int, name string) string {
	return fmt.Sprintf(`{"seq":%d,"op":"order","order":{"lineage":%q,"order_id":"o"}}`+"\n", seq, name)
}

func done(seq, id int) string { return fmt.Sprintf(`{"seq":%d,"op":"done","id":"%d"}`+"\n", seq, id) }

const head = "{\"v\":1}\n"

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, data, pending string
		corrupt             []string // in the errors, in order
		newer               bool
		torn                int // bytes of the torn line
	}{
		{name: "empty"},
		{name: "torn header", data: `{"v":`, torn: 5},
		{name: "header only", data: head},
		{name: "one", data: head + order(1, "a"), pending: "a"},
		{name: "done", data: head + order(1, "a") + order(2, "b") + done(3, 1), pending: "b"},
		{name: "torn line", data: head + order(1, "a") + order(2, "b")[:20], pending: "a", torn: 20},
		{name: "whole but for its end", data: head + order(1, "a") + strings.TrimSpace(done(2, 1)), pending: "a", torn: len(done(2, 1)) - 1},
		{name: "zeros after a power loss", data: head + order(1, "a") + "\x00\x00\x00", pending: "a", torn: 3},
		{name: "by sequence", data: head + order(3, "c") + order(1, "a") + done(4, 1) + order(2, "b"), pending: "b c"},
		{name: "corrupt line", data: head + order(1, "a") + "{\x00\n" + order(3, "c"), pending: "a c", corrupt: []string{"line 3"}},
		{name: "end of a lost beginning", data: head + "x\n" + done(2, 1) + order(3, "c"), pending: "c", corrupt: []string{"line 2", "line 3: cannot be read: \"done\" is about entry \"1\""}},
		{name: "corrupt header", data: "?\n" + order(1, "a"), pending: "a", corrupt: []string{"line 1"}},
		{name: "no version", data: "{}\n" + order(1, "a"), pending: "a", corrupt: []string{"line 1"}},
		{name: "line lost", data: head + order(1, "a") + order(3, "c"), pending: "a c", corrupt: []string{"line 3: cannot be read: its sequence number is 3, after 1"}},
		{name: "same number", data: head + order(1, "a") + order(1, "b"), pending: "a", corrupt: []string{"line 3"}},
		{name: "no number", data: head + order(0, "a") + order(1, "b"), pending: "b", corrupt: []string{"line 2"}},
		{name: "unknown", data: head + order(1, "a") + `{"seq":2,"op":"sing","id":"1"}` + "\n", pending: "a", corrupt: []string{`"sing"`}},
		{name: "without its object", data: head + `{"seq":1,"op":"order"}` + "\n", corrupt: []string{"line 2"}},
		{name: "newer", data: "{\"v\":2}\n" + order(1, "a"), newer: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read("f.jsonl", []byte(c.data))
			if errors.Is(err, ErrNewer) != c.newer || (err != nil) != c.newer {
				t.Fatal(err)
			}
			if c.newer && (!strings.Contains(err.Error(), "f.jsonl") || sdk.ProblemOf(err).Hint == "") {
				t.Errorf("%v", err)
			}
			var names []string
			for _, e := range got.pending {
				names = append(names, e.Order.Lineage)
			}
			if text := strings.Join(names, " "); text != c.pending {
				t.Errorf("pending %q, want %q", text, c.pending)
			}
			if len(got.corrupt) != len(c.corrupt) {
				t.Fatalf("corrupt: %v", got.corrupt)
			}
			for i, want := range c.corrupt {
				if text := got.corrupt[i].Error(); !strings.Contains(text, want) || !strings.Contains(text, "f.jsonl") {
					t.Errorf("%q, want %q", text, want)
				}
			}
			if want := int64(len(c.data) - c.torn); got.whole != want {
				t.Errorf("whole to %d, want %d", got.whole, want)
			}
		})
	}
}

// Whatever is in a file, reading it does not panic, gives entries in order, and
// a torn line after it changes nothing. What was read whole can be continued.
func FuzzRead(f *testing.F) {
	f.Add([]byte(head + order(1, "a") + done(2, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := read("f", data)
		if err != nil {
			return
		}
		last := int64(0)
		for _, e := range c.pending {
			if e.Seq <= last || e.Seq > c.lastSeq || e.ID != entryID(e.Seq) {
				t.Fatalf("entry %d after %d, of %d", e.Seq, last, c.lastSeq)
			}
			last = e.Seq
			set := 0
			for _, is := range []bool{e.Perform != nil, e.Deploy != nil, e.Order != nil} {
				if is {
					set++
				}
			}
			if set != 1 || e.String() == "nothing" {
				t.Fatalf("%d kinds in %+v", set, e)
			}
		}
		whole := data[:c.whole:c.whole]
		torn, err := read("f", append(whole, `{"seq":1,"op":"done`...))
		if err != nil || len(torn.pending) != len(c.pending) || len(torn.corrupt) != len(c.corrupt) || torn.whole != c.whole {
			t.Fatalf("a torn line changed %+v to %+v, %v", c, torn, err)
		}
		if len(c.pending) == 0 || c.lastSeq == 1<<63-1 {
			return
		}
		line, err := encode(record{Seq: c.lastSeq + 1, Op: opDone, ID: c.pending[0].ID})
		if err != nil {
			t.Fatal(err)
		}
		next, err := read("f", append(whole, line...))
		if err != nil || len(next.pending) != len(c.pending)-1 || len(next.corrupt) != len(c.corrupt) {
			t.Fatalf("after the first was done: %+v, %v", next, err)
		}
	})
}
