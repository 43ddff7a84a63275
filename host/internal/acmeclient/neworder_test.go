package acmeclient_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

// obtain issues what is asked for and gives the CertID beside it.
func obtain(ctx context.Context, t *testing.T, client *acmeclient.Client, r acmeclient.OrderRequest) (notAfter time.Duration, id string) {
	t.Helper()
	order, err := client.NewOrderWith(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	order = issue(ctx, t, client, order, p256(t), model.Names(r.Identifiers)...)
	chain, err := client.Certificate(ctx, order.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, chain)
	if id, err = acmeclient.CertID(leaf); err != nil {
		t.Fatal(err)
	}
	return leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour), id
}

func TestOrdersWithWishes(t *testing.T) {
	ca := startCA(t, testca.Options{NonceReject: 15, AlwaysValid: true, Profiles: map[string]testca.Profile{
		"week": {Validity: 7 * 24 * time.Hour}, "month": {Validity: 30 * 24 * time.Hour},
	}})
	client := clientOf(t, ca, nil)
	ctx := bounded(t)
	register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	ids := dnsNames("a.test")
	for profile, want := range map[string]time.Duration{"week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour} {
		if got, _ := obtain(ctx, t, client, acmeclient.OrderRequest{Identifiers: ids, Profile: profile}); got != want {
			t.Errorf("profile %s: valid for %v, want %v", profile, got, want)
		}
	}
	_, err := client.NewOrderWith(ctx, acmeclient.OrderRequest{Identifiers: ids, Profile: "year"})
	wantRefusal(t, err, http.StatusBadRequest, "invalidProfile")
	if !strings.Contains(err.Error(), `the profile "year"; it has: month, week`) {
		t.Errorf("error: %v", err)
	}

	now := time.Now().Truncate(time.Second)
	fiveHours := acmeclient.OrderRequest{Identifiers: ids, NotBefore: now, NotAfter: now.Add(5 * time.Hour), Profile: "week"}
	got, first := obtain(ctx, t, client, fiveHours)
	// Pebble does not find a certificate whose serial number has a leading zero
	// in DER, as RFC 9773 section 4.1 writes it: one in 256.
	for strings.HasPrefix(first[strings.Index(first, ".")+1:], "A") {
		got, first = obtain(ctx, t, client, fiveHours)
	}
	if got != 5*time.Hour {
		t.Errorf("valid for %v, want 5h", got)
	}
	if _, second := obtain(ctx, t, client, acmeclient.OrderRequest{Identifiers: ids, Replaces: first}); second == first {
		t.Errorf("two certificates are %s", first)
	}
	// Pebble notes the replacement just after it has issued.
	var replaced *model.ACMEError
	for !errors.As(err, &replaced) || replaced.Short() != "alreadyReplaced" {
		if ctx.Err() != nil {
			t.Fatalf("replaced twice: %v", err)
		}
		_, err = client.NewOrderWith(ctx, acmeclient.OrderRequest{Identifiers: ids, Replaces: first})
	}
	if replaced.Status != http.StatusConflict {
		t.Errorf("refusal %+v", replaced)
	}
	if _, err := client.NewOrderWith(ctx, acmeclient.OrderRequest{Identifiers: ids}); err != nil {
		t.Errorf("the same without replacing anything: %v", err)
	}
}

func TestNewOrderPayload(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	all := acmeclient.OrderRequest{
		Identifiers: []model.Identifier{{Type: "ip", Value: "2001:db8::1"}}, NotBefore: at, NotAfter: at.Add(time.Hour), Profile: "p", Replaces: "AQ.Ag",
	}
	for name, tt := range map[string]struct {
		directory string
		request   acmeclient.OrderRequest
		want      string
	}{
		"all": {
			`,"renewalInfo":"$/ari","meta":{"profiles":{"p":""}}`, all,
			`{"identifiers":[{"type":"ip","value":"2001:db8::1"}],"notBefore":"2026-01-02T02:04:05Z","notAfter":"2026-01-02T03:04:05Z","profile":"p","replaces":"AQ.Ag"}`,
		},
		"a CA without renewal information": {
			"", acmeclient.OrderRequest{Identifiers: all.Identifiers, Replaces: "AQ.Ag"}, `{"identifiers":[{"type":"ip","value":"2001:db8::1"}]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/dir", f.says(http.StatusOK, `{"newNonce":"$/nonce","newAccount":"$/account","newOrder":"$/new-order"`+tt.directory+`}`))
			f.on("/new-order", f.says(http.StatusOK, pendingOrder, "Location: $/order"))
			if _, err := f.client().NewOrderWith(t.Context(), tt.request); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tt.want}, f.posted("/new-order")); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
	f := newFake(t)
	_, err := f.client().NewOrderWith(t.Context(), all)
	wantRefusal(t, err, http.StatusBadRequest, "invalidProfile")
	if !strings.Contains(err.Error(), "it has: none") || f.count("/new-order") != 0 {
		t.Errorf("asked %d times, %v", f.count("/new-order"), err)
	}
}
