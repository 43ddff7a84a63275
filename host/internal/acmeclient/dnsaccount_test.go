package acmeclient_test

import (
	"testing"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

// Two accounts prove the same names at the same time, a wildcard among them.
func TestDNSAccount01(t *testing.T) {
	ca := startCA(t, testca.Options{NonceReject: 15})
	ctx := bounded(t)
	type pending struct {
		client *acmeclient.Client
		order  model.Order
	}
	var orders []pending
	for range 2 {
		client := clientOf(t, ca, nil)
		if _, err := client.DNSAccount01Name("a.test"); err == nil {
			t.Error("a label without an account")
		}
		register(t, client, acmeclient.Registration{Key: p256(t), TermsAgreed: true})
		order, err := client.NewOrder(ctx, dnsNames("a.test", "*.b.test"))
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range order.Authorizations {
			z, err := client.Authorization(ctx, url)
			if err != nil {
				t.Fatal(err)
			}
			name, err := client.DNSAccount01Name(z.Identifier.String())
			if err != nil {
				t.Fatal(err)
			}
			value, err := client.DNS01Value(pick(t, z, "dns-account-01").Token)
			if err != nil {
				t.Fatal(err)
			}
			if len(ca.DNS().TXT(name)) > 0 {
				t.Errorf("%s is used by both accounts", name)
			}
			ca.DNS().SetTXT(name, value)
		}
		orders = append(orders, pending{client, order})
	}
	for _, o := range orders {
		for _, url := range o.order.Authorizations {
			z, err := o.client.Authorization(ctx, url)
			if err != nil {
				t.Fatal(err)
			}
			if err := o.client.Accept(ctx, pick(t, z, "dns-account-01").URL); err != nil {
				t.Fatal(err)
			}
			if z, err = o.client.PollAuthorization(ctx, url); err != nil || z.Status != model.StatusValid {
				t.Errorf("authorization: %+v, %v", z, err)
			}
		}
	}
}

func TestDNSAccount01Label(t *testing.T) {
	client := newFake(t).client()
	// The example of draft-ietf-acme-dns-account-label.
	client.SetAccount(p256(t), "https://example.com/acme/acct/ExampleAccount")
	for _, domain := range []string{"example.org", "*.example.org"} {
		got, err := client.DNSAccount01Name(domain)
		if want := "_ujmmovf2vn55tgye._acme-challenge.example.org"; err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}
