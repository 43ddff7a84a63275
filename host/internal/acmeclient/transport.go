package acmeclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// maxBody is more than any answer of a CA; a chain is some 10 KiB.
const maxBody = 1 << 20

// transport is the one way to the CA. It owns the nonces: Replay-Nonce is taken
// out of every answer, so that x/crypto's own pool stays empty, and x/crypto's
// request for a new nonce is answered from here as long as there is one. It
// answers x/crypto's request for the directory as well, once we have it.
type transport struct {
	base      *http.Transport
	nonces    nonces
	server    string
	directory atomic.Pointer[[]byte]
	onRequest func(method, url string, status int)
	onRefusal func(context.Context, model.Refusal)
}

func newTransport(o Options, server string) *transport {
	base := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		// One connection is kept. A CA without HTTP/2 gets more only while
		// requests run at once.
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	t := &transport{base: base, server: server, onRequest: o.OnRequest, onRefusal: o.OnRefusal}
	if t.onRequest == nil {
		t.onRequest = func(string, string, int) {}
	}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	// x/crypto uses HEAD for newNonce only.
	if r.Method == http.MethodHead {
		if n, ok := t.nonces.take(); ok {
			return made(r, http.Header{"Replay-Nonce": {n.value}}, nil), nil
		}
	}
	if r.Method == http.MethodGet && r.URL.String() == t.server {
		if body := t.directory.Load(); body != nil {
			return made(r, http.Header{"Content-Type": {"application/json"}}, *body), nil
		}
	}
	response, err := t.base.RoundTrip(r)
	if err != nil {
		t.onRequest(r.Method, r.URL.String(), 0)
		return nil, err
	}
	if r.Method != http.MethodHead {
		t.nonces.put(response.Header.Get("Replay-Nonce"))
		response.Header.Del("Replay-Nonce")
	}
	// It is read here, so that one that breaks off is no answer to x/crypto as
	// well, which would take it for a mistake of the CA.
	body, err := whole(response.Body, r.URL.Host)
	if err != nil {
		t.onRequest(r.Method, r.URL.String(), 0)
		return nil, err
	}
	t.onRequest(r.Method, r.URL.String(), response.StatusCode)
	response.Body = io.NopCloser(bytes.NewReader(body))
	t.refused(r, response, body)
	return response, nil
}

// refused tells of an answer that is no success.
func (t *transport) refused(r *http.Request, response *http.Response, body []byte) {
	if t.onRefusal == nil || response.StatusCode >= 200 && response.StatusCode <= 299 {
		return
	}
	var w wireProblem
	// What is no problem document has no type.
	_ = json.Unmarshal(body, &w)
	e := w.model()
	if e.Short() == "badNonce" {
		return
	}
	e.Status, e.Method, e.URL = response.StatusCode, r.Method, r.URL.String()
	if e.Type == "" && e.Detail == "" {
		e.Detail = notFromCA(e.URL, e.Status)
	}
	refusal := model.Refusal{ACMEError: *e, Resource: t.resource(e.URL), Body: body}
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		for _, value := range response.Header[name] {
			refusal.Header = append(refusal.Header, sdk.HTTPHeader{Name: name, Value: value})
		}
	}
	t.onRefusal(r.Context(), refusal)
}

// resource names what the directory has at a URL (RFC 8555 section 9.7.5);
// empty: it is something else.
func (t *transport) resource(url string) string {
	if url == t.server {
		return "directory"
	}
	body := t.directory.Load()
	if body == nil {
		return ""
	}
	var has map[string]any
	_ = json.Unmarshal(*body, &has) // it has been read before
	for name, at := range has {
		if at == url {
			return name
		}
	}
	return ""
}

// whole reads a body to its end, or until it is longer than any answer should be.
func whole(b io.ReadCloser, host string) ([]byte, error) {
	defer b.Close()
	body, err := io.ReadAll(io.LimitReader(b, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer of %s is longer than %d bytes", host, maxBody)
	}
	return body, nil
}

// made is an answer that did not come from the CA just now.
func made(r *http.Request, header http.Header, body []byte) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}
