package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Every endpoint is proven once, with a name to ask for.
func TestEndpoints(t *testing.T) {
	f := newTarget(t)
	same := sdk.Endpoint{Address: "127.0.0.1:1", ServerName: "own.test", Kind: sdk.SMTP}
	f.report["deploy *.a.test"] = func(r sdk.Reporter) {
		r.Result(sdk.Result{Endpoints: []sdk.Endpoint{{Address: "127.0.0.1:1"}, same, same}})
	}
	f.endpoint("deploy b.test", "127.0.0.1:1")
	f.report["restart"] = func(r sdk.Reporter) {
		r.Result(sdk.Result{Endpoints: []sdk.Endpoint{same, {Address: "127.0.0.1:2"}}})
	}
	var mu sync.Mutex
	var got []string
	prove := func(_ context.Context, e model.Endpoint, leaf []byte) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf("%s %s %s %s", e.Address, e.ServerName, e.Kind, leaf))
		return nil, nil
	}
	after, err := f.run(t.Context(), prove, model.Target{})
	if err != nil || after.Proven != 4 || len(after.Endpoints) != 4 {
		t.Errorf("%+v, %v", after, err)
	}
	slices.Sort(got)
	want := []string{
		"127.0.0.1:1 b.test  leaf", "127.0.0.1:1 certwright.a.test  leaf",
		"127.0.0.1:1 own.test smtp leaf", "127.0.0.1:2 b.test  leaf",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// All proofs that fail are told, not only the first.
func TestSeveralProofsFail(t *testing.T) {
	f := newTarget(t)
	f.endpoint("deploy b.test", "127.0.0.1:1")
	f.endpoint("restart", "127.0.0.1:2")
	_, err := f.run(t.Context(), func(context.Context, model.Endpoint, []byte) ([]string, error) {
		return nil, errors.New("it serves another certificate")
	}, model.Target{})
	for _, want := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
		if want = "prove that " + want + " serves the new certificate: it serves another certificate"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}
