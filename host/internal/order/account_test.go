package order_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk"
)

func TestRegister(t *testing.T) {
	w := newWorld(t, testca.Options{})
	ctx := w.bounded()
	wanted := order.Wanted{
		Name: "main", Server: w.ca.DirectoryURL(), Email: "a@example.com",
		Agree: func(_ context.Context, terms string) (bool, error) {
			if !strings.HasPrefix(terms, "data:") && !strings.Contains(terms, "://") {
				t.Errorf("terms of service: %q", terms)
			}
			return true, nil
		},
	}
	if _, err := order.Known(w.client, w.store, wanted); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an account that there is not: %v", err)
	}
	a, err := order.Register(ctx, w.client, w.store, wanted)
	if err != nil {
		t.Fatal(err)
	}
	if a.URL == "" || a.Server != w.ca.DirectoryURL() || a.Terms == "" || !cmp.Equal(a.Contact, []string{"mailto:a@example.com"}) {
		t.Errorf("account %+v", a)
	}
	kept, _, err := w.store.Account("main")
	if err != nil || !cmp.Equal(a, kept) {
		t.Errorf("kept: %+v, %v; want %+v", kept, err, a)
	}
	wanted.Agree = nil // is not asked again
	for name, get := range map[string]func() (string, error){
		"known":    func() (string, error) { a, err := order.Known(w.client, w.store, wanted); return a.URL, err },
		"register": func() (string, error) { a, err := order.Register(ctx, w.client, w.store, wanted); return a.URL, err },
	} {
		if url, err := get(); err != nil || url != a.URL {
			t.Errorf("%s: %s, %v; want %s", name, url, err, a.URL)
		}
	}
	wanted.Server = "https://other.example/dir"
	if _, err := order.Register(ctx, w.client, w.store, wanted); err == nil ||
		err.Error() != "the account main belongs to "+w.ca.DirectoryURL()+", not to https://other.example/dir: use another account name" {
		t.Errorf("an account of another server: %v", err)
	}
	// The account is good for orders.
	w.add("web")
	w.issue(request("web", "a.test"))
}

func TestTermsAreNotAgreedTo(t *testing.T) {
	w := newWorld(t, testca.Options{})
	broken := errors.New("the terminal is gone")
	for name, tt := range map[string]struct {
		yes  bool
		err  error
		want string
		hint string
	}{
		"nobody can be asked": {err: sdk.ErrNotInteractive, want: "the terms of service of " + w.ca.DirectoryURL() + " are not agreed to: ", hint: "read them and give --agree-tos"},
		"no":                  {want: "the terms of service of " + w.ca.DirectoryURL() + " are not agreed to: ", hint: "read them and give --agree-tos"},
		"an error":            {err: broken, want: "ask for agreement to the terms of service: the terminal is gone"},
	} {
		_, err := order.Register(w.bounded(), w.client, w.store, order.Wanted{
			Name: "main", Server: w.ca.DirectoryURL(), Agree: func(context.Context, string) (bool, error) { return tt.yes, tt.err },
		})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || report.Hint(err) != tt.hint {
			t.Errorf("%s: %v (hint %q), want %s", name, err, report.Hint(err), tt.want)
		}
	}
	if _, _, err := w.store.Account("main"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an account was kept: %v", err)
	}
}

func TestExternalAccountBinding(t *testing.T) {
	secret := []byte("an HMAC key of the CA, 32 bytes.")
	w := newWorld(t, testca.Options{EABRequired: true, EABKeys: map[string]string{"kid-1": base64.RawURLEncoding.EncodeToString(secret)}})
	ctx := w.bounded()
	wanted := order.Wanted{Name: "main", Server: w.ca.DirectoryURL(), AgreeTOS: true}
	_, err := order.Register(ctx, w.client, w.store, wanted)
	if err == nil || !strings.Contains(err.Error(), "wants an external account binding") || !strings.Contains(report.Hint(err), "--eab-kid and --eab-hmac-key @FILE") {
		t.Errorf("without a binding: %v (hint %q)", err, report.Hint(err))
	}
	noKey := errors.New("the file /k cannot be read")
	wanted.EABKid, wanted.EABKey = "kid-1", func(context.Context) ([]byte, error) { return nil, noKey }
	if _, err := order.Register(ctx, w.client, w.store, wanted); !errors.Is(err, noKey) || !strings.HasPrefix(err.Error(), "external account binding: ") {
		t.Errorf("without a key: %v", err)
	}
	wanted.EABKey = func(context.Context) ([]byte, error) { return []byte("another HMAC key for the CA, yes"), nil }
	if _, err := order.Register(ctx, w.client, w.store, wanted); err == nil || !strings.HasPrefix(err.Error(), "register an account at "+w.ca.DirectoryURL()+": ") {
		t.Errorf("with another key: %v", err)
	}
	wanted.EABKey = func(context.Context) ([]byte, error) { return secret, nil }
	a, err := order.Register(ctx, w.client, w.store, wanted)
	if err != nil || a.EABKid != "kid-1" {
		t.Fatalf("%+v, %v", a, err)
	}
	wanted.EABKey = func(context.Context) ([]byte, error) { return nil, noKey } // is not needed again
	if again, err := order.Register(ctx, w.client, w.store, wanted); err != nil || again.URL != a.URL {
		t.Errorf("again: %+v, %v", again, err)
	}
}
