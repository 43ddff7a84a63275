package order

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Registrar is the CA as far as accounts go (RFC 8555 section 7.3).
type Registrar interface {
	Directory(ctx context.Context) (model.Directory, error)
	// Register makes the account, or finds the one that the key has already.
	Register(ctx context.Context, a Registration) (url string, err error)
	// SetAccount signs everything that follows.
	SetAccount(key crypto.Signer, url string)
}

// Accounts keeps accounts.
type Accounts interface {
	Account(name string) (model.Account, crypto.Signer, error)
	SaveAccount(a model.Account, key crypto.Signer) error
	// PendingAccountKey makes a key, durably, or gives the one that an earlier
	// try has made.
	PendingAccountKey(name string) (crypto.Signer, error)
}

// Registration is a new account.
type Registration struct {
	Key         crypto.Signer
	Contact     []string
	TermsAgreed bool
	// EABKid and EABKey bind it to an outside account; empty: not bound.
	EABKid string
	EABKey []byte
}

// Wanted is the account that orders are to be made for.
type Wanted struct {
	Name     string
	Server   string
	Email    string
	AgreeTOS bool
	EABKid   string
	// EABKey reads the key, when it is needed; nil: none.
	EABKey func(context.Context) ([]byte, error)
	// CABundle is kept with a new account, and so is Now as its beginning.
	CABundle string
	Now      time.Time
	// Agree asks for agreement to the terms at a URL. It returns
	// sdk.ErrNotInteractive if nobody can be asked.
	Agree func(ctx context.Context, terms string) (bool, error)
}

// Known finds an account that is registered already and signs with it. The
// error is fs.ErrNotExist if there is none.
func Known(ca Registrar, accounts Accounts, w Wanted) (model.Account, error) {
	a, key, err := accounts.Account(w.Name)
	if err != nil {
		return a, err
	}
	if a.Server != w.Server {
		return a, fmt.Errorf("the account %s belongs to %s, not to %s: use another account name", w.Name, a.Server, w.Server)
	}
	ca.SetAccount(key, a.URL)
	return a, nil
}

// Register makes the account at the CA and keeps it. The caller holds the
// account's exclusive lock.
func Register(ctx context.Context, ca Registrar, accounts Accounts, w Wanted) (model.Account, error) {
	if a, err := Known(ca, accounts, w); !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	d, err := ca.Directory(ctx)
	if err != nil {
		return model.Account{}, err
	}
	if err := Agree(ctx, d, w); err != nil {
		return model.Account{}, err
	}
	r := Registration{TermsAgreed: d.Terms != "", EABKid: w.EABKid}
	if d.EABRequired && w.EABKid == "" {
		return model.Account{}, missingArgument{sdk.Hint(
			fmt.Errorf("the CA %s wants an external account binding for new accounts", w.Server),
			"get a key identifier and an HMAC key from the CA and give --eab-kid and --eab-hmac-key @FILE")}
	}
	if w.EABKid != "" {
		if r.EABKey, err = w.EABKey(ctx); err != nil {
			return model.Account{}, fmt.Errorf("external account binding: %w", err)
		}
	}
	if w.Email != "" {
		r.Contact = []string{"mailto:" + w.Email}
	}
	if r.Key, err = accounts.PendingAccountKey(w.Name); err != nil {
		return model.Account{}, fmt.Errorf("make the account key: %w", err)
	}
	url, err := ca.Register(ctx, r)
	if err != nil {
		return model.Account{}, fmt.Errorf("register an account at %s: %w", w.Server, err)
	}
	a := model.Account{
		Name: w.Name, Server: w.Server, URL: url, Contact: r.Contact, Terms: d.Terms, EABKid: w.EABKid,
		CABundle: w.CABundle, Created: w.Now,
	}
	if err := accounts.SaveAccount(a, r.Key); err != nil {
		return a, fmt.Errorf("keep the account: %w", err)
	}
	ca.SetAccount(r.Key, url)
	return a, nil
}

// missingArgument is an error of usage: only the user can give what the CA
// wants.
type missingArgument struct{ error }

func (e missingArgument) Unwrap() error { return e.error }

// Usage marks it.
func (missingArgument) Usage() bool { return true }

// Agree makes sure that the user agrees to the CA's terms.
func Agree(ctx context.Context, d model.Directory, w Wanted) error {
	if d.Terms == "" || w.AgreeTOS {
		return nil
	}
	yes, err := w.Agree(ctx, d.Terms)
	switch {
	case errors.Is(err, sdk.ErrNotInteractive), err == nil && !yes:
		return missingArgument{sdk.Hint(fmt.Errorf("the terms of service of %s are not agreed to: %s", w.Server, d.Terms),
			"read them and give --agree-tos")}
	case err != nil:
		return fmt.Errorf("ask for agreement to the terms of service: %w", err)
	}
	return nil
}
