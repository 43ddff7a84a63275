package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bounded is a server that no client can hold for long: the answers are tiny.
func bounded(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:                      handler,
		ReadHeaderTimeout:            10 * time.Second,
		ReadTimeout:                  10 * time.Second,
		WriteTimeout:                 10 * time.Second,
		IdleTimeout:                  10 * time.Second,
		MaxHeaderBytes:               16 << 10,
		DisableGeneralOptionsHandler: true,
		// Not nil: HTTP/2 is not set up.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		// Whoever scans the port makes errors that are nobody's concern.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	server.SetKeepAlivesEnabled(false)
	return server
}

// webServer answers http-01 (RFC 8555 section 8.3). The Host header is not
// looked at: a CA follows redirects, and the path is unguessable.
func webServer(p *port) (*http.Server, *tls.Config) {
	return bounded(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		e, ok := p.find(req.URL.Path)
		switch {
		case !ok:
			http.NotFound(w, req)
		case req.Method != http.MethodGet && req.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		default:
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.Itoa(len(e.proof)))
			_, _ = io.WriteString(w, e.proof) // a client that went away is no failure
		}
	})), nil
}

// alpnProtocol is that of RFC 8737 section 6.2.
const alpnProtocol = "acme-tls/1"

// alpnServer answers tls-alpn-01. The proof is in the handshake; net/http
// closes a connection whose protocol has no handler, which is all that RFC 8737
// section 3 wants done after it.
func alpnServer(p *port) (*http.Server, *tls.Config) {
	return bounded(http.NotFoundHandler()), &tls.Config{
		MinVersion:             tls.VersionTLS12, // RFC 8737 section 3
		NextProtos:             []string{alpnProtocol},
		SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if !slices.Contains(hello.SupportedProtos, alpnProtocol) {
				return nil, fmt.Errorf("the client does not offer %s", alpnProtocol)
			}
			e, ok := p.find(strings.ToLower(hello.ServerName))
			if !ok {
				return nil, fmt.Errorf("no challenge for %q", hello.ServerName)
			}
			return e.certificate, nil
		},
	}
}
