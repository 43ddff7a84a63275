package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many certificates are worked on at once, and proofsAtOnce how many
// authorizations of one, by certwright and by the floor.
const (
	atOnce       = 32
	proofsAtOnce = 16
)

// pollEvery is how long the floor waits before it asks again.
const pollEvery = 2 * time.Millisecond

type bareOrder struct {
	Status         string   `json:"status"`
	Authorizations []string `json:"authorizations"`
	Finalize       string   `json:"finalize"`
	Certificate    string   `json:"certificate"`
}

type bareAuthorization struct {
	Status     string `json:"status"`
	Challenges []struct {
		Type  string `json:"type"`
		URL   string `json:"url"`
		Token string `json:"token"`
	} `json:"challenges"`
}

// issue obtains a certificate and throws it away: the least requests that an
// order needs, a new key, and nothing on disk.
func (c *bareClient) issue(ctx context.Context, a *answers, names ...string) error {
	var request struct {
		Identifiers []map[string]string `json:"identifiers"`
	}
	for _, name := range names {
		request.Identifiers = append(request.Identifiers, map[string]string{"type": "dns", "value": name})
	}
	payload, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var order bareOrder
	answer, err := c.post(ctx, c.urls.NewOrder, payload, &order)
	if err != nil {
		return err
	}
	where := answer.Get("Location")
	group, proving := errgroup.WithContext(ctx)
	group.SetLimit(proofsAtOnce)
	for _, url := range order.Authorizations {
		group.Go(func() error { return c.prove(proving, a, url) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	csr, err := newCSR(names)
	if err != nil {
		return err
	}
	payload = fmt.Appendf(nil, `{"csr":"%s"}`, base64url(csr))
	if _, err := c.post(ctx, order.Finalize, payload, &order); err != nil {
		return err
	}
	for order.Status != "valid" {
		if err := c.again(ctx, where, order.Status, &order); err != nil {
			return err
		}
	}
	_, err = c.post(ctx, order.Certificate, nil, nil)
	return err
}

// prove brings one authorization to valid by http-01.
func (c *bareClient) prove(ctx context.Context, a *answers, url string) error {
	var authorization bareAuthorization
	if _, err := c.post(ctx, url, nil, &authorization); err != nil {
		return err
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		a.put(challenge.Token, c.keyAuthorization(challenge.Token))
		defer a.drop(challenge.Token)
		if _, err := c.post(ctx, challenge.URL, []byte("{}"), nil); err != nil {
			return err
		}
		for authorization.Status != "valid" {
			if err := c.again(ctx, url, authorization.Status, &authorization); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("the CA offers no http-01 at %s", url)
}

// again reads an order or authorization once more, a moment later.
func (c *bareClient) again(ctx context.Context, url, status string, into any) error {
	if status == "invalid" {
		return fmt.Errorf("the CA made %s invalid", url)
	}
	if err := wait(ctx, pollEvery); err != nil {
		return err
	}
	_, err := c.post(ctx, url, nil, into)
	return err
}

func newCSR(names []string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
}

// answers is the floor's web server for http-01. It has the port that the
// standalone plugin uses otherwise.
type answers struct {
	server *http.Server
	served chan error

	mu     sync.Mutex
	tokens map[string]string
}

func (s *stage) answer(ctx context.Context) (*answers, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+strconv.Itoa(s.port))
	if err != nil {
		return nil, fmt.Errorf("answer for the floor: %w", err)
	}
	a := &answers{tokens: map[string]string{}, served: make(chan error, 1)}
	a.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
			a.mu.Lock()
			text := a.tokens[token]
			a.mu.Unlock()
			_, _ = w.Write([]byte(text)) // who is gone cannot be told
		}),
	}
	go func() { a.served <- a.server.Serve(listener) }()
	return a, nil
}

func (a *answers) close() error {
	err := a.server.Close()
	if served := <-a.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (a *answers) put(token, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[token] = text
}

func (a *answers) drop(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.tokens, token)
}
