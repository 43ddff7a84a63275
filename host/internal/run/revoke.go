package run

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// Revocation is a certificate that is to be revoked.
type Revocation struct {
	// Leaf in DER.
	Leaf []byte
	// Reason of RFC 5280 section 5.3.1.
	Reason int
	// Request names the CA and, if Key is nil, the account.
	Request model.Request
	// Key of the certificate; nil: the account revokes.
	Key crypto.Signer
}

// Revoke revokes a certificate (RFC 8555 section 7.6). One that is revoked
// already is success. No account is registered for it: a new one would have no
// right to.
func (e *Engine) Revoke(ctx context.Context, r Revocation) error {
	cas := newCAs(e)
	defer cas.close()
	client, err := cas.get(ctx, r.Request)
	if err != nil {
		return err
	}
	if r.Key != nil {
		return client.RevokeWithKey(ctx, r.Key, r.Leaf, r.Reason)
	}
	_, unlock, err := e.known(ctx, client, e.wanted(r.Request))
	if errors.Is(err, fs.ErrNotExist) {
		return sdk.Hint(fmt.Errorf("the account %s, which the certificate was obtained with, is not known here", r.Request.Account),
			"give the certificate's key with --key-path, or an account that has proven its names with --account")
	}
	if err != nil {
		return err
	}
	defer unlock()
	return client.Revoke(ctx, r.Leaf, r.Reason)
}

// NoteRevoked keeps with a lineage that its newest version is revoked. Another
// version than that is not noted: nothing is decided by it.
func (e *Engine) NoteRevoked(ctx context.Context, lineage string, version int, reason string) error {
	unlock, err := e.Store.Lock(ctx, store.LineageLock(lineage), true)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := e.Store.Lineage(lineage)
	if err != nil || number(l) != version {
		return err
	}
	v := *l.Version
	v.Revoked = &model.Revoked{At: e.Now().UTC(), Reason: reason}
	l.Version = &v
	return e.Store.SaveLineage(l)
}

// Delete takes away all of a lineage. What an interrupted run has left in flight
// stays in the journal: the next run undoes it, without the lineage.
func (e *Engine) Delete(ctx context.Context, name string) error {
	unlock, err := e.Store.Lock(ctx, store.LineageLock(name), true)
	if err != nil {
		return err
	}
	defer unlock()
	return e.Store.Delete(name)
}
