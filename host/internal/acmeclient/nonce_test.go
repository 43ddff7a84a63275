package acmeclient

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func drain(n *nonces) []string {
	var out []string
	for {
		got, ok := n.take()
		if !ok {
			return out
		}
		out = append(out, got.value)
	}
}

func TestNewestNonceFirst(t *testing.T) {
	var n nonces
	for _, v := range []string{"a", "", "b", "c"} {
		n.put(v)
	}
	if diff := cmp.Diff([]string{"c", "b", "a"}, drain(&n)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestRefusedNonceDropsOlderOnes(t *testing.T) {
	var n nonces
	n.put("older")
	n.put("bad")
	bad, _ := n.take()
	n.put("newer")
	n.refused(bad)
	if diff := cmp.Diff([]string{"newer"}, drain(&n)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	// One that was asked for apart says nothing about the others.
	n.put("kept")
	n.refused(nonce{value: "asked for"})
	if diff := cmp.Diff([]string{"kept"}, drain(&n)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestNoncesAreBounded(t *testing.T) {
	var n nonces
	for i := range 3 * maxNonces {
		n.put(fmt.Sprint(i))
	}
	got := drain(&n)
	if len(got) != maxNonces || got[0] != fmt.Sprint(3*maxNonces-1) {
		t.Errorf("%d nonces, the first is %s", len(got), got[0])
	}
}

// What x/crypto sees: no nonce in any answer, so that it keeps none, and one for
// the asking, from ours as long as there is one.
func TestTransportOwnsTheNonces(t *testing.T) {
	var heads atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			heads.Add(1)
		}
		w.Header().Set("Replay-Nonce", r.Method)
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	way := newTransport(Options{Roots: roots}, server.URL+"/dir")
	t.Cleanup(way.base.CloseIdleConnections)

	for i, tt := range []struct {
		method, nonce string
		heads         int64
	}{
		{http.MethodHead, "HEAD", 1},
		{http.MethodPost, "", 1},
		{http.MethodHead, "POST", 1},
		{http.MethodHead, "HEAD", 2},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := way.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("Replay-Nonce"); got != tt.nonce || heads.Load() != tt.heads {
			t.Errorf("%d: %s gave the nonce %q after %d HEADs, want %q after %d", i, tt.method, got, heads.Load(), tt.nonce, tt.heads)
		}
	}
}
