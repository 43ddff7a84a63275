package acmeclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/certwright/certwright/host/internal/model"
)

// AccountInfo is an account as the CA shows it (RFC 8555 section 7.1.2). CAs may
// leave out all but the status.
type AccountInfo struct {
	URL string
	// Status is valid, deactivated (by its owner) or revoked (by the CA).
	Status      string
	Contact     []string
	TermsAgreed bool
	// Bound says that the CA shows an external account binding.
	Bound bool
	// Orders is where the CA lists the account's orders.
	Orders string
}

// Account reads the account that signs.
func (c *Client) Account(ctx context.Context) (AccountInfo, error) {
	signer, err := c.signer()
	if err != nil {
		return AccountInfo{}, err
	}
	info, err := c.accountInfo(ctx, signer, nil)
	if err != nil {
		return info, fmt.Errorf("reading the account %s: %w", signer.url, err)
	}
	return info, nil
}

// UpdateAccount makes these the account's contacts ("mailto:…"); none: it has no
// more contacts.
func (c *Client) UpdateAccount(ctx context.Context, contacts []string) (AccountInfo, error) {
	signer, err := c.signer()
	if err != nil {
		return AccountInfo{}, err
	}
	// x/crypto leaves an empty list out, and the CA then changes nothing.
	info, err := c.accountInfo(ctx, signer, map[string]any{"contact": append([]string{}, contacts...)})
	if err != nil {
		return info, fmt.Errorf("changing the contacts of the account %s: %w", signer.url, err)
	}
	return info, nil
}

// AgreeToTerms tells the CA that the user has agreed to its terms of service as
// they are now (RFC 8555 section 7.3.3). CAs may ignore that (section 7.3.2), and
// some refuse an update in which they see nothing else: neither is a failure as
// long as the account is valid.
func (c *Client) AgreeToTerms(ctx context.Context) (AccountInfo, error) {
	signer, err := c.signer()
	if err != nil {
		return AccountInfo{}, err
	}
	info, err := c.accountInfo(ctx, signer, map[string]any{"termsOfServiceAgreed": true})
	if refused := refusal(err); refused != nil && refused.Short() == "malformed" {
		if now, readErr := c.accountInfo(ctx, signer, nil); readErr == nil && now.Status == model.StatusValid {
			return now, nil
		}
	}
	if err != nil {
		return info, fmt.Errorf("agreeing to the terms of service for the account %s: %w", signer.url, err)
	}
	return info, nil
}

// DeactivateAccount gives the account up for good (RFC 8555 section 7.3.6). One
// that is given up already is success.
func (c *Client) DeactivateAccount(ctx context.Context) error {
	signer, err := c.signer()
	if err != nil {
		return err
	}
	_, err = c.accountInfo(ctx, signer, map[string]any{"status": model.StatusDeactivated})
	if err == nil || refusal(err) != nil && c.gone(ctx, signer) {
		return nil
	}
	return fmt.Errorf("deactivating the account %s: %w", signer.url, err)
}

// gone says whether the CA knows no account with this key that can be used. It is
// asked by the key, since the refusal of a request that the account has signed may
// mean many things.
func (c *Client) gone(ctx context.Context, who *account) bool {
	_, _, err := c.Register(ctx, Registration{Key: who.key, OnlyExisting: true})
	refused := refusal(err)
	return refused != nil && (refused.Short() == "unauthorized" || refused.Short() == "accountDoesNotExist")
}

// accountInfo reads the account, or changes it: all changes are such that twice is
// as good as once.
func (c *Client) accountInfo(ctx context.Context, who *account, change map[string]any) (AccountInfo, error) {
	var payload []byte
	if change != nil {
		var err error
		if payload, err = json.Marshal(change); err != nil {
			return AccountInfo{}, err
		}
	}
	a, err := c.postAs(ctx, who, who.url, payload, always)
	if err != nil {
		return AccountInfo{}, err
	}
	var w struct {
		Status  string          `json:"status"`
		Contact []string        `json:"contact"`
		Terms   bool            `json:"termsOfServiceAgreed"`
		Binding json.RawMessage `json:"externalAccountBinding"`
		Orders  string          `json:"orders"`
	}
	if err := json.Unmarshal(a.body, &w); err != nil || w.Status == "" {
		return AccountInfo{}, fmt.Errorf("the CA's answer (%d %s) is not an account (RFC 8555 section 7.1.2)", a.status, http.StatusText(a.status))
	}
	return AccountInfo{
		URL: who.url, Status: w.Status, Contact: w.Contact, TermsAgreed: w.Terms,
		Bound: len(w.Binding) > 0 && string(w.Binding) != "null", Orders: w.Orders,
	}, nil
}
