package order_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk"
)

// one is the failure of one name in a report.
func one(t *testing.T, err error, name string) order.Failure {
	t.Helper()
	var failed *order.FailedError
	if !errors.As(err, &failed) {
		t.Fatalf("%v is no report of names", err)
	}
	for _, f := range failed.Failures {
		if f.Identifier.Value == name {
			return f
		}
	}
	t.Fatalf("%v does not name %s", err, name)
	return order.Failure{}
}

func TestOneChallengeFails(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	no := sdk.Hint(sdk.WithCode(errors.New("no such directory"), sdk.NotFound), "create it")
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		i := slices.IndexFunc(challenges, func(c sdk.Challenge) bool { return c.Identifier.Value == "b.test" })
		r.Result(sdk.Result{Subject: challenges[i].ID, Err: no})
		return web.right(slices.Delete(slices.Clone(challenges), i, i+1), r)
	}
	err := w.fail(w.bounded(), request("web", "a.test", "b.test", "c.test"))
	if want := "1 name could not be proven\n  not_found:\n    b.test (http-01 by web): no such directory"; !strings.Contains(err.Error(), want) || !errors.Is(err, no) {
		t.Errorf("%v, want %s", err, want)
	}
	if f := one(t, err, "b.test"); f.Instance != "web" || f.Type != sdk.HTTP01 {
		t.Errorf("%+v", f)
	}
	web.called(t, 1)
	w.idle()
}

// A later failure of the same challenge counts: it is no longer in place.
func TestResultThatChanges(t *testing.T) {
	w := registered(t, testca.Options{})
	no := errors.New("it was taken away again")
	web := w.add("web")
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		r.Result(sdk.Result{Subject: challenges[0].ID})
		r.Result(sdk.Result{Subject: challenges[0].ID, Err: no})
		return nil
	}
	if err := w.fail(w.bounded(), request("web", "a.test")); !errors.Is(err, no) {
		t.Error(err)
	}
	w.idle()
}

func TestNothingIsReported(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	web.perform = func(_ context.Context, challenges []sdk.Challenge, _ sdk.Reporter) error {
		return w.web.put(challenges[0], challenges[0].KeyAuthorization)
	}
	err := w.fail(w.bounded(), request("web", "a.test"))
	if f := one(t, err, "a.test"); f.Err.Error() != "the plugin test ended without saying what became of it" {
		t.Error(f.Err)
	}
	web.called(t, 1)
	w.idle()
}

// What is in place is validated, what is not fails with the error, and all is
// cleaned.
func TestErrorHalfWay(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	broken := errors.New("the disk is full")
	var first string
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		first = challenges[0].Identifier.Value
		if err := web.right(challenges[:1], r); err != nil {
			return err
		}
		return broken
	}
	err := w.fail(w.bounded(), request("web", "a.test", "b.test", "c.test"))
	var failed *order.FailedError
	if !errors.As(err, &failed) || len(failed.Failures) != 2 || !errors.Is(err, broken) {
		t.Fatal(err)
	}
	for _, f := range failed.Failures {
		if f.Identifier.Value == first {
			t.Errorf("%s was in place, and fails with %v", first, f.Err)
		}
	}
	web.called(t, 1)
	if n := len(web.cleaned[0]); n != 3 {
		t.Errorf("%d challenges were cleaned, want all", n)
	}
	w.idle()
}

func TestResultsForNobody(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		r.Result(sdk.Result{Subject: "nobody", Receipt: []byte("x")})
		r.Result(sdk.Result{Subject: "", Err: errors.New("x")})
		return web.right(challenges, r)
	}
	keep := errors.New("kept for the test")
	web.cleanup = func(context.Context, []sdk.Challenge, sdk.Reporter) error { return keep }
	result, err := order.Obtain(w.bounded(), w.deps(), request("web", "a.test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Done(); err != nil {
		t.Error(err)
	}
	left := w.pending()
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil || bytes.Contains(text, []byte("nobody")) {
		t.Errorf("a receipt for nobody was written: %s, %v", text, err)
	}
	if len(left) != 1 || left[0].Perform == nil || len(left[0].Perform.Challenges) != 1 {
		t.Fatalf("journal: %+v", left)
	}
	if c := left[0].Perform.Challenges[0]; string(c.Receipt) != "receipt of "+c.ID {
		t.Errorf("receipt %q", c.Receipt)
	}
}

func TestReceiptsAreJournaled(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	big := bytes.Repeat([]byte("x"), 64<<10)
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		for i, c := range challenges {
			if err := w.web.put(c, c.KeyAuthorization); err != nil {
				return err
			}
			receipt := [][]byte{[]byte("small"), big, append(big, 'x'), nil}[i]
			r.Result(sdk.Result{Subject: c.ID, Receipt: receipt})
		}
		return nil
	}
	// The second and third cannot be taken away.
	stuck := errors.New("still in use")
	web.cleanup = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		for i, c := range challenges {
			if want := [][]byte{[]byte("small"), big, nil, nil}[i]; !bytes.Equal(c.Receipt, want) {
				t.Errorf("challenge %d has a receipt of %d bytes, want %d", i, len(c.Receipt), len(want))
			}
			if i == 1 || i == 2 {
				r.Result(sdk.Result{Subject: c.ID, Err: stuck})
			}
		}
		return nil
	}
	result, err := order.Obtain(w.bounded(), w.deps(), request("web", "a.test", "b.test", "c.test", "d.test"))
	if err != nil {
		t.Fatal(err) // a failed clean-up is no failed order
	}
	if err := result.Done(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"warning: cert: web gave a receipt of 65537 bytes, which is not kept: the limit is 65536", "warning: cert: web could not clean up, the next run will try again: still in use"} {
		if !w.story.has(want) {
			t.Errorf("%q lacks %q", w.story.lines, want)
		}
	}
	left := w.pending()
	if len(left) != 1 || left[0].Perform == nil {
		t.Fatalf("journal: %v", left)
	}
	p := left[0].Perform
	if p.Lineage != "cert" || p.Instance.Name != "web" || p.OperationID != web.ops[0].ID {
		t.Errorf("entry %+v", p)
	}
	want := web.performed[0][1:3]
	if !slices.Equal(ids(p.Challenges), ids(want)) {
		t.Errorf("the journal keeps %q, want %q", ids(p.Challenges), ids(want))
	}
	if !bytes.Equal(p.Challenges[0].Receipt, big) || p.Challenges[1].Receipt != nil {
		t.Error("the journal keeps other receipts")
	}
}

// A receipt that came in time is in the journal even if Perform never ends
// well.
func TestReceiptOfAFailedPerform(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		r.Result(sdk.Result{Subject: challenges[0].ID, Receipt: []byte("early"), Err: nil})
		return errors.New("crash")
	}
	web.cleanup = func(context.Context, []sdk.Challenge, sdk.Reporter) error { return errors.New("crash") }
	_ = w.fail(w.bounded(), request("web", "a.test"))
	left := w.pending()
	if len(left) != 1 || string(left[0].Perform.Challenges[0].Receipt) != "early" {
		t.Errorf("journal: %+v", left)
	}
}

// Many results at once, from several goroutines.
func TestConcurrentResults(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		var wg sync.WaitGroup
		for _, c := range challenges {
			if err := w.web.put(c, c.KeyAuthorization); err != nil {
				return err
			}
			wg.Go(func() { r.Result(sdk.Result{Subject: c.ID, Receipt: []byte("receipt of " + c.ID)}) })
		}
		wg.Wait()
		return nil
	}
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("n%d.test", i))
	}
	w.issue(request("web", names...))
	for _, c := range web.cleaned[0] {
		if string(c.Receipt) != "receipt of "+c.ID {
			t.Errorf("the receipt %q was handed to Cleanup", c.Receipt)
		}
	}
}

// After a cancel everything is cleaned up, by calls that are not cancelled.
func TestCancelledInPerform(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	stop := errors.New("interrupted by the user")
	ctx, cancel := context.WithCancelCause(w.bounded())
	web.perform = func(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		if err := web.right(challenges[:1], r); err != nil {
			return err
		}
		cancel(stop)
		<-ctx.Done()
		return ctx.Err()
	}
	web.cleanup = func(ctx context.Context, challenges []sdk.Challenge, _ sdk.Reporter) error {
		if len(challenges) != 3 {
			t.Errorf("%d challenges are cleaned, want all", len(challenges))
		}
		return ctx.Err()
	}
	if err := w.fail(ctx, request("web", "a.test", "b.test", "c.test")); !errors.Is(err, stop) {
		t.Error(err)
	}
	web.called(t, 1)
	w.idle()
}

// If the call broke, the process may be gone: another one is asked.
func TestCleanupByAFreshProcess(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	web.cleanup = func(context.Context, []sdk.Challenge, sdk.Reporter) error {
		return errors.New("the connection was lost")
	}
	again := &authenticator{world: w, name: "again"}
	w.fresh = map[string]*authenticator{"web": again}
	w.issue(request("web", "a.test", "b.test"))
	if len(again.cleaned) != 1 || !slices.Equal(ids(again.cleaned[0]), ids(web.performed[0])) {
		t.Errorf("the fresh process cleaned %v", again.cleaned)
	}
	if len(again.cleaned) == 1 && len(again.cleaned[0][0].Receipt) == 0 {
		t.Error("the fresh process got no receipt")
	}
}

// A problem is the plugin's own word: asking again would not help.
func TestCleanupProblemIsFinal(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	web.cleanup = func(context.Context, []sdk.Challenge, sdk.Reporter) error {
		return sdk.Problemf(sdk.PermissionDenied, "may not delete")
	}
	again := &authenticator{world: w, name: "again"}
	w.fresh = map[string]*authenticator{"web": again}
	if _, err := order.Obtain(w.bounded(), w.deps(), request("web", "a.test")); err != nil {
		t.Fatal(err)
	}
	if len(again.cleaned) > 0 {
		t.Error("another process was asked")
	}
	if left := w.pending(); len(left) != 2 { // the order is not Done
		t.Errorf("journal: %v", left)
	}
}

// The responses of one instance do not stay because another one failed.
func TestOneOfTwoInstancesFails(t *testing.T) {
	w := registered(t, testca.Options{})
	good, bad := w.add("good"), w.add("bad")
	bad.perform = func(context.Context, []sdk.Challenge, sdk.Reporter) error { return errors.New("crash") }
	r := request("good", "a.test", "b.test")
	r.Authenticate = append([]model.Rule{{Match: "b.test", With: []string{"bad"}}}, r.Authenticate...)
	one(t, w.fail(w.bounded(), r), "b.test")
	good.called(t, 1)
	bad.called(t, 1)
	w.idle()
}

func TestResourcesAreNotToBeHad(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	w.held.refuse = errors.New("another process holds port 80")
	if err := w.fail(w.bounded(), request("web", "a.test")); !errors.Is(err, w.held.refuse) {
		t.Error(err)
	}
	web.called(t, 0)
	w.idle()
}

// Nothing is performed that the journal could not take.
func TestJournalFails(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	if err := w.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.fail(w.bounded(), request("web", "a.test")); !strings.HasPrefix(err.Error(), "journal the order: ") {
		t.Error(err)
	}
	web.called(t, 0)
}

// A key that cannot be kept is not used.
func TestKeyFails(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	r := request("web", "a.test")
	r.KeyType = "dsa"
	if err := w.fail(w.bounded(), r); !strings.Contains(err.Error(), `key type "dsa"`) {
		t.Error(err)
	}
	web.called(t, 1)
	w.idle()
}
