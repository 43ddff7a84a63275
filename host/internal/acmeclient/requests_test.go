package acmeclient_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

// One order of one name with a known account, proven over http-01: directory,
// nonce, newOrder, authorization, challenge, poll, finalize, poll, certificate are
// nine requests, and a poll that comes too early one more each.
func TestRequestsOfAnOrder(t *testing.T) {
	web := serveAnswers(t)
	ca := startCA(t, testca.Options{HTTPPort: web.port})
	account := p256(t)
	url := register(t, clientOf(t, ca, nil), acmeclient.Registration{Key: account, TermsAgreed: true})
	ctx := bounded(t)
	// A machine that is busy just then delays Pebble, so that one run of a few
	// has to do.
	var runs []int
	for range 5 {
		var asked atomic.Int64
		client := clientOf(t, ca, nil, func(o *acmeclient.Options) {
			o.OnRequest = func(string, string, int) { asked.Add(1) }
		})
		client.SetAccount(account, url)
		order, err := client.NewOrder(ctx, dnsNames("a.test"))
		if err != nil {
			t.Fatal(err)
		}
		z, err := client.Authorization(ctx, order.Authorizations[0])
		if err != nil {
			t.Fatal(err)
		}
		if z.Status != model.StatusValid {
			web.answer(t, client, z)
			if err := client.Accept(ctx, pick(t, z, "http-01").URL); err != nil {
				t.Fatal(err)
			}
			if z, err = client.PollAuthorization(ctx, z.URL); err != nil || z.Status != model.StatusValid {
				t.Fatalf("authorization: %+v, %v", z, err)
			}
		}
		// All authorizations are valid, so the order is ready.
		if order, err = client.Finalize(ctx, order, csr(t, p256(t), "a.test")); err != nil {
			t.Fatal(err)
		}
		if order, err = client.PollOrder(ctx, order.URL); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Certificate(ctx, order.Certificate); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, int(asked.Load()))
		if asked.Load() <= 9 {
			break
		}
	}
	t.Logf("requests: %d", runs)
	if last := runs[len(runs)-1]; last > 9 {
		t.Errorf("%d requests, 9 are due", runs)
	}
}

// One connection does for a run, be it of HTTP/2 or not.
func TestOneConnection(t *testing.T) {
	for name, h2 := range map[string]bool{"http/1.1": false, "h2": true} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			var opened atomic.Int64
			server := httptest.NewUnstartedServer(f)
			server.EnableHTTP2 = h2
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					opened.Add(1)
				}
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			f.URL = server.URL
			f.on("/order", inTurn(f.says(http.StatusOK, order("processing")), f.says(http.StatusServiceUnavailable, ""), f.says(http.StatusOK, order("valid"))))
			f.on("/cert", f.says(http.StatusNotFound, ""))
			client := f.client()
			if _, err := client.PollOrder(t.Context(), f.URL+"/order"); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				_, err := client.Certificate(t.Context(), f.URL+"/cert")
				wantRefusal(t, err, http.StatusNotFound, "")
			}
			if got := opened.Load(); got != 1 {
				t.Errorf("%d connections", got)
			}
		})
	}
}
