package acmeclient_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

func TestIssuesFromPebble(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"p256": p256(t), "p384": p384, "rsa": rsaKey} {
		t.Run(name, func(t *testing.T) {
			web := serveAnswers(t)
			ca := startCA(t, testca.Options{HTTPPort: web.port, NonceReject: 15})
			client := clientOf(t, ca, nil)
			ctx := bounded(t)
			directory, err := client.Directory(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if directory.URL != ca.DirectoryURL() || directory.Terms == "" || directory.RenewalInfo == "" || directory.Profiles["default"] == "" {
				t.Errorf("directory: %+v", directory)
			}
			register(t, client, acmeclient.Registration{Key: key, Contact: []string{"mailto:a@example.com"}, TermsAgreed: true})

			names := []string{"a.test", "b.test"}
			order, err := client.NewOrder(ctx, dnsNames(names...))
			if err != nil {
				t.Fatal(err)
			}
			if order.Status != model.StatusPending || len(order.Authorizations) != 2 || order.Expires.IsZero() || !model.SameNames(order.Identifiers, dnsNames(names...)) {
				t.Errorf("order: %+v", order)
			}
			for _, url := range order.Authorizations {
				if z := prove(ctx, t, client, web, url); z.Status != model.StatusValid {
					t.Fatalf("authorization: %+v", z)
				}
			}
			order, err = client.PollOrder(ctx, order.URL, model.StatusReady)
			if err != nil || order.Status != model.StatusReady {
				t.Fatalf("order after validation: %+v, %v", order, err)
			}
			leafKey := p256(t)
			url := order.URL
			order, err = client.Finalize(ctx, order, csr(t, leafKey, names...))
			if err != nil {
				t.Fatal(err)
			}
			if order.URL != url {
				t.Errorf("finalize lost the order's URL: %q", order.URL)
			}
			order, err = client.PollOrder(ctx, order.URL, model.StatusValid)
			if err != nil {
				t.Fatal(err)
			}
			chain, err := client.Certificate(ctx, order.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			verify(t, ca, chain, names...)
		})
	}
}

func TestFailedValidation(t *testing.T) {
	web := serveAnswers(t)
	ca := startCA(t, testca.Options{HTTPPort: web.port})
	client := clientOf(t, ca, nil)
	register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	ctx := bounded(t)
	order, err := client.NewOrder(ctx, dnsNames("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := client.Authorization(ctx, order.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Accept(ctx, pick(t, z, "http-01").URL); err != nil {
		t.Fatal(err)
	}
	z, err = client.PollAuthorization(ctx, z.URL)
	if err != nil || z.Status != model.StatusInvalid {
		t.Fatalf("authorization: %+v, %v", z, err)
	}
	if e := pick(t, z, "http-01").Error; e == nil || e.Short() != "unauthorized" || !strings.Contains(e.Detail, "404") {
		t.Errorf("the CA's reason was lost: %v", e)
	}
	order, err = client.PollOrder(ctx, order.URL, model.StatusReady)
	if err != nil || order.Status != model.StatusInvalid || order.Error == nil {
		t.Errorf("order: %+v, %v", order, err)
	}
}

func TestDeactivatedAuthorizationEndsPolling(t *testing.T) {
	ca := startCA(t, testca.Options{NonceReject: 15})
	client := clientOf(t, ca, nil)
	register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	ctx := bounded(t)
	order, err := client.NewOrder(ctx, dnsNames("*.a.test"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := client.Authorization(ctx, order.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	// Pebble offers dns-persist-01, which has no token.
	if persist := pick(t, z, "dns-persist-01"); persist.Token != "" || !strings.Contains(string(persist.RawJSON), "issuer-domain-names") {
		t.Errorf("dns-persist-01: %+v %s", persist, persist.RawJSON)
	}
	if err := client.DeactivateAuthorization(ctx, z.URL); err != nil {
		t.Fatal(err)
	}
	z, err = client.PollAuthorization(ctx, order.Authorizations[0])
	if err != nil || z.Status != model.StatusDeactivated {
		t.Errorf("authorization: %+v, %v", z, err)
	}
	if want := dnsNames("*.a.test")[0]; z.Identifier != want {
		t.Errorf("identifier %+v, want %+v", z.Identifier, want)
	}
}

func TestAccounts(t *testing.T) {
	ctx := bounded(t)
	secret := []byte("an HMAC key of the CA, 32 bytes.")
	ca := startCA(t, testca.Options{
		NonceReject: 15, EABRequired: true,
		EABKeys: map[string]string{"kid-1": base64.RawURLEncoding.EncodeToString(secret)},
	})
	client := clientOf(t, ca, nil)
	directory, err := client.Directory(ctx)
	if err != nil || !directory.EABRequired {
		t.Fatalf("directory: %+v, %v", directory, err)
	}
	key := p256(t)
	wantRefused := func(what, kind string, r acmeclient.Registration) {
		t.Helper()
		_, _, err := client.Register(ctx, r)
		var refused *model.ACMEError
		if !errors.As(err, &refused) || refused.Short() != kind || refused.Status/100 != 4 || !strings.Contains(err.Error(), ca.DirectoryURL()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantRefused("looking for no account", "accountDoesNotExist", acmeclient.Registration{Key: key, OnlyExisting: true})
	wantRefused("no binding", "externalAccountRequired", acmeclient.Registration{Key: key, TermsAgreed: true})
	wantRefused("wrong binding", "unauthorized", acmeclient.Registration{Key: key, TermsAgreed: true, EAB: &acmeclient.EAB{Kid: "kid-1", HMACKey: []byte("another HMAC key for the CA, yes!")}})
	wantRefused("terms not agreed to", "userActionRequired", acmeclient.Registration{Key: key, EAB: &acmeclient.EAB{Kid: "kid-1", HMACKey: secret}})

	binding := acmeclient.Registration{Key: key, TermsAgreed: true, EAB: &acmeclient.EAB{Kid: "kid-1", HMACKey: secret}}
	url := register(t, client, binding)
	for what, r := range map[string]acmeclient.Registration{"again": binding, "only existing": {Key: key, OnlyExisting: true}} {
		got, created, err := client.Register(ctx, r)
		if err != nil || created || got != url {
			t.Errorf("%s: %q, created %v, %v; want %q", what, got, created, err, url)
		}
	}
}

// One pool of nonces serves both libraries: after the first, every one comes with
// an answer.
func TestAsksForOneNonceOnly(t *testing.T) {
	ca := startCA(t, testca.Options{})
	var count counter
	client := clientOf(t, ca, &count)
	register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	ctx := bounded(t)
	order, err := client.NewOrder(ctx, dnsNames("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.DeactivateAuthorization(ctx, order.Authorizations[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Order(ctx, order.URL); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"GET": 1, "HEAD": 1, "POST": 4}, count.methods); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestManyAtOnce(t *testing.T) {
	web := serveAnswers(t)
	ca := startCA(t, testca.Options{HTTPPort: web.port, NonceReject: 15})
	client := clientOf(t, ca, nil)
	register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	ctx := bounded(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			order, err := client.NewOrder(ctx, dnsNames("a.test", "b.test"))
			if err != nil {
				t.Error(err)
				return
			}
			for _, url := range order.Authorizations {
				if z, err := client.Authorization(ctx, url); err != nil || z.Identifier.Value == "" {
					t.Errorf("authorization: %+v, %v", z, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestRefusedName(t *testing.T) {
	ca := startCA(t, testca.Options{Blocked: []string{"blocked.test"}})
	client := clientOf(t, ca, nil)
	register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
	_, err := client.NewOrder(bounded(t), dnsNames("a.test", "blocked.test"))
	var refused *model.ACMEError
	if !errors.As(err, &refused) || refused.Short() != "rejectedIdentifier" || refused.Method != http.MethodPost || refused.URL == "" {
		t.Fatalf("error: %#v", err)
	}
	for _, want := range []string{"ordering a certificate for a.test, blocked.test: ", "forbidden by policy"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}
