package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"time"
)

// bareAccount is who the floor signs as. The floor shares no line with
// certwright's own client, so that what that one wastes is seen.
type bareAccount struct {
	directory string
	roots     *x509.CertPool
	key       *ecdsa.PrivateKey
	jwk       string // in the order that a thumbprint wants (RFC 7638 section 3)
	kid       string
}

// newBareAccount registers an account (RFC 8555 section 7.3).
func newBareAccount(ctx context.Context, directory string, roots []byte) (*bareAccount, error) {
	a := &bareAccount{directory: directory, roots: x509.NewCertPool()}
	if !a.roots.AppendCertsFromPEM(roots) {
		return nil, errors.New("the CA has no root for its HTTPS")
	}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make an account key: %w", err)
	}
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode an account key: %w", err)
	}
	a.jwk = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, base64url(point[1:33]), base64url(point[33:]))
	c := a.connect()
	defer c.close()
	if err := c.discover(ctx); err != nil {
		return nil, err
	}
	answer, err := c.post(ctx, c.urls.NewAccount, []byte(`{"termsOfServiceAgreed":true}`), nil)
	if err != nil {
		return nil, err
	}
	a.kid = answer.Get("Location")
	return a, nil
}

func (a *bareAccount) keyAuthorization(token string) string {
	sum := sha256.Sum256([]byte(a.jwk))
	return token + "." + base64url(sum[:])
}

// bareClient is one connection with the nonces that it has brought. It may be
// used by several goroutines.
type bareClient struct {
	*bareAccount
	http   *http.Client
	nonces chan string
	urls   struct {
		NewNonce   string `json:"newNonce"`
		NewAccount string `json:"newAccount"`
		NewOrder   string `json:"newOrder"`
	}
}

func (a *bareAccount) connect() *bareClient {
	return &bareClient{
		bareAccount: a,
		nonces:      make(chan string, 100),
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: a.roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true,
		}},
	}
}

func (c *bareClient) close() { c.http.CloseIdleConnections() }

func (c *bareClient) discover(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodGet, c.directory, nil, &c.urls)
	return err
}

// post sends a signed request (RFC 8555 section 6.2) and decodes the answer.
func (c *bareClient) post(ctx context.Context, url string, payload []byte, into any) (http.Header, error) {
	if len(c.nonces) == 0 {
		if _, err := c.do(ctx, http.MethodHead, c.urls.NewNonce, nil, nil); err != nil {
			return nil, err
		}
	}
	body, err := c.sign(url, <-c.nonces, payload)
	if err != nil {
		return nil, err
	}
	return c.do(ctx, http.MethodPost, url, body, into)
}

func (c *bareClient) sign(url, nonce string, payload []byte) ([]byte, error) {
	signer := `"kid":"` + c.kid + `"`
	if c.kid == "" {
		signer = `"jwk":` + c.jwk
	}
	protected := base64url(fmt.Appendf(nil, `{"alg":"ES256",%s,"nonce":"%s","url":"%s"}`, signer, nonce, url))
	signed := protected + "." + base64url(payload)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign a request: %w", err)
	}
	return fmt.Appendf(nil, `{"protected":"%s","payload":"%s","signature":"%s"}`,
		protected, base64url(payload), base64url(fixed(r, s))), nil
}

// fixed is the signature's form in JWS: two numbers of 32 bytes (RFC 7518
// section 3.4).
func fixed(r, s *big.Int) []byte {
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

func (c *bareClient) do(ctx context.Context, method, url string, body []byte, into any) (http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/jose+json")
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the floor's request: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("the floor's request: %w", err)
	}
	if nonce := response.Header.Get("Replay-Nonce"); nonce != "" {
		select {
		case c.nonces <- nonce:
		default: // enough of them
		}
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the floor's %s %s: %s: %s", method, url, response.Status, text)
	}
	if into == nil {
		return response.Header, nil
	}
	return response.Header, json.Unmarshal(text, into)
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
