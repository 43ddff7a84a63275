package acmeclient_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Whoever wants to know is told of each answer that is no success, in the
// context of the call, with all that it said; a refused nonce is nobody's concern.
func TestOnRefusal(t *testing.T) {
	f := newFake(t)
	f.on("/new-order", inTurn(
		f.refuses(http.StatusBadRequest, "badNonce"),
		f.refuses(http.StatusForbidden, "rejectedIdentifier", "X-Said: a", "X-Said: b"),
	))
	f.on("/order", f.says(http.StatusBadGateway, "<html>"))
	var mu sync.Mutex
	var told []model.Refusal
	type key struct{}
	client := f.client(func(o *acmeclient.Options) {
		o.OnRefusal = func(ctx context.Context, r model.Refusal) {
			mu.Lock()
			defer mu.Unlock()
			if ctx.Value(key{}) != "mine" {
				t.Error("it is not the context of the call")
			}
			told = append(told, r)
		}
	})
	ctx := context.WithValue(bounded(t), key{}, "mine")
	if _, err := client.NewOrder(ctx, dnsNames("a.test")); err == nil {
		t.Fatal("an order was made")
	}
	if len(told) != 1 {
		t.Fatalf("told of %+v", told)
	}
	got := told[0]
	said := slices.DeleteFunc(slices.Clone(got.Header), func(h sdk.HTTPHeader) bool { return h.Name != "X-Said" })
	want := model.ACMEError{
		Type: "urn:ietf:params:acme:error:rejectedIdentifier", Detail: "no", Status: http.StatusForbidden, Method: http.MethodPost, URL: f.URL + "/new-order",
	}
	if diff := cmp.Diff(want, got.ACMEError); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Resource != "newOrder" || string(got.Body) != `{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no"}` ||
		!cmp.Equal(said, []sdk.HTTPHeader{{Name: "X-Said", Value: "a"}, {Name: "X-Said", Value: "b"}}) {
		t.Errorf("%s, %s, %v", got.Resource, got.Body, got.Header)
	}
	// Each try is told of, also of something in front of the CA.
	told = nil
	if _, err := client.Order(ctx, f.URL+"/order"); err == nil {
		t.Fatal("there is an order")
	}
	if len(told) != f.count("/order") || told[0].Resource != "" || told[0].Detail == "" || string(told[0].Body) != "<html>" {
		t.Errorf("told of %d, asked %d times: %+v", len(told), f.count("/order"), told)
	}
}
