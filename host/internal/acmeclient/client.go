package acmeclient

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/certwright/certwright/host/internal/model"
)

// Options of a client. Only Server is needed.
type Options struct {
	// Server is the URL of the CA's directory.
	Server string
	// Roots that the CA's HTTPS certificate must lead to. Nil: the system's.
	Roots *x509.CertPool
	// UserAgent names the program in front of the library.
	UserAgent string
	// ReachWithin is how long Directory tries to reach the CA. Zero: 20 s.
	ReachWithin time.Duration
	// RequestTimeout bounds one request, its answer included. Zero: 2 minutes.
	RequestTimeout time.Duration
	// Log is told of retries. Nil: nobody is.
	Log func(format string, args ...any)
	// OnRequest is told of every request that was answered, or that failed
	// (status 0). It MUST be safe for concurrent use.
	OnRequest func(method, url string, status int)
	// OnRefusal is told of every answer that is no success, except of a refused
	// nonce, with the context of the call. It MUST be safe for concurrent use; the
	// request waits for it.
	OnRefusal func(context.Context, model.Refusal)
	// Now is the clock that dates in Retry-After are compared with. Nil:
	// time.Now.
	Now func() time.Time
	// Pause waits between polls and retries, or until the context is done. Nil:
	// by a timer.
	Pause func(ctx context.Context, d time.Duration) error
}

// Client is one CA and, after SetAccount, one account there. It is meant for one
// run: what the directory said is kept for its life. It is safe for concurrent
// use; the account's key never leaves it.
type Client struct {
	server    string
	transport *transport
	http      *http.Client
	userAgent string
	reach     time.Duration
	log       func(format string, args ...any)
	now       func() time.Time
	pause     func(ctx context.Context, d time.Duration) error

	// directoryLock guards directory; unlike a mutex it can be waited for
	// until a context is done.
	directoryLock chan struct{}
	directory     *directory

	mu      sync.Mutex
	account *account
	// dues are how long to wait before a finalized order is looked at, by URL.
	dues map[string]time.Duration
}

// account is who signs.
type account struct {
	key crypto.Signer
	// url is empty where the CA is to know the signer by the key alone.
	url string
	// acme does what x/crypto does well with the same key and connection.
	acme *acme.Client
}

// requestTimeout is the usual bound of one request. Some CAs issue while finalize
// waits.
const requestTimeout = 2 * time.Minute

// New makes a client. Nothing is asked of the CA yet. The caller MUST call Close.
func New(o Options) (*Client, error) {
	server, err := url.Parse(o.Server)
	if err != nil || server.Scheme != "https" || server.Host == "" {
		// RFC 8555 section 6.1 allows HTTPS only.
		return nil, badServer(o.Server)
	}
	c := &Client{
		server:        o.Server,
		transport:     newTransport(o, server.String()),
		userAgent:     cmp.Or(o.UserAgent, "certwright"),
		reach:         cmp.Or(o.ReachWithin, 20*time.Second),
		log:           o.Log,
		now:           o.Now,
		pause:         o.Pause,
		directoryLock: make(chan struct{}, 1),
		dues:          map[string]time.Duration{},
	}
	if c.log == nil {
		c.log = func(string, ...any) {}
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.pause == nil {
		c.pause = pause
	}
	c.http = &http.Client{
		Transport: c.transport,
		Timeout:   cmp.Or(o.RequestTimeout, requestTimeout),
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			// A signature names its URL (RFC 8555 section 6.4): a signed
			// request cannot be sent elsewhere.
			if via[0].Method == http.MethodPost || r.URL.Scheme != "https" || len(via) > 5 {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	return c, nil
}

// Close lets go of the connection. No call may be under way.
func (c *Client) Close() { c.transport.base.CloseIdleConnections() }

// SetAccount makes the client sign with an account's key, as the account at url.
func (c *Client) SetAccount(key crypto.Signer, url string) {
	a := c.accountOf(key, url)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account = a
}

func (c *Client) accountOf(key crypto.Signer, url string) *account {
	a := &account{key: key, url: url, acme: c.xcrypto(key)}
	// Without this x/crypto looks the account up, and hides what goes wrong.
	a.acme.KID = acme.KeyID(url)
	return a
}

// xcrypto is a client of x/crypto over our connection, nonces and directory.
func (c *Client) xcrypto(key crypto.Signer) *acme.Client {
	return &acme.Client{
		Key: key, HTTPClient: c.http, DirectoryURL: c.server, UserAgent: c.userAgent,
		RetryBackoff: c.xcryptoBackoff,
	}
}

func (c *Client) signer() (*account, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account == nil {
		return nil, fmt.Errorf("no account is set for %s", c.server)
	}
	return c.account, nil
}

// setDue notes what the CA said of an order when it was finalized; due gives it,
// once.
func (c *Client) setDue(url string, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dues[url] = wait
}

func (c *Client) due(url string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := c.dues[url]
	delete(c.dues, url)
	return wait
}

// pause waits for d, or until the context is done.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
