package order_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk"
)

// watcher is what an order tells.
type watcher struct {
	attempt   func(url string, request func() ([]byte, error)) error
	challenge func(c model.Challenge, err error)
}

func (w watcher) Attempt(_ context.Context, url string, request func() ([]byte, error)) error {
	return w.attempt(url, request)
}

func (w watcher) ChallengeInvalid(_ context.Context, c model.Challenge, err error) {
	w.challenge(c, err)
}

// Hooks get the request that is finalized, before anything is put in place.
func TestHooksSeeTheRequest(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	var told []byte
	var at string
	d := w.deps()
	d.Hooks = watcher{attempt: func(url string, request func() ([]byte, error)) error {
		web.called(t, 0)
		var err error
		at = url
		told, err = request()
		return err
	}}
	result, err := order.Obtain(w.bounded(), d, request("web", "a.test", "b.test"))
	if err != nil {
		t.Fatal(err)
	}
	web.called(t, 1)
	csr, err := x509.ParseCertificateRequest(told)
	if err != nil {
		t.Fatal(err)
	}
	leaf := w.verify(request("web", "a.test", "b.test"), result)
	if public, ok := csr.PublicKey.(interface{ Equal(any) bool }); ok && !public.Equal(leaf.PublicKey) {
		t.Error("the certificate is for another key")
	}
	if string(result.CSR) != string(told) || result.OrderURL != at || !strings.HasPrefix(at, "https://") {
		t.Errorf("told of the order %s, the result is of %s", at, result.OrderURL)
	}
}

// An error of the hook gives the order up: nothing is put in place, and its key
// is dropped.
func TestHooksGiveAnOrderUp(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	d := w.deps()
	no := errors.New("no")
	d.Hooks = watcher{attempt: func(string, func() ([]byte, error)) error { return no }}
	if _, err := order.Obtain(w.bounded(), d, request("web", "a.test")); !errors.Is(err, no) {
		t.Fatal(err)
	}
	web.called(t, 0)
	w.idle()
}

// What the CA refuses is told while it is in place.
func TestHooksSeeWhatIsRefused(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		for _, c := range challenges {
			if err := w.web.put(c, "something else"); err != nil {
				return err
			}
			r.Result(sdk.Result{Subject: c.ID})
		}
		return nil
	}
	d := w.deps()
	told := 0
	d.Hooks = watcher{
		attempt: func(string, func() ([]byte, error)) error { return nil },
		challenge: func(c model.Challenge, err error) {
			told++
			if c.Token == "" || !strings.Contains(string(c.RawJSON), `"invalid"`) || err == nil || len(web.cleaned) > 0 {
				t.Errorf("%+v, %v, cleaned %v", c, err, web.cleaned)
			}
		},
	}
	if _, err := order.Obtain(w.bounded(), d, request("web", "a.test")); err == nil {
		t.Fatal("it was issued")
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}
