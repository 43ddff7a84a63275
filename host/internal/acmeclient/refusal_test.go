package acmeclient_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
)

const pendingOrder = `{"status":"pending","authorizations":["$/authz"],"finalize":"$/finalize","surprise":{"a":1}}`

func wantRefusal(t *testing.T, err error, status int, kind string) *model.ACMEError {
	t.Helper()
	var refused *model.ACMEError
	if !errors.As(err, &refused) {
		t.Fatalf("no *model.ACMEError but %v", err)
	}
	if refused.Status != status || refused.Short() != kind {
		t.Errorf("refusal %d %s, want %d %s", refused.Status, refused.Short(), status, kind)
	}
	return refused
}

func TestNewOrderTakes200(t *testing.T) {
	f := newFake(t)
	f.on("/new-order", f.says(http.StatusOK, pendingOrder, "Location: /order"))
	o, err := f.client().NewOrder(t.Context(), dnsNames("*.a.test", "b.test"))
	if err != nil || o.URL != f.URL+"/order" || o.Finalize != f.URL+"/finalize" {
		t.Errorf("order %+v, %v", o, err)
	}
	want := `{"identifiers":[{"type":"dns","value":"*.a.test"},{"type":"dns","value":"b.test"}]}`
	if got := f.posted("/new-order"); !cmp.Equal(got, []string{want}) {
		t.Errorf("sent %q", got)
	}
}

func TestNewOrderNeedsLocation(t *testing.T) {
	f := newFake(t)
	f.on("/new-order", f.says(http.StatusCreated, pendingOrder))
	if _, err := f.client().NewOrder(t.Context(), dnsNames("a.test")); err == nil || !strings.Contains(err.Error(), "did not say the order's URL") {
		t.Errorf("error: %v", err)
	}
}

func TestRateLimitIsReturned(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		header string
		want   time.Duration
	}{
		"seconds":   {"3600", time.Hour},
		"date":      {now.Add(90 * time.Minute).Format(http.TimeFormat), 90 * time.Minute},
		"past":      {now.Add(-time.Hour).Format(http.TimeFormat), 10 * time.Millisecond},
		"negative":  {"-7", 10 * time.Millisecond},
		"absurd":    {strings.Repeat("9", 50), 365 * 24 * time.Hour},
		"far date":  {"Fri, 31 Dec 9999 23:59:59 GMT", 365 * 24 * time.Hour},
		"gibberish": {"soon", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/new-order", f.refuses(http.StatusTooManyRequests, "rateLimited", "Retry-After: "+tt.header))
			client := f.client(func(o *acmeclient.Options) { o.Now = func() time.Time { return now } })
			_, err := client.NewOrder(t.Context(), dnsNames("a.test"))
			if got := wantRefusal(t, err, http.StatusTooManyRequests, "rateLimited").RetryAfter; got != tt.want {
				t.Errorf("RetryAfter %v, want %v", got, tt.want)
			}
			if f.count("/new-order") != 1 {
				t.Error("the CA was asked again")
			}
		})
	}
}

func TestServerErrors(t *testing.T) {
	t.Run("pass", func(t *testing.T) {
		f := newFake(t)
		f.on("/order", inTurn(
			f.says(http.StatusBadGateway, "<html>gateway</html>", "Content-Type: text/html"),
			f.refuses(http.StatusServiceUnavailable, "serverInternal", "Retry-After: 3"),
			hangUp,
			f.says(http.StatusOK, pendingOrder)))
		if _, err := f.client().Order(t.Context(), f.URL+"/order"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Duration{500 * time.Millisecond, 3 * time.Second, 2 * time.Second}, f.paused()); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
	})
	t.Run("stay", func(t *testing.T) {
		f := newFake(t)
		f.on("/order", f.says(http.StatusBadGateway, "<html>gateway</html>"))
		_, err := f.client().Order(t.Context(), f.URL+"/order")
		wantRefusal(t, err, http.StatusBadGateway, "")
		if !strings.Contains(err.Error(), "502 Bad Gateway") || strings.Contains(err.Error(), "<html>") {
			t.Errorf("error: %v", err)
		}
		if got := f.count("/order"); got != 5 {
			t.Errorf("asked %d times, want 5", got)
		}
	})
	t.Run("not after a client error", func(t *testing.T) {
		f := newFake(t)
		f.on("/order", f.refuses(http.StatusForbidden, "unauthorized"))
		_, err := f.client().Order(t.Context(), f.URL+"/order")
		refused := wantRefusal(t, err, http.StatusForbidden, "unauthorized")
		if refused.URL != f.URL+"/order" || refused.Method != http.MethodPost || f.count("/order") != 1 {
			t.Errorf("refusal %+v after %d requests", refused, f.count("/order"))
		}
	})
	t.Run("newOrder is asked again when no answer comes", func(t *testing.T) {
		f := newFake(t)
		f.on("/new-order", inTurn(hangUp, f.says(http.StatusBadGateway, ""), f.says(http.StatusCreated, pendingOrder, "Location: $/order")))
		o, err := f.client().NewOrder(t.Context(), dnsNames("a.test"))
		if err != nil || o.URL != f.URL+"/order" {
			t.Errorf("order %+v, %v", o, err)
		}
		before := f.count("/new-order")
		f.on("/new-order", hangUp)
		_, err = f.client().NewOrder(t.Context(), dnsNames("a.test"))
		if err == nil || !strings.Contains(err.Error(), "no answer from 127.0.0.1") {
			t.Errorf("error: %v", err)
		}
		// net/http itself repeats nothing that is a POST with a body.
		if got := f.count("/new-order") - before; got != 5 {
			t.Errorf("asked %d times", got)
		}
	})
}

func TestNoncesAreAskedForAgain(t *testing.T) {
	f := newFake(t)
	dir := f.paths["/dir"]
	f.on("/dir", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Del("Replay-Nonce")
		dir(w, r)
	})
	without := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Del("Replay-Nonce")
			w.WriteHeader(status)
		}
	}
	created := f.says(http.StatusCreated, `{"status":"valid"}`, "Location: $/account/7")
	f.on("/account", created)
	f.on("/nonce", inTurn(hangUp, without(http.StatusServiceUnavailable), without(http.StatusTooManyRequests), f.says(http.StatusOK, "")))
	if _, created, err := f.client().Register(t.Context(), acmeclient.Registration{Key: p256(t)}); err != nil || !created {
		t.Errorf("created %v, %v", created, err)
	}

	// Nothing was sent, so nothing is looked at and nothing tried in turn.
	before := f.count("/nonce")
	f.on("/nonce", without(http.StatusServiceUnavailable))
	_, err := f.client().Finalize(t.Context(), f.order(model.StatusReady), []byte("a CSR"))
	wantRefusal(t, err, http.StatusServiceUnavailable, "")
	if got := f.count("/nonce") - before; got != 5 || f.count("/finalize") != 0 || f.count("/order") != 0 {
		t.Errorf("%d nonces asked for, %d times finalized, %d times looked", got, f.count("/finalize"), f.count("/order"))
	}
	f.on("/nonce", without(http.StatusOK))
	if _, _, err := f.client().Register(t.Context(), acmeclient.Registration{Key: p256(t)}); err == nil || !strings.Contains(err.Error(), "gave none") {
		t.Errorf("error: %v", err)
	}
}

func TestBadNonceStormEnds(t *testing.T) {
	f := newFake(t)
	f.on("/order", f.refuses(http.StatusBadRequest, "badNonce"))
	_, err := f.client().Order(t.Context(), f.URL+"/order")
	wantRefusal(t, err, http.StatusBadRequest, "badNonce")
	if got := f.count("/order"); got != 11 {
		t.Errorf("tried %d times, want 11", got)
	}
	// The first came with the directory, the others with the refusals.
	if got := f.count("/nonce"); got != 0 {
		t.Errorf("asked for %d nonces", got)
	}
}

func TestProblemDocuments(t *testing.T) {
	f := newFake(t)
	f.on("/new-order", f.says(http.StatusForbidden, `{"type":"urn:ietf:params:acme:error:compound","detail":"two\nlines","status":"odd",
		"subproblems":[{"type":"urn:ietf:params:acme:error:caa","detail":"CAA forbids","identifier":{"type":"dns","value":"*.A.test"}},{"detail":"all"}]}`))
	_, err := f.client().NewOrder(t.Context(), dnsNames("*.a.test"))
	refused := wantRefusal(t, err, http.StatusForbidden, "compound")
	want := []model.ACMESubproblem{
		{Type: "urn:ietf:params:acme:error:caa", Detail: "CAA forbids", Identifier: model.Identifier{Type: "dns", Value: "a.test", Wildcard: true}},
		{Detail: "all"},
	}
	if diff := cmp.Diff(want, refused.Subproblems); diff != "" || refused.Detail != "two lines" {
		t.Errorf("detail %q, subproblems (-want +got):\n%s", refused.Detail, diff)
	}
}

func TestHugeBodies(t *testing.T) {
	huge := strings.Repeat("x", 2<<20)
	for name, status := range map[string]int{"answer": http.StatusOK, "refusal": http.StatusForbidden} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/order", f.says(status, `{"status":"pending","x":"`+huge+`"}`))
			f.on("/account", f.says(status, `{"status":"valid","x":"`+huge+`"}`, "Location: $/account/1"))
			client := f.client()
			if _, err := client.Order(t.Context(), f.URL+"/order"); err == nil || !strings.Contains(err.Error(), "longer than 1048576 bytes") {
				t.Errorf("order: %.300v", err)
			}
			if _, _, err := client.Register(t.Context(), acmeclient.Registration{Key: p256(t)}); err == nil || len(err.Error()) > 3000 {
				t.Errorf("account: %.300v", err)
			}
		})
	}
}

func TestRegisterRefusals(t *testing.T) {
	f := newFake(t)
	client := f.client()
	f.on("/account", f.says(http.StatusForbidden, "<html>a firewall</html>"))
	_, _, err := client.Register(t.Context(), acmeclient.Registration{Key: p256(t)})
	wantRefusal(t, err, http.StatusForbidden, "")
	if strings.Contains(err.Error(), "firewall") {
		t.Errorf("a page of HTML is in the error: %v", err)
	}
	f.on("/account", f.refuses(http.StatusTooManyRequests, "rateLimited", "Retry-After: 60"))
	_, _, err = client.Register(t.Context(), acmeclient.Registration{Key: p256(t)})
	if got := wantRefusal(t, err, http.StatusTooManyRequests, "rateLimited").RetryAfter; got != time.Minute {
		t.Errorf("RetryAfter %v", got)
	}
	f.on("/account", f.refuses(http.StatusBadRequest, "badNonce"))
	before := f.count("/account")
	_, _, err = client.Register(t.Context(), acmeclient.Registration{Key: p256(t)})
	wantRefusal(t, err, http.StatusBadRequest, "badNonce")
	if got := f.count("/account") - before; got != 11 {
		t.Errorf("tried %d times, want 11", got)
	}
	created201 := f.says(http.StatusCreated, `{"status":"valid"}`, "Location: $/account/7")
	f.on("/account", inTurn(hangUp, f.says(http.StatusBadGateway, ""), created201))
	url, created, err := client.Register(t.Context(), acmeclient.Registration{Key: p256(t)})
	if err != nil || !created || url != f.URL+"/account/7" {
		t.Errorf("after a lost answer: %q %v %v", url, created, err)
	}
	f.on("/account", f.says(http.StatusCreated, `{"status":"valid"}`))
	if _, _, err := client.Register(t.Context(), acmeclient.Registration{Key: p256(t)}); err == nil || !strings.Contains(err.Error(), "did not say the account's URL") {
		t.Errorf("without Location: %v", err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Register(t.Context(), acmeclient.Registration{Key: key}); err == nil || !strings.Contains(err.Error(), "use ECDSA or RSA") {
		t.Errorf("Ed25519: %v", err)
	}
}

func TestAccountIsNeeded(t *testing.T) {
	f := newFake(t)
	client, err := acmeclient.New(acmeclient.Options{Server: f.URL + "/dir", Roots: f.roots()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := client.Order(t.Context(), f.URL+"/order"); err == nil || !strings.Contains(err.Error(), "no account is set") {
		t.Errorf("error: %v", err)
	}
}

func TestSignedRequestsAreNotRedirected(t *testing.T) {
	f := newFake(t)
	f.on("/order", f.says(http.StatusTemporaryRedirect, "", "Location: $/elsewhere"))
	_, err := f.client().Order(t.Context(), f.URL+"/order")
	wantRefusal(t, err, http.StatusTemporaryRedirect, "")
	if f.count("/elsewhere") != 0 {
		t.Error("the signature was sent elsewhere")
	}
}

func TestEndsWithItsContext(t *testing.T) {
	f := newFake(t)
	client := f.client()
	if _, err := client.Directory(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.on("/order", func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := client.PollOrder(ctx, f.URL+"/order"); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}
