package acmeclient

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// Revoke revokes a certificate as the account that it was issued to, or one that
// has proven its names (RFC 8555 section 7.6). The reason is one of RFC 5280
// section 5.3.1. A certificate that is revoked already is success.
func (c *Client) Revoke(ctx context.Context, certDER []byte, reason int) error {
	signer, err := c.signer()
	if err != nil {
		return err
	}
	return c.revoke(ctx, signer, certDER, reason)
}

// RevokeWithKey is Revoke for whoever has the certificate's key; it needs no
// account.
func (c *Client) RevokeWithKey(ctx context.Context, certKey crypto.Signer, certDER []byte, reason int) error {
	if certKey == nil {
		return fmt.Errorf("revoking a certificate at %s: no key was given", c.server)
	}
	return c.revoke(ctx, &account{key: certKey}, certDER, reason)
}

func (c *Client) revoke(ctx context.Context, who *account, certDER []byte, reason int) error {
	const attempt = "revoking a certificate at %s: %w"
	d, err := c.discover(ctx)
	if err != nil {
		return err
	}
	if d.RevokeCert == "" {
		return fmt.Errorf(attempt, c.server, errors.New("the CA does not offer that"))
	}
	request := map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(certDER)}
	switch {
	case reason < 0 || reason == 7 || reason > 10:
		return fmt.Errorf(attempt, c.server, fmt.Errorf("there is no reason %d: RFC 5280 has 0 to 6 and 8 to 10", reason))
	case reason > 0:
		// Unspecified is not to be written down (RFC 5280 section 5.3.1).
		request["reason"] = reason
	}
	payload, err := json.Marshal(request)
	if err != nil {
		return err
	}
	_, err = c.postAs(ctx, who, d.RevokeCert, payload, always)
	if refused := refusal(err); refused != nil && refused.Short() == "alreadyRevoked" {
		return nil
	}
	if err != nil {
		return fmt.Errorf(attempt, c.server, err)
	}
	return nil
}
