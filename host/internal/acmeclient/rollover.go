package acmeclient

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// RolloverKey gives the account another key (RFC 8555 section 7.3.5), with which
// the client signs from then on. It is done when the CA has taken a request that
// the new key has signed, so that it may be called again after a run that was cut
// off anywhere in between: SetAccount with the old key, and the same new key. No
// other call may be under way. The caller MUST keep both keys until it returns
// without an error; after one, the old key may be worth nothing any more.
func (c *Client) RolloverKey(ctx context.Context, newKey crypto.Signer) error {
	old, err := c.signer()
	if err != nil {
		return err
	}
	if err := c.rollover(ctx, old, newKey); err != nil {
		return fmt.Errorf("giving the account %s another key: %w", old.url, err)
	}
	c.SetAccount(newKey, old.url)
	return nil
}

func (c *Client) rollover(ctx context.Context, old *account, newKey crypto.Signer) error {
	d, err := c.discover(ctx)
	if err != nil {
		return err
	}
	if d.KeyChange == "" {
		return errors.New("the CA does not offer that")
	}
	request, err := keyChange(d.KeyChange, old, newKey)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		a, err := c.postAs(ctx, old, d.KeyChange, request, afterLimit)
		var unsent *noNonce
		if err != nil && (ctx.Err() != nil || errors.As(err, &unsent) || rateLimited(err)) {
			return err
		}
		// Whatever the CA said, or did not: which key counts is seen by using
		// the new one. An earlier try may have arrived, in an earlier run too.
		_, checked := c.accountInfo(ctx, c.accountOf(newKey, old.url), nil)
		switch {
		case checked == nil:
			return nil
		case refusal(checked) == nil:
			return fmt.Errorf("whether the new key counts is not known: %w", errors.Join(err, checked))
		case err == nil:
			return fmt.Errorf("the CA agreed, but refuses what the new key signs: %w", checked)
		case a.status == http.StatusConflict && a.header.Get("Location") != "":
			return fmt.Errorf("the new key is that of another account, %s: %w", oneLine(a.header.Get("Location")), err)
		}
		wait, again := mayPass(err, afterRefusal|afterLoss, try)
		if !again || try == maxTries || c.pause(ctx, wait) != nil {
			return err
		}
		c.log("asking for the new key again: %v", err)
	}
}

// keyChange is what the old key is to sign: the new key's own signature under the
// account and the old key.
func keyChange(url string, old *account, newKey crypto.Signer) ([]byte, error) {
	if newKey == nil {
		return nil, errors.New("no new key was given")
	}
	if have, ok := old.key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && have.Equal(newKey.Public()) {
		return nil, errors.New("the new key is the one that it has")
	}
	payload, err := json.Marshal(map[string]any{"account": old.url, "oldKey": jose.JSONWebKey{Key: old.key.Public()}})
	if err != nil {
		return nil, err
	}
	return (&account{key: newKey}).sign(url, "", payload)
}
