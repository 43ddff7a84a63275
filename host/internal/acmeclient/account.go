package acmeclient

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"golang.org/x/crypto/acme"
)

// Registration is an account that is wanted.
type Registration struct {
	Key crypto.Signer
	// Contact are URLs, "mailto:…".
	Contact []string
	// TermsAgreed says that the user has agreed to the CA's terms of service.
	TermsAgreed bool
	// EAB binds the account to one that the CA knows otherwise. Nil: not bound.
	EAB *EAB
	// OnlyExisting finds the account of the key and makes none; everything but
	// Key is unused then.
	OnlyExisting bool
}

// EAB is an external account binding (RFC 8555 section 7.3.4).
type EAB struct {
	Kid string
	// HMACKey is the key itself, decoded.
	HMACKey []byte
}

// Register makes an account, or finds the one that the key has already: url is
// what SetAccount wants, created says which it was. It does not call SetAccount.
func (c *Client) Register(ctx context.Context, r Registration) (url string, created bool, err error) {
	d, err := c.discover(ctx)
	if err != nil {
		return "", false, err
	}
	attempt := "registering an account at " + c.server
	if r.OnlyExisting {
		attempt = "looking for the account at " + c.server
	}
	if r.Key == nil {
		return "", false, fmt.Errorf("%s: no key was given", attempt)
	}
	if _, err := algorithm(r.Key.Public()); err != nil {
		return "", false, fmt.Errorf("%s: %w", attempt, err)
	}
	for try := 1; ; try++ {
		url, created, err = c.register(ctx, r)
		if err == nil {
			break
		}
		var unsent *noNonce
		if errors.As(err, &unsent) {
			return "", false, fmt.Errorf("%s: %w", attempt, err)
		}
		err = c.fromXCrypto(d.NewAccount, err)
		// An account is its key's: asking twice makes no second one. x/crypto
		// repeats what was refused, but not what got no answer.
		var lost *noAnswer
		if ctx.Err() != nil || try == maxTries || !errors.As(err, &lost) || untrusted(err) ||
			c.pause(ctx, doubled(retryMin, retryMax, try-1)) != nil {
			return "", false, fmt.Errorf("%s: %w", attempt, err)
		}
	}
	if url == "" {
		// RFC 8555 section 7.3 wants it in the Location header.
		return "", false, fmt.Errorf("%s: the CA did not say the account's URL", attempt)
	}
	return url, created, nil
}

func (c *Client) register(ctx context.Context, r Registration) (url string, created bool, err error) {
	// x/crypto asks for a nonce once only; we do so until there is one.
	n, err := c.nonce(ctx)
	if err != nil {
		return "", false, &noNonce{err}
	}
	c.transport.nonces.put(n.value)
	client := c.xcrypto(r.Key)
	if r.OnlyExisting {
		found, err := client.GetReg(ctx, "")
		if err != nil {
			return "", false, err
		}
		return found.URI, false, nil
	}
	wanted := &acme.Account{Contact: r.Contact}
	if r.EAB != nil {
		wanted.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: r.EAB.Kid, Key: r.EAB.HMACKey}
	}
	got, err := client.Register(ctx, wanted, func(string) bool { return r.TermsAgreed })
	if errors.Is(err, acme.ErrAccountAlreadyExists) {
		// x/crypto keeps the URL all the same.
		return string(client.KID), false, nil
	}
	if err != nil {
		return "", false, err
	}
	return got.URI, true, nil
}
