package acmeclient_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

func TestRollover(t *testing.T) {
	ca := startCA(t, testca.Options{NonceReject: 15})
	client := clientOf(t, ca, nil)
	ctx := bounded(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old := p256(t)
	url := register(t, client, acmeclient.Registration{Key: old, TermsAgreed: true})
	keys := []crypto.Signer{old, p256(t), rsaKey, p384, p256(t)}
	for i, key := range keys[1:] {
		if err := client.RolloverKey(ctx, key); err != nil {
			t.Fatalf("key %d: %v", i+1, err)
		}
		if info, err := client.Account(ctx); err != nil || info.URL != url {
			t.Errorf("key %d: %+v, %v", i+1, info, err)
		}
		if _, err := client.NewOrder(ctx, dnsNames("a.test")); err != nil {
			t.Errorf("key %d: %v", i+1, err)
		}
		// As after a run that was killed before the new key was put into place.
		client.SetAccount(keys[i], url)
		if err := client.RolloverKey(ctx, key); err != nil {
			t.Errorf("key %d again: %v", i+1, err)
		}
	}
	_, _, err = client.Register(ctx, acmeclient.Registration{Key: old, OnlyExisting: true})
	if refused := new(model.ACMEError); !errors.As(err, &refused) || refused.Short() != "accountDoesNotExist" {
		t.Errorf("the old key: %v", err)
	}

	// Another account's key: Pebble 2.10.1 says 200 and does nothing.
	other := p256(t)
	if _, _, err := client.Register(ctx, acmeclient.Registration{Key: other, TermsAgreed: true}); err != nil {
		t.Fatal(err)
	}
	if err := client.RolloverKey(ctx, other); err == nil || !strings.Contains(err.Error(), "refuses what the new key signs") {
		t.Errorf("the key of another account: %v", err)
	}
	if _, err := client.Account(ctx); err != nil {
		t.Errorf("the client changed its key all the same: %v", err)
	}
}

func TestRolloverInTrouble(t *testing.T) {
	const change, account = "/change", "/account/1"
	valid := func(f *fake) http.HandlerFunc { return f.says(http.StatusOK, `{"status":"valid"}`) }
	unknown := func(f *fake) http.HandlerFunc { return f.refuses(http.StatusBadRequest, "malformed") }
	for name, tt := range map[string]struct {
		change, account func(*fake) http.HandlerFunc
		asked           int
		err             string
	}{
		"the answer is lost, the request is not": {func(*fake) http.HandlerFunc { return hangUp }, valid, 1, ""},
		"the request is lost": {
			func(f *fake) http.HandlerFunc {
				return inTurn(hangUp, f.says(http.StatusBadGateway, ""), f.says(http.StatusOK, ""))
			},
			func(f *fake) http.HandlerFunc { return inTurn(unknown(f), unknown(f), valid(f)) }, 3, "",
		},
		"down": {func(f *fake) http.HandlerFunc { return f.says(http.StatusBadGateway, "") }, unknown, 5, "502"},
		"done in an earlier run": {
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusBadRequest, "malformed") }, valid, 1, "",
		},
		"a conflict with ourselves": {
			func(f *fake) http.HandlerFunc { return f.says(http.StatusConflict, "", "Location: $/account/1") }, valid, 1, "",
		},
		"a conflict with another account": {
			func(f *fake) http.HandlerFunc { return f.says(http.StatusConflict, "", "Location: $/account/2") }, unknown, 1, "that of another account, $/account/2",
		},
		"nobody knows": {
			func(*fake) http.HandlerFunc { return hangUp },
			func(*fake) http.HandlerFunc { return hangUp }, 1, "whether the new key counts is not known",
		},
		"limited for an hour": {
			func(f *fake) http.HandlerFunc {
				return f.refuses(http.StatusTooManyRequests, "rateLimited", "Retry-After: 3600")
			}, unknown, 1, "rateLimited",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/dir", f.says(http.StatusOK, `{"newNonce":"$/nonce","newAccount":"$/account","newOrder":"$/new-order","keyChange":"$/change"}`))
			f.on(change, tt.change(f))
			f.on(account, tt.account(f))
			err := f.client().RolloverKey(t.Context(), p256(t))
			want := strings.ReplaceAll(tt.err, "$", f.URL)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("error %v, want %q", err, want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "giving the account "+f.URL+"/account/1 another key: ") {
				t.Errorf("error: %v", err)
			}
			if got := f.count(change); got != tt.asked {
				t.Errorf("asked %d times, want %d", got, tt.asked)
			}
		})
	}
}

func TestRolloverRefusals(t *testing.T) {
	f := newFake(t)
	client := f.client()
	if err := client.RolloverKey(t.Context(), p256(t)); err == nil || !strings.Contains(err.Error(), "does not offer") {
		t.Errorf("a CA without it: %v", err)
	}
	f.on("/dir", f.says(http.StatusOK, `{"newNonce":"$/nonce","newAccount":"$/account","newOrder":"$/new-order","keyChange":"$/change"}`))
	client = f.client()
	key := p256(t)
	client.SetAccount(key, f.URL+"/account/1")
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, key := range map[string]crypto.Signer{"no new key was given": nil, "the one that it has": key, "use ECDSA or RSA": ed} {
		if err := client.RolloverKey(t.Context(), key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.on("/change", func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if err := client.RolloverKey(ctx, p256(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	if f.count("/account/1") != 0 {
		t.Error("the CA was asked all the same")
	}
}
