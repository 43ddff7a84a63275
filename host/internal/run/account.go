package run

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// accountUse is an account that is locked, with the client that signs for it.
type accountUse struct {
	model.Account
	key    crypto.Signer
	client *ca
	unlock func()
}

// requestOf is what the connection to an account's CA depends on.
func requestOf(a model.Account) model.Request {
	return model.Request{Server: a.Server, Account: a.Name, CABundle: a.CABundle}
}

// known gives an account that exists, to sign with while its lock is held,
// shared. The error is fs.ErrNotExist if there is none.
func (e *Engine) known(ctx context.Context, client *ca, w order.Wanted) (model.Account, func(), error) {
	for {
		unlock, err := e.Store.Lock(ctx, store.AccountLock(w.Name), false)
		if err != nil {
			return model.Account{}, nil, err
		}
		// A change that is still going on would hold the lock exclusively.
		_, err = e.Store.NextAccountKey(w.Name)
		if errors.Is(err, fs.ErrNotExist) {
			a, err := order.Known(client, e.Store, w)
			if err != nil {
				unlock()
				return a, nil, err
			}
			return a, unlock, nil
		}
		unlock()
		if err == nil {
			err = e.settleAlone(ctx, client, w.Name)
		}
		if err != nil {
			return model.Account{}, nil, err
		}
	}
}

func (e *Engine) settleAlone(ctx context.Context, client *ca, name string) error {
	unlock, err := e.Store.Lock(ctx, store.AccountLock(name), true)
	if err != nil {
		return err
	}
	defer unlock()
	return e.settle(ctx, client, name)
}

// change gives an account to change, under its exclusive lock. The caller MUST
// call unlock. The error wraps errForsaken, and the account is given all the
// same, if the CA has given it up.
func (e *Engine) change(ctx context.Context, cas *cas, a model.Account) (accountUse, error) {
	client, err := cas.get(ctx, requestOf(a))
	if err != nil {
		return accountUse{}, err
	}
	unlock, err := e.Store.Lock(ctx, store.AccountLock(a.Name), true)
	if err != nil {
		return accountUse{}, err
	}
	settled := e.settle(ctx, client, a.Name)
	if settled != nil && !errors.Is(settled, errForsaken) {
		unlock()
		return accountUse{}, settled
	}
	now, key, err := e.Store.Account(a.Name)
	if err != nil {
		unlock()
		return accountUse{}, err
	}
	client.SetAccount(key, now.URL)
	return accountUse{now, key, client, unlock}, settled
}

// RegisterAccount makes an account at a CA, or gives the one that exists. The
// email, if there is one, is preferred to what is configured.
func (e *Engine) RegisterAccount(ctx context.Context, name, server, email string) (a model.Account, created bool, err error) {
	cas := newCAs(e)
	defer cas.close()
	r := model.Request{Server: server, Account: name}
	client, err := cas.get(ctx, r)
	if err != nil {
		return a, false, err
	}
	wanted := e.wanted(r)
	wanted.Email = cmp.Or(email, wanted.Email)
	if e.EAB != nil {
		wanted.EABKid, wanted.EABKey = e.EAB.Kid, func(ctx context.Context) ([]byte, error) { return e.eabKey(ctx, e.EAB) }
	}
	a, unlock, err := e.known(ctx, client, wanted)
	if err == nil {
		unlock()
		return a, false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return a, false, err
	}
	a, err = e.register(ctx, client, wanted)
	return a, err == nil, err
}

// UpdateAccount gives an account other contacts (nil: those that it has; empty:
// none) and tells the CA of agreement to its terms, if they have changed.
func (e *Engine) UpdateAccount(ctx context.Context, a model.Account, contacts *[]string) (model.Account, error) {
	cas := newCAs(e)
	defer cas.close()
	use, err := e.change(ctx, cas, a)
	if use.unlock != nil {
		defer use.unlock()
	}
	if err != nil {
		return a, err
	}
	a = use.Account
	d, err := use.client.Directory(ctx)
	if err != nil {
		return a, err
	}
	terms := d.Terms != "" && d.Terms != a.Terms
	if !terms && contacts == nil {
		return a, &report.UsageError{Err: sdk.Hint(fmt.Errorf("account %s: nothing is to be changed", a.Name),
			"give another contact with -m, or none with --no-email")}
	}
	if terms {
		if err := order.Agree(ctx, d, e.wanted(requestOf(a))); err != nil {
			return a, err
		}
		if _, err := use.client.AgreeToTerms(ctx); err != nil {
			return a, err
		}
		a.Terms = d.Terms
		if err := e.Store.SaveAccount(a, use.key); err != nil {
			return a, err
		}
	}
	if contacts != nil {
		if _, err := use.client.UpdateAccount(ctx, *contacts); err != nil {
			return a, err
		}
		a.Contact = *contacts
	}
	return a, e.Store.SaveAccount(a, use.key)
}

// UnregisterAccount gives an account up at its CA, for good, and then forgets
// it here. One that the CA has given up already is only forgotten.
func (e *Engine) UnregisterAccount(ctx context.Context, a model.Account) error {
	cas := newCAs(e)
	defer cas.close()
	use, err := e.change(ctx, cas, a)
	if use.unlock != nil {
		defer use.unlock()
	}
	if err != nil && !errors.Is(err, errForsaken) {
		return err
	}
	if err == nil {
		if err := use.client.DeactivateAccount(ctx); err != nil {
			return err
		}
	}
	return e.Store.DeleteAccount(a.Name)
}

// ShowAccounts asks every account's CA what it says of it, all at once.
func (e *Engine) ShowAccounts(ctx context.Context, accounts []model.Account) []model.AccountState {
	cas := newCAs(e)
	defer cas.close()
	states := make([]model.AccountState, len(accounts))
	var asking sync.WaitGroup
	for i, a := range accounts {
		asking.Go(func() { states[i] = e.showAccount(ctx, cas, a) })
	}
	asking.Wait()
	return states
}

// showAccount changes nothing, so it takes no lock: if the CA refuses, the key
// may have been changed meanwhile, and the new one is tried.
func (e *Engine) showAccount(ctx context.Context, cas *cas, a model.Account) model.AccountState {
	s := model.AccountState{Account: a, Status: model.StatusUnknown}
	client, err := cas.get(ctx, requestOf(a))
	if err != nil {
		s.Err = err
		return s
	}
	var tried []crypto.PublicKey
	for {
		key, changing, err := e.untriedKey(a.Name, tried)
		s.Changing = changing
		if err != nil || key == nil {
			if s.Err == nil {
				s.Err = err
			}
			return s
		}
		tried = append(tried, key.Public())
		client.SetAccount(key, a.URL)
		if s.Thumbprint, err = client.Thumbprint(); err != nil {
			s.Err = err
			return s
		}
		info, err := client.Account(ctx)
		if s.Err = err; err == nil {
			s.Status = info.Status
			return s
		}
		if refused(err) == "" {
			return s
		}
		s.Status = model.StatusRefused
	}
}

// untriedKey gives a key of an account that is not among those tried; nil: there
// is no other.
func (e *Engine) untriedKey(name string, tried []crypto.PublicKey) (key crypto.Signer, changing bool, err error) {
	_, current, err := e.Store.Account(name)
	if err != nil {
		return nil, false, err
	}
	next, err := e.Store.NextAccountKey(name)
	changing = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	for _, k := range []crypto.Signer{current, next} {
		if k != nil && !slices.ContainsFunc(tried, func(p crypto.PublicKey) bool { return sameKey(p, k.Public()) }) {
			return k, changing, nil
		}
	}
	return nil, changing, nil
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// refused is what the CA calls its refusal; empty: the error is of another kind.
func refused(err error) string {
	var e *model.ACMEError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Short()
}

// holds says whether the CA knows a key as that of an account (RFC 8555 section
// 7.3.1). One that was given up is known.
func (c *ca) holds(ctx context.Context, key crypto.Signer, account string) (bool, error) {
	url, _, err := c.Client.Register(ctx, acmeclient.Registration{Key: key, OnlyExisting: true})
	switch {
	case refused(err) == "accountDoesNotExist":
		return false, nil
	case refused(err) == "unauthorized":
		return true, nil
	case err != nil:
		return false, err
	case url != account:
		return false, fmt.Errorf("the CA knows the key as that of the account %s, not of %s", url, account)
	}
	return true, nil
}
