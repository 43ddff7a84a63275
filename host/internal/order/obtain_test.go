package order_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk"
)

func TestObtain(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	leaf := w.issue(request("web", "a.test", "b.test", "c.test"))
	if diff := cmp.Diff([]string{"a.test", "b.test", "c.test"}, leaf.DNSNames); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	web.called(t, 1)
	if n := len(web.performed[0]); n != 3 {
		t.Errorf("%d challenges in the batch, want all three", n)
	}
	if !slices.Equal(w.held.all, []string{"web: for web"}) {
		t.Errorf("resources: %q", w.held.all)
	}
	for _, c := range web.performed[0] {
		// The plugin gets everything computed (RFC 8555 section 8.3).
		if c.HTTP == nil || c.HTTP.Path != "/.well-known/acme-challenge/"+c.Token || string(c.HTTP.Body) != c.KeyAuthorization ||
			!strings.HasPrefix(c.KeyAuthorization, c.Token+".") || len(c.RawJSON) == 0 || c.Receipt != nil {
			t.Errorf("challenge %+v", c)
		}
	}
	for _, c := range web.cleaned[0] {
		if string(c.Receipt) != "receipt of "+c.ID {
			t.Errorf("the receipt %q was handed to Cleanup", c.Receipt)
		}
	}
	perform, cleanup := web.ops[0], web.ops[1]
	if perform.ID == "" || perform.ID == cleanup.ID || perform.Lineage != "cert" || perform.RunID != "run-1" || perform.Attempt != 1 || len(perform.Identifiers) != 3 {
		t.Errorf("operations %+v and %+v", perform, cleanup)
	}
}

func TestKeyTypesAndAddresses(t *testing.T) {
	for name, tt := range map[string]struct {
		kt    model.KeyType
		types string
		names []string
		right func(key any) bool
	}{
		"RSA":                   {model.RSA2048, sdk.HTTP01, []string{"a.test"}, func(k any) bool { key, ok := k.(*rsa.PublicKey); return ok && key.N.BitLen() == 2048 }},
		"P-384":                 {model.P384, sdk.HTTP01, []string{"a.test"}, func(k any) bool { key, ok := k.(*ecdsa.PublicKey); return ok && key.Curve.Params().BitSize == 384 }},
		"tls-alpn-01":           {model.P256, sdk.TLSALPN01, []string{"a.test", "b.test"}, nil},
		"address, http-01":      {model.P256, sdk.HTTP01, []string{"127.0.0.1", "a.test"}, nil},
		"address, tls-alpn-01":  {model.P256, sdk.TLSALPN01, []string{"127.0.0.1"}, nil},
		"tls-alpn-01 preferred": {model.P256, sdk.TLSALPN01 + " " + sdk.HTTP01, []string{"a.test"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := registered(t, testca.Options{})
			web := w.add("web")
			web.types = strings.Fields(tt.types)
			r := request("web", tt.names...)
			r.KeyType = tt.kt
			leaf := w.issue(r)
			if tt.right != nil && !tt.right(leaf.PublicKey) {
				t.Errorf("the key is a %T", leaf.PublicKey)
			}
			if got := web.performed[0][0].Type; got != web.types[0] {
				t.Errorf("proven by %s", got)
			}
		})
	}
}

// The user's order goes before the plugin's.
func TestUserPreference(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	r := request("web", "a.test")
	r.Preferred = []string{sdk.DNS01, sdk.TLSALPN01, sdk.HTTP01}
	w.issue(r)
	if got := web.performed[0][0].Type; got != sdk.TLSALPN01 {
		t.Errorf("proven by %s", got)
	}
}

// One certificate, several instances, all at once.
func TestMixing(t *testing.T) {
	w := registered(t, testca.Options{})
	one, two := w.add("one"), w.add("two")
	two.types = []string{sdk.TLSALPN01}
	r := request("two", "a.test", "b.test", "c.test")
	r.Authenticate = append([]model.Rule{{Match: "a.test", With: []string{"one"}}}, r.Authenticate...)
	w.issue(r)
	one.called(t, 1)
	two.called(t, 1)
	if len(one.performed[0]) != 1 || len(two.performed[0]) != 2 || one.performed[0][0].Type != sdk.HTTP01 {
		t.Errorf("one has %d challenges, two %d", len(one.performed[0]), len(two.performed[0]))
	}
}

func TestPreferSaysNo(t *testing.T) {
	w := registered(t, testca.Options{})
	picky, web := w.add("picky"), w.add("web")
	picky.prefer = func(id sdk.Identifier) sdk.Preference {
		if id.Value == "mine.test" {
			return sdk.Preference{ChallengeTypes: []string{sdk.TLSALPN01}}
		}
		return sdk.Preference{Err: errors.New("not my zone")}
	}
	w.issue(request("picky web", "mine.test", "other.test"))
	picky.called(t, 1)
	web.called(t, 1)
	if c := picky.performed[0]; len(c) != 1 || c[0].Identifier.Value != "mine.test" || c[0].Type != sdk.TLSALPN01 {
		t.Errorf("picky got %+v", c)
	}
	if c := web.performed[0]; len(c) != 1 || c[0].Identifier.Value != "other.test" {
		t.Errorf("web got %+v", c)
	}
}

// A name whose first instance cannot even start goes to the next at once.
func TestInstanceThatCannotStart(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	w.issue(request("broken web", "a.test"))
	web.called(t, 1)
}

// Nobody is asked to do anything if one name has no way.
func TestNoWay(t *testing.T) {
	w := registered(t, testca.Options{})
	web, hook, host := w.add("web"), w.add("hook"), w.add("host")
	hook.change = func(d *sdk.Description) { d.Roles = []string{sdk.RoleHook} }
	host.types, host.change = []string{sdk.DNS01}, func(d *sdk.Description) { d.DNS = sdk.HostDNS }
	r := request("web", "good.test", "*.a.test", "none.test", "hook.test", "zone.test")
	r.Authenticate = []model.Rule{
		{Match: "none.test"}, {Match: "hook.test", With: []string{"hook"}}, {Match: "zone.test", With: []string{"host", "absent"}}, {With: []string{"web"}},
	}
	err := w.fail(w.bounded(), r)
	var failed *order.FailedError
	if !errors.As(err, &failed) || len(failed.Failures) != 4 {
		t.Fatal(err)
	}
	for _, want := range []string{
		"4 names could not be proven\n  not tried:\n",
		"*.a.test: web: it has no DNS challenge, which a wildcard needs",
		"none.test: no authenticator is named for it: give one with -a or in authenticate",
		"hook.test: hook: the plugin test is no authenticator",
		"zone.test: host: it leaves DNS to the host",
		"; absent: there is no plugin for absent",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	web.called(t, 0)
	w.idle()
}

func TestFallback(t *testing.T) {
	w := registered(t, testca.Options{})
	first, second := w.add("first"), w.add("second")
	first.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		for _, c := range challenges {
			content := c.KeyAuthorization
			if c.Identifier.Value == "b.test" {
				content = "something else"
			}
			if err := w.web.put(c, content); err != nil {
				return err
			}
			r.Result(sdk.Result{Subject: c.ID})
		}
		return nil
	}
	w.issue(request("first second", "a.test", "b.test"))
	second.called(t, 1)
	if c := second.performed[0]; len(c) != 1 || c[0].Identifier.Value != "b.test" {
		t.Errorf("the second instance got %+v", c)
	}
	if first.ops[0].ID == second.ops[0].ID {
		t.Error("two orders have one operation ID")
	}
	if !w.story.has("trying the next instance of b.test in a new order") || !w.story.has("warning: cert: 1 name could not be proven") {
		t.Errorf("story: %q", w.story.lines)
	}
}

// Without a next instance for every name that failed there is no new order.
func TestNoFallbackForOne(t *testing.T) {
	w := registered(t, testca.Options{})
	first, second := w.add("first"), w.add("second")
	no := errors.New("cannot")
	first.perform = func(context.Context, []sdk.Challenge, sdk.Reporter) error { return no }
	r := request("first second", "a.test", "b.test")
	r.Authenticate = append([]model.Rule{{Match: "b.test", With: []string{"first"}}}, r.Authenticate...)
	if err := w.fail(w.bounded(), r); !errors.Is(err, no) {
		t.Error(err)
	}
	first.called(t, 1)
	second.called(t, 0)
	w.idle()
}

func TestEveryInstanceFails(t *testing.T) {
	w := registered(t, testca.Options{})
	one, two := errors.New("one cannot"), errors.New("two cannot")
	first, second := w.add("first"), w.add("second")
	first.perform = func(context.Context, []sdk.Challenge, sdk.Reporter) error { return one }
	second.perform = func(context.Context, []sdk.Challenge, sdk.Reporter) error { return two }
	if err := w.fail(w.bounded(), request("first second", "a.test")); !errors.Is(err, two) {
		t.Error(err)
	}
	if !w.story.has("one cannot") {
		t.Errorf("the first failure was not told: %q", w.story.lines)
	}
	first.called(t, 1)
	second.called(t, 1)
	w.idle()
}

// What the CA says reaches the user in its own words, with what to do.
func TestValidationFails(t *testing.T) {
	w := registered(t, testca.Options{})
	web := w.add("web")
	web.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		for _, c := range challenges {
			if c.Identifier.Value != "absent.test" {
				if err := w.web.put(c, "wrong content"); err != nil {
					return err
				}
			}
			r.Result(sdk.Result{Subject: c.ID})
		}
		return nil
	}
	err := w.fail(w.bounded(), request("web", "wrong.test", "absent.test"))
	var failed *order.FailedError
	if !errors.As(err, &failed) || len(failed.Failures) != 2 {
		t.Fatal(err)
	}
	var refused *model.ACMEError
	if !errors.As(err, &refused) || refused.Short() != "unauthorized" {
		t.Errorf("%#v", refused)
	}
	for _, want := range []string{"2 names could not be proven\n  unauthorized:\n", "absent.test (http-01 by web): ", "404", "wrong.test (http-01 by web): ", "wrong content"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	if hint := failed.Hint(); !strings.Contains(hint, "port 80") || !strings.Contains(hint, "web") {
		t.Errorf("hint: %q", hint)
	}
	web.called(t, 1)
	w.idle()
}

// Valid authorizations need no proof, so no plugin is asked.
func TestReusedAuthorizations(t *testing.T) {
	w := registered(t, testca.Options{AuthzReuse: 100})
	web := w.add("web")
	r := request("web", "a.test", "b.test")
	result, err := order.Obtain(w.bounded(), w.deps(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Done(); err != nil {
		t.Error(err)
	}
	web.called(t, 1)
	again := request("nobody", "a.test", "b.test")
	again.Name = "again"
	w.issue(again)
	web.called(t, 1)
}

func TestRefusedOrder(t *testing.T) {
	w := registered(t, testca.Options{Blocked: []string{"blocked.test"}})
	web := w.add("web")
	err := w.fail(w.bounded(), request("web", "a.test", "blocked.test"))
	var refused *model.ACMEError
	if !errors.As(err, &refused) || refused.Short() != "rejectedIdentifier" || !strings.HasPrefix(err.Error(), "ordering a certificate for a.test, blocked.test: ") {
		t.Error(err)
	}
	web.called(t, 0)
	w.idle()
}
