package order_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk"
)

// lossy is a CA whose answers get lost, or change, after it has done its work.
type lossy struct {
	caller
	finalize    func(model.Order, error) (model.Order, error)
	certificate func([]byte, error) ([]byte, error)
}

func (l lossy) Finalize(ctx context.Context, o model.Order, csr []byte) (model.Order, error) {
	o, err := l.caller.Finalize(ctx, o, csr)
	if l.finalize != nil {
		return l.finalize(o, err)
	}
	return o, err
}

func (l lossy) Certificate(ctx context.Context, url string, want func([]byte) bool) ([]byte, bool, error) {
	chain, found, err := l.caller.Certificate(ctx, url, want)
	if l.certificate != nil {
		chain, err = l.certificate(chain, err)
	}
	return chain, found, err
}

// A certificate that the CA may have issued is not given up: its key and its
// place in the journal stay, and the next run finishes the order.
func TestInterruptedFinalize(t *testing.T) {
	lost := errors.New("the connection was lost")
	for name, ca := range map[string]lossy{
		"the answer to finalize is lost": {finalize: func(model.Order, error) (model.Order, error) { return model.Order{}, lost }},
		"the download is cut off":        {certificate: func([]byte, error) ([]byte, error) { return nil, lost }},
		"the CA is overloaded": {certificate: func([]byte, error) ([]byte, error) {
			return nil, errors.Join(lost, &model.ACMEError{Status: 503})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := registered(t, testca.Options{})
			w.add("web")
			ca.caller = w.client
			deps := w.deps()
			deps.CA = ca
			r := request("web", "a.test", "b.test")
			_, err := order.Obtain(w.bounded(), deps, r)
			var unfinished *order.UnfinishedError
			if !errors.Is(err, lost) || !errors.As(err, &unfinished) || !strings.Contains(report.Hint(err), "run the same command again") {
				t.Fatalf("%v (hint %q)", err, report.Hint(err))
			}
			left := w.pending()
			if len(left) != 1 || left[0].Order == nil {
				t.Fatalf("journal: %v", left)
			}
			o := left[0].Order
			key, err := w.store.OrderKey(r.Name, o.OrderID)
			if err != nil {
				t.Fatal(err)
			}
			result, err := order.Finish(w.bounded(), w.client, w.story, r, o.OrderURL, key)
			if err != nil {
				t.Fatal(err)
			}
			w.verify(r, result)
			if _, err := w.store.Commit(model.Lineage{Name: r.Name, Request: r}, o.OrderID, result.Issued); err != nil {
				t.Error(err)
			}
		})
	}
}

// What the CA refused is not tried again with the same key.
func TestRefusedFinalize(t *testing.T) {
	w := registered(t, testca.Options{})
	w.add("web")
	bad := &model.ACMEError{Type: "urn:ietf:params:acme:error:badCSR", Detail: "weak key", Status: 403}
	deps := w.deps()
	deps.CA = lossy{caller: w.client, finalize: func(model.Order, error) (model.Order, error) { return model.Order{}, bad }}
	if _, err := order.Obtain(w.bounded(), deps, request("web", "a.test")); !errors.Is(err, bad) || !strings.HasPrefix(err.Error(), "finalize the order: ") {
		t.Error(err)
	}
	if names, err := w.store.Names(); err != nil || len(names) > 0 {
		t.Errorf("left in the store: %q, %v", names, err)
	}
	w.idle()
}

// A chain that is none is an error, not a certificate.
func TestNotACertificate(t *testing.T) {
	w := registered(t, testca.Options{})
	w.add("web")
	deps := w.deps()
	deps.CA = lossy{caller: w.client, certificate: func([]byte, error) ([]byte, error) { return []byte("<html>"), nil }}
	if _, err := order.Obtain(w.bounded(), deps, request("web", "a.test")); err == nil || !strings.Contains(err.Error(), "not a PEM certificate") {
		t.Error(err)
	}
}

func TestFinishWhatCannotBeFinished(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	r := request("web", "a.test")
	ctx := w.bounded()
	o, err := w.client.NewOrder(ctx, model.NewOrder{Identifiers: r.Identifiers})
	if err != nil {
		t.Fatal(err)
	}
	key, err := w.store.NewKey(r.Name, order.ID(o.URL), model.P256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := order.Finish(ctx, w.client, w.story, r, o.URL, key); !errors.Is(err, order.ErrPending) {
		t.Errorf("with a name to prove: %v", err)
	}
	if _, err := order.Finish(ctx, w.client, w.story, r, o.URL+"x", key); !errors.Is(err, order.ErrDead) {
		t.Errorf("an order that there is not: %v", err)
	}
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		r.Result(sdk.Result{Subject: challenges[0].ID}) // a lie
		return nil
	}
	deps := w.deps()
	deps.Resume = o.URL
	if _, err := order.Obtain(ctx, deps, r); err == nil {
		t.Fatal("a certificate was issued")
	}
	if _, err := order.Finish(ctx, w.client, w.story, r, o.URL, key); !errors.Is(err, order.ErrDead) {
		t.Errorf("an order that failed: %v", err)
	}
	w.client.Close()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := order.Finish(cancelled, w.client, w.story, r, o.URL, key); err == nil || errors.Is(err, order.ErrDead) || errors.Is(err, order.ErrPending) {
		t.Errorf("without an answer: %v", err)
	}
}

// The CA was looking when the first run was interrupted, and the clean-up came
// before it had seen anything.
func TestResumedOrderIsLost(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	ctx := w.bounded()
	o, err := w.client.NewOrder(ctx, model.NewOrder{Identifiers: request("", "a.test", "b.test").Identifiers})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.NewKey("cert", order.ID(o.URL), model.P256); err != nil {
		t.Fatal(err)
	}
	a, err := w.client.Authorization(ctx, o.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range a.Challenges {
		if c.Type == sdk.HTTP01 {
			err = w.client.Accept(ctx, c.URL)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	// It stands as pending until the CA has been asked: the order is taken up.
	pending := &stillPending{CA: w.client}
	r := request("web", "a.test", "b.test")
	deps := w.deps()
	deps.CA, deps.Resume = pending, o.URL
	result, err := order.Obtain(ctx, deps, r)
	if err != nil {
		t.Fatal(err)
	}
	w.verify(r, result)
	if result.OrderID == order.ID(o.URL) {
		t.Error("the lost order was finished")
	}
	for _, text := range []string{"going on with the order of an interrupted run", "is lost, trying again in a new one"} {
		if !w.story.has(text) {
			t.Errorf("not told: %s: %q", text, w.story.lines)
		}
	}
	if len(web.performed) != len(web.cleaned) {
		t.Errorf("Perform was called %d times, Cleanup %d times", len(web.performed), len(web.cleaned))
	}
	if err := result.Done(); err != nil {
		t.Error(err)
	}
	w.idle()
}

// stillPending shows the first order as it was before the CA had looked.
type stillPending struct {
	order.CA
	asked bool
}

func (p *stillPending) Order(ctx context.Context, url string) (model.Order, error) {
	o, err := p.CA.Order(ctx, url)
	if !p.asked {
		p.asked, o.Status = true, model.StatusPending
	}
	return o, err
}

func TestResume(t *testing.T) {
	for name, tt := range map[string]struct {
		resumed []string
		goesOn  bool
	}{
		"the same names":            {[]string{"a.test", "b.test"}, true},
		"the same in another order": {[]string{"b.test", "a.test"}, true},
		"other names":               {[]string{"a.test"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := registered(t, testca.Options{})
			web := w.add("web")
			o, err := w.client.NewOrder(w.bounded(), model.NewOrder{Identifiers: request("", tt.resumed...).Identifiers})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.store.NewKey("cert", order.ID(o.URL), model.P256); err != nil {
				t.Fatal(err)
			}
			r := request("web", "a.test", "b.test")
			deps := w.deps()
			deps.Resume = o.URL
			result, err := order.Obtain(w.bounded(), deps, r)
			if err != nil {
				t.Fatal(err)
			}
			w.verify(r, result)
			if got := result.OrderID == order.ID(o.URL); got != tt.goesOn {
				t.Errorf("went on with the old order: %v", got)
			}
			if w.story.has("going on with the order of an interrupted run") != tt.goesOn {
				t.Errorf("story: %q", w.story.lines)
			}
			if _, err := w.store.OrderKey("cert", order.ID(o.URL)); errors.Is(err, fs.ErrNotExist) == tt.goesOn {
				t.Errorf("the key of the old order: %v", err)
			}
			web.called(t, 1)
			if err := result.Done(); err != nil {
				t.Error(err)
			}
			w.idle()
		})
	}
}
