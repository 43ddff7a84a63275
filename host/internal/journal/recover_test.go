package journal

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/sdk"
)

// left leaves a journal of a dead run with orders.
func left(t *testing.T, dir string, lineages ...string) string {
	t.Helper()
	j := open(t, dir)
	for _, l := range lineages {
		_, err := j.Order(Order{Lineage: l})
		must(t, err)
	}
	path := j.file.path
	must(t, j.Close())
	return path
}

// recovered collects the lineages that come, and fails those named.
type recovered struct {
	mu   sync.Mutex
	seen []string
	fail map[string]error
}

func (r *recovered) fn(_ context.Context, e Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Perform != nil {
		r.seen = append(r.seen, e.Perform.Lineage)
		return nil
	}
	r.seen = append(r.seen, e.Order.Lineage)
	return r.fail[e.Order.Lineage]
}

func (r *recovered) want(t *testing.T, lineages ...string) {
	t.Helper()
	if !slices.Equal(r.seen, lineages) {
		t.Errorf("came %v, want %v", r.seen, lineages)
	}
	r.seen = nil
}

func TestRecoverInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	left(t, dir, "a", "b")
	left(t, dir, "c")
	left(t, dir, "d")
	live := open(t, dir)
	_, err := live.Order(Order{Lineage: "mine"})
	must(t, err)
	var r recovered
	must(t, Recover(t.Context(), dir, r.fn))
	r.want(t, "a", "b", "c", "d")
	if names := files(t, dir); len(names) != 1 || names[0] != filepath.Base(live.file.path) {
		t.Errorf("left: %v", names)
	}
	must(t, live.Close())
	must(t, Recover(t.Context(), dir, r.fn))
	r.want(t, "mine")
}

// Failures are counted over runs; the third warns and no longer blocks, and the
// entry still comes. What succeeded does not come again.
func TestRecoverFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	path := left(t, dir, "a", "b", "c")
	broken := sdk.Hint(errors.New("the DNS is down"), "mend it")
	r := recovered{fail: map[string]error{"b": broken}}
	for attempt := 1; attempt <= 5; attempt++ {
		err := Recover(t.Context(), dir, r.fn)
		if attempt == 1 {
			r.want(t, "a", "b", "c")
		} else {
			r.want(t, "b")
		}
		warnings, blocking := Split(err)
		var failed *FailedError
		var stuck *StuckError
		if attempt < 3 {
			if !errors.As(blocking, &failed) || failed.Entry.Attempts != attempt || len(warnings) > 0 || !errors.Is(err, broken) {
				t.Errorf("attempt %d: %v", attempt, err)
			}
			continue
		}
		if blocking != nil || len(warnings) != 1 || !errors.As(warnings[0], &stuck) || stuck.Entry.Attempts != 3 {
			t.Fatalf("attempt %d: %v", attempt, err)
		}
		if p := sdk.ProblemOf(warnings[0]); !strings.Contains(p.Hint, "mend it") || !strings.Contains(p.Hint, path) || !strings.Contains(p.Error(), "certificate b") {
			t.Errorf("%v, hint %q", p, p.Hint)
		}
	}
	entries, err := Pending(dir)
	if err != nil || len(entries) != 1 || entries[0].Attempts != 3 {
		t.Errorf("%+v, %v", entries, err)
	}
	r.fail = nil
	must(t, Recover(t.Context(), dir, r.fn))
	if names := files(t, dir); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

func TestRecoverCancelled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	left(t, dir, "a", "b")
	left(t, dir, "c")
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := Recover(ctx, dir, func(ctx context.Context, _ Entry) error {
		calls++
		cancel()
		return ctx.Err()
	})
	if _, blocking := Split(err); !errors.Is(blocking, context.Canceled) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	entries, err := Pending(dir)
	must(t, err)
	if len(entries) != 3 || entries[0].Attempts != 0 {
		t.Errorf("%+v", entries)
	}
}

// A torn line is cut off before more is written; a corrupt one is reported, and
// its file kept for a person.
func TestRecoverDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	torn, corrupt := left(t, dir, "a", "b"), left(t, dir, "c")
	for path, text := range map[string]string{torn: `{"seq":3,"op":"` + strings.Repeat("do", 500), corrupt: "?\n" + order(3, "d")} {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString(text)
		must(t, errors.Join(err, f.Close()))
	}
	must(t, os.WriteFile(filepath.Join(dir, newPrefix+"17"), []byte(head), 0o600))
	r := recovered{fail: map[string]error{"b": errors.New("not yet")}}
	err := Recover(t.Context(), dir, r.fn)
	r.want(t, "a", "b", "c", "d")
	warnings, blocking := Split(err)
	var lost *CorruptError
	if len(warnings) != 1 || !errors.As(warnings[0], &lost) || lost.File != filepath.Base(corrupt) || lost.Line != 3 {
		t.Errorf("warnings %v", warnings)
	}
	var failed *FailedError
	if !errors.As(blocking, &failed) {
		t.Errorf("blocking: %v", blocking)
	}
	if want := []string{filepath.Base(torn), filepath.Base(corrupt) + ".corrupt"}; !slices.Equal(files(t, dir), want) {
		t.Errorf("left %v, want %v", files(t, dir), want)
	}
	if data, err := os.ReadFile(torn); err != nil || strings.Contains(string(data), "dodo") {
		t.Errorf("the torn line is still there: %v", err)
	}
	r.fail = nil
	must(t, Recover(t.Context(), dir, r.fn))
	r.want(t, "b")
}

// A file that was removed between opening and locking it is nobody's.
func TestStill(t *testing.T) {
	path := left(t, filepath.Join(t.TempDir(), "journal"), "a")
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	if !still(path, f) {
		t.Error("it is still there")
	}
	must(t, os.Remove(path))
	if still(path, f) {
		t.Error("it was removed")
	}
	must(t, os.WriteFile(path, nil, 0o600))
	if still(path, f) {
		t.Error("it is another one")
	}
}

func TestRecoverNewer(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "00000001-1.jsonl")
	must(t, os.WriteFile(path, []byte("{\"v\":2}\n"+order(1, "a")), 0o600))
	left(t, dir, "b")
	var r recovered
	err := Recover(t.Context(), dir, r.fn)
	r.want(t, "b")
	if _, blocking := Split(err); !errors.Is(blocking, ErrNewer) {
		t.Errorf("%v", err)
	}
	if names := files(t, dir); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
	if _, err := Pending(dir); !errors.Is(err, ErrNewer) {
		t.Errorf("pending: %v", err)
	}
}

// One that only looks is not taken for a run that lives.
func TestRecoverWhileLooking(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	f, err := os.Open(left(t, dir, "a"))
	must(t, err)
	defer f.Close()
	must(t, disk.Flock(f, unix.LOCK_SH))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var r recovered
	if err := recoverFile(ctx, f.Name(), r.fn); !errors.Is(err, context.Canceled) {
		t.Errorf("it did not wait for the reader: %v", err)
	}
	var g errgroup.Group
	g.Go(func() error { return Recover(t.Context(), dir, r.fn) })
	must(t, disk.Flock(f, unix.LOCK_UN))
	must(t, g.Wait())
	r.want(t, "a")
}

// The journal of another process that lives is left alone; when that process
// was killed, of several that come to recover exactly one does it.
func TestRecoverAcrossProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	holder := childCommand(ctx, t, "hold", dir)
	stdin, err := holder.StdinPipe()
	must(t, err)
	defer stdin.Close()
	stdout, err := holder.StdoutPipe()
	must(t, err)
	must(t, holder.Start())
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("child: %q, %v", line, err)
	}
	var r recovered
	must(t, Recover(ctx, dir, r.fn))
	r.want(t)
	if out, err := childCommand(ctx, t, "recover", dir).Output(); err != nil || len(out) > 0 {
		t.Errorf("another process: %v: %s", err, out)
	}

	must(t, holder.Process.Kill())
	if err := holder.Wait(); err == nil {
		t.Error("the holder was not killed")
	}
	entries, err := Pending(dir)
	must(t, err)
	if len(entries) != 1 || string(entries[0].Perform.Challenges[1].Receipt) != "r2" {
		t.Errorf("%+v", entries)
	}
	var commands []*exec.Cmd
	var outputs [4]strings.Builder
	for i := range outputs {
		cmd := childCommand(ctx, t, "recover", dir)
		cmd.Stdout = &outputs[i]
		must(t, cmd.Start())
		commands = append(commands, cmd)
	}
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return Recover(ctx, dir, r.fn) })
	}
	must(t, g.Wait())
	times := len(r.seen)
	for i, cmd := range commands {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, &outputs[i])
		}
		times += strings.Count(outputs[i].String(), "recovered")
	}
	if names := files(t, dir); times != 1 || len(names) > 0 {
		t.Errorf("recovered %d times, left %v", times, names)
	}
}
