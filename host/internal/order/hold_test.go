package order_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk"
)

// What is exclusive is taken sorted, whoever needs it, before anybody performs.
func TestResourcesAreTakenInOrder(t *testing.T) {
	w := registered(t, testca.Options{})
	keys := map[string][]string{"one": {"z", "b"}, "two": {"c", "a"}, "three": nil}
	r := request("three", "1.test", "2.test", "3.test")
	r.Authenticate = append([]model.Rule{{Match: "1.test", With: []string{"one"}}, {Match: "2.test", With: []string{"two"}}}, r.Authenticate...)
	for name := range keys {
		a := w.add(name)
		a.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
			w.held.mu.Lock()
			all := slices.Clone(w.held.all)
			w.held.mu.Unlock()
			if !slices.Equal(all, []string{"two: a", "one: b", "two: c", "one: z"}) {
				t.Errorf("%s performs when these were taken: %q", name, all)
			}
			return a.right(challenges, r)
		}
	}
	d := w.deps()
	d.ResourceKeys = func(i order.Instance) []string { return keys[i.Config.Name] }
	result, err := order.Obtain(w.bounded(), d, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Done(); err != nil {
		t.Error(err)
	}
	w.idle()
}

// What was taken before another resource is not to be had is given back.
func TestResourceThatIsNotToBeHad(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	d := w.deps()
	d.ResourceKeys = func(order.Instance) []string { return []string{"b", "a", "c"} }
	busy := errors.New("another process holds c")
	d.Resources = picky{w.held, busy}
	if _, err := order.Obtain(w.bounded(), d, request("web", "a.test")); !errors.Is(err, busy) {
		t.Error(err)
	}
	if !slices.Equal(w.held.all, []string{"web: a", "web: b"}) {
		t.Errorf("taken: %q", w.held.all)
	}
	web.called(t, 0)
	w.idle()
}

type picky struct {
	*holds
	err error
}

func (p picky) Hold(ctx context.Context, instance string, keys []string) (func(), error) {
	if slices.Contains(keys, "c") {
		return nil, p.err
	}
	return p.holds.Hold(ctx, instance, keys)
}
