package run

import (
	"testing"

	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
)

// An order of an interrupted run that fails is followed by a new one: both are
// journalled, and the entry of before is ended once.
func TestResumedOrderEndsOnce(t *testing.T) {
	j, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	r := model.Request{Name: "a.test"}
	before, err := j.Order(journal.Order{Lineage: r.Name, OrderURL: "https://ca.test/1", Request: r})
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{resume: map[string]resumed{r.Name: {
		journal.Order{OrderURL: "https://ca.test/1", Request: r}, func() error { return j.OrderDone(before) },
	}}}
	url, done := e.resumable(r)
	if url != "https://ca.test/1" {
		t.Fatalf("resumed is %q", url)
	}
	as := journalling{Journal: j, resumed: done, asked: r}
	for _, url := range []string{"https://ca.test/1", "https://ca.test/2"} {
		end, err := as.Ordering(r, model.Order{URL: url})
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if err := end(); err != nil {
			t.Fatalf("%s: %v", url, err)
		}
	}
}
