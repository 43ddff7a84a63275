package acmeclient_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

func TestAccountLife(t *testing.T) {
	ca := startCA(t, testca.Options{NonceReject: 15})
	client := clientOf(t, ca, nil)
	ctx := bounded(t)
	url := register(t, client, acmeclient.Registration{Key: p256(t), Contact: []string{"mailto:a@example.com"}, TermsAgreed: true})
	want := func(got acmeclient.AccountInfo, err error, contacts ...string) {
		t.Helper()
		if err != nil || got.URL != url || got.Status != model.StatusValid || !cmp.Equal(got.Contact, contacts) {
			t.Errorf("account %+v, %v; want the contacts %q", got, err, contacts)
		}
	}
	got, err := client.Account(ctx)
	want(got, err, "mailto:a@example.com")
	got, err = client.UpdateAccount(ctx, []string{"mailto:b@example.com", "mailto:c@example.com"})
	want(got, err, "mailto:b@example.com", "mailto:c@example.com")
	// Pebble sees nothing to update in this.
	got, err = client.AgreeToTerms(ctx)
	want(got, err, "mailto:b@example.com", "mailto:c@example.com")
	got, err = client.UpdateAccount(ctx, nil)
	want(got, err)
	got, err = client.Account(ctx)
	want(got, err)
	_, err = client.UpdateAccount(ctx, []string{"tel:+1"})
	if refused := new(model.ACMEError); !errors.As(err, &refused) || refused.Short() != "unsupportedContact" || !strings.Contains(err.Error(), "changing the contacts of the account "+url) {
		t.Errorf("a contact that the CA does not take: %v", err)
	}

	for range 2 {
		if err := client.DeactivateAccount(ctx); err != nil {
			t.Error(err)
		}
	}
	_, err = client.NewOrder(ctx, dnsNames("a.test"))
	if refused := new(model.ACMEError); !errors.As(err, &refused) || refused.Short() != "unauthorized" {
		t.Errorf("an order of a deactivated account: %v", err)
	}
	if _, err := client.AgreeToTerms(ctx); err == nil {
		t.Error("a deactivated account agreed to the terms")
	}
}

func TestAccountAnswers(t *testing.T) {
	f := newFake(t)
	client := f.client()
	f.on("/account/1", f.says(http.StatusOK, `{"status":"revoked","termsOfServiceAgreed":true,"externalAccountBinding":{},"orders":"$/orders","initialIp":"::1"}`))
	got, err := client.Account(t.Context())
	want := acmeclient.AccountInfo{URL: f.URL + "/account/1", Status: "revoked", TermsAgreed: true, Bound: true, Orders: f.URL + "/orders"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, account (-want +got):\n%s", err, diff)
	}
	if _, err := client.AgreeToTerms(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"", `{"termsOfServiceAgreed":true}`}, f.posted("/account/1")); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	f.on("/account/1", f.says(http.StatusOK, "<html>"))
	if _, err := client.Account(t.Context()); err == nil || !strings.Contains(err.Error(), "reading the account "+f.URL+"/account/1: ") || !strings.Contains(err.Error(), "is not an account") {
		t.Errorf("error: %v", err)
	}
	// Malformed is one thing, no longer allowed another.
	f.on("/account/1", f.says(http.StatusForbidden, `{"type":"urn:ietf:params:acme:error:userActionRequired","detail":"Terms of service have changed.","instance":"$/agreement/?token=W8"}`))
	_, err = client.AgreeToTerms(t.Context())
	if e := wantRefusal(t, err, http.StatusForbidden, "userActionRequired"); e.Detail != "Terms of service have changed. Visit "+f.URL+"/agreement/?token=W8" {
		t.Errorf("where to go was lost: %q", e.Detail)
	}
	f.on("/account", f.says(http.StatusForbidden, `{"type":"urn:ietf:params:acme:error:userActionRequired","instance":"javascript:1"}`))
	_, _, err = client.Register(t.Context(), acmeclient.Registration{Key: p256(t)})
	if e := wantRefusal(t, err, http.StatusForbidden, "userActionRequired"); e.Detail != "" {
		t.Errorf("detail %q", e.Detail)
	}
}

func TestDeactivatingAnAccount(t *testing.T) {
	for name, tt := range map[string]struct {
		account, lookup func(*fake) http.HandlerFunc
		refusal         string
	}{
		"the answer is lost": {
			func(f *fake) http.HandlerFunc {
				return inTurn(hangUp, f.refuses(http.StatusUnauthorized, "unauthorized"))
			},
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusForbidden, "unauthorized") }, "",
		},
		"the CA has forgotten it": {
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusBadRequest, "accountDoesNotExist") },
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusBadRequest, "accountDoesNotExist") }, "",
		},
		"the account lives": {
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusForbidden, "unauthorized") },
			func(f *fake) http.HandlerFunc {
				return f.says(http.StatusOK, `{"status":"valid"}`, "Location: $/account/1")
			},
			"unauthorized",
		},
		"nobody knows": {
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusForbidden, "unauthorized") },
			func(*fake) http.HandlerFunc { return hangUp }, "unauthorized",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/account/1", tt.account(f))
			f.on("/account", tt.lookup(f))
			err := f.client().DeactivateAccount(t.Context())
			if tt.refusal == "" && err != nil {
				t.Error(err)
			}
			if tt.refusal != "" {
				wantRefusal(t, err, http.StatusForbidden, tt.refusal)
			}
		})
	}
}
