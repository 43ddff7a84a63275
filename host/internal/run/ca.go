package run

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/hook"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// cas are the connections of a run: one for each account at each CA.
type cas struct {
	engine  *Engine
	mu      sync.Mutex
	clients map[string]*ca
	// ordering, see ca, by server.
	ordering map[string]chan struct{}
	// entering keeps the orders of this process from waiting for each other
	// where the first has to register an account: by account.
	entering sync.Map
	warming  sync.WaitGroup
	// hooks are told of what a CA refuses; nil: nobody is.
	hooks *hook.Run
}

// atCA is how many orders a CA is asked to make at once. Each is work for it, and
// one that is small may stumble over more.
const atCA = 8

// ca is the client as the order package knows it.
type ca struct {
	*acmeclient.Client
	// ordering has a place for each newOrder that is under way.
	ordering chan struct{}
	// reach asks for the directory once in a run, and remembers a failure too:
	// to wait for a CA that is down once is enough.
	reach func() (model.Directory, error)
}

// Directory implements order.Registrar.
func (c *ca) Directory(context.Context) (model.Directory, error) { return c.reach() }

func newCAs(e *Engine) *cas {
	return &cas{engine: e, clients: map[string]*ca{}, ordering: map[string]chan struct{}{}}
}

func (c *cas) get(ctx context.Context, r model.Request) (*ca, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bundle := c.engine.bundle(r)
	key := r.Server + " " + r.Account + " " + bundle
	if have := c.clients[key]; have != nil {
		return have, nil
	}
	roots, err := caRoots(bundle)
	if err != nil {
		return nil, err
	}
	client, err := acmeclient.New(acmeclient.Options{
		Server: r.Server, Roots: roots, UserAgent: "certwright/" + c.engine.Version,
		Log:       func(format string, args ...any) { c.engine.Terminal.Detail("", format, args...) },
		OnRequest: func(method, url string, status int) { c.engine.Terminal.Detail("", "%s %s: %d", method, url, status) },
		OnRefusal: c.refused,
	})
	if err != nil {
		return nil, err
	}
	c.clients[key] = &ca{
		Client: client, ordering: c.atServer(r.Server),
		reach: sync.OnceValues(func() (model.Directory, error) { return client.Directory(ctx) }),
	}
	return c.clients[key], nil
}

// atServer gives the places that all accounts of a run share at one CA. The lock
// is held.
func (c *cas) atServer(server string) chan struct{} {
	if c.ordering[server] == nil {
		c.ordering[server] = make(chan struct{}, atCA)
	}
	return c.ordering[server]
}

// refused tells hooks.
func (c *cas) refused(ctx context.Context, f model.Refusal) {
	if c.hooks != nil {
		hook.Refused(ctx, c.hooks, f)
	}
}

// bundle is the file of roots that is configured now, or else the one that the
// request was made with, or else the one that its account was registered with.
func (e *Engine) bundle(r model.Request) string {
	if configured := cmp.Or(e.Config.CABundle, r.CABundle); configured != "" {
		return configured
	}
	if a, _, err := e.Store.Account(r.Account); err == nil && a.Server == r.Server {
		return a.CABundle
	}
	return "" // without an account nothing is known of its CA
}

// warm fetches the directories while the plugins start. Errors come again where
// they matter.
func (c *cas) warm(ctx context.Context, p model.Plan) {
	for _, item := range p.Items {
		if item.Action != model.Issue && item.Action != model.Renew {
			continue
		}
		client, err := c.get(ctx, item.Request)
		if err != nil {
			continue
		}
		c.warming.Go(func() { _, _ = client.Directory(ctx) })
	}
}

func (c *cas) close() {
	c.warming.Wait()
	for _, client := range c.clients {
		client.Close()
	}
}

func caRoots(bundle string) (*x509.CertPool, error) {
	if bundle == "" {
		return nil, nil //nolint:nilnil // nil is the system's roots
	}
	data, err := os.ReadFile(bundle)
	if err != nil {
		return nil, &report.UsageError{Err: fmt.Errorf("read the CA bundle: %w", err)}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, &report.UsageError{Err: fmt.Errorf("the CA bundle %s holds no PEM certificate", bundle)}
	}
	return pool, nil
}

// NewOrder implements order.CA.
func (c *ca) NewOrder(ctx context.Context, n model.NewOrder) (model.Order, error) {
	select {
	case c.ordering <- struct{}{}:
		defer func() { <-c.ordering }()
	case <-ctx.Done():
		return model.Order{}, context.Cause(ctx)
	}
	return c.NewOrderWith(ctx, acmeclient.OrderRequest(n))
}

// Certificate implements order.CA.
func (c *ca) Certificate(ctx context.Context, url string, want func([]byte) bool) ([]byte, bool, error) {
	if want == nil {
		chain, err := c.Client.Certificate(ctx, url)
		return chain, true, err
	}
	return c.CertificateChain(ctx, url, want)
}

// Register implements order.Registrar.
func (c *ca) Register(ctx context.Context, r order.Registration) (string, error) {
	in := acmeclient.Registration{Key: r.Key, Contact: r.Contact, TermsAgreed: r.TermsAgreed}
	if r.EABKid != "" {
		in.EAB = &acmeclient.EAB{Kid: r.EABKid, HMACKey: r.EABKey}
	}
	url, _, err := c.Client.Register(ctx, in)
	return url, err
}

// account gives a client that signs with the request's account, which is
// registered if need be. While it is in use its lock is held, shared.
func (e *Engine) account(ctx context.Context, r model.Request, t *team) (*ca, func(), error) {
	client, err := t.cas.get(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	wanted := e.wanted(r)
	if _, err := client.Directory(ctx); err != nil {
		return nil, nil, err
	}
	entry, _ := t.cas.entering.LoadOrStore(r.Account, &sync.Mutex{})
	if one, ok := entry.(*sync.Mutex); ok {
		one.Lock()
		defer one.Unlock()
	}
	for {
		_, unlock, err := e.known(ctx, client, wanted)
		if !errors.Is(err, fs.ErrNotExist) {
			return client, unlock, err
		}
		a, err := e.register(ctx, client, wanted)
		if err != nil {
			return nil, nil, err
		}
		e.Terminal.Tell("", "account %s at %s: %s", a.Name, a.Server, a.URL)
	}
}

func (e *Engine) register(ctx context.Context, client *ca, w order.Wanted) (model.Account, error) {
	unlock, err := e.Store.Lock(ctx, store.AccountLock(w.Name), true)
	if err != nil {
		return model.Account{}, err
	}
	defer unlock()
	return order.Register(ctx, client, e.Store, w)
}

func (e *Engine) wanted(r model.Request) order.Wanted {
	w := order.Wanted{
		Name: r.Account, Server: r.Server, Email: e.Config.Email, AgreeTOS: e.Config.AgreeTOS,
		CABundle: e.bundle(r), Now: e.Now().UTC(),
		Agree: func(ctx context.Context, terms string) (bool, error) {
			return e.Terminal.Confirm(ctx, fmt.Sprintf("Do you agree to the terms of service of %s?\n%s", r.Server, terms))
		},
	}
	eab := e.EAB
	if a, ok := e.Config.Account(r.Account); ok {
		if a.Email != "" {
			w.Email = a.Email
		}
		if a.EAB != nil {
			eab = a.EAB
		}
	}
	if eab != nil {
		w.EABKid, w.EABKey = eab.Kid, func(ctx context.Context) ([]byte, error) { return e.eabKey(ctx, eab) }
	}
	return w
}

// eabKey decodes the key as CAs hand it out: base64url, with or without
// padding (RFC 8555 section 7.3.4).
func (e *Engine) eabKey(ctx context.Context, eab *config.EAB) ([]byte, error) {
	text, err := config.ReadSecret(ctx, eab.HMACKey)
	if err != nil {
		return nil, err
	}
	e.Secrets.Add(text)
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(text)), "="))
	if err != nil {
		return nil, sdk.Hint(fmt.Errorf("the HMAC key in the %s is not base64url", eab.HMACKey), "copy the key from the CA as it stands")
	}
	e.Secrets.Add(key)
	return key, nil
}
