package testca

import (
	"fmt"
	"math/big"
)

// Revoked says whether a certificate of this CA is revoked, and for which reason
// of RFC 5280 section 5.3.1.
func (c *CA) Revoked(serial *big.Int) (reason int, revoked bool) {
	c.requests.Lock()
	defer c.requests.Unlock()
	found := c.store.GetRevokedCertificateBySerial(serial)
	if found == nil {
		return 0, false
	}
	if found.Reason != nil {
		reason = int(*found.Reason)
	}
	return reason, true
}

// SetRenewalInfo makes this the CA's renewal information for a certificate (RFC
// 9773 section 4.2), whatever it is; empty: what Pebble thinks of by itself.
func (c *CA) SetRenewalInfo(serial *big.Int, body string) error {
	c.requests.Lock()
	defer c.requests.Unlock()
	if err := c.store.SetARIResponse(serial, body); err != nil {
		return fmt.Errorf("setting the renewal information of %x: %w", serial, err)
	}
	return nil
}
