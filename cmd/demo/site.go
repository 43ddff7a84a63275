package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"
)

// site is the web server that a certificate is deployed to. It reads its files
// at every handshake, so it needs no reload.
type site struct {
	address string
	server  *http.Server
	ended   chan error
}

func serve(certFile, keyFile string) (*site, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the web server: %w", err)
	}
	s := &site{address: listener.Addr().String(), ended: make(chan error, 1)}
	s.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(quiet{}, "", 0), // before the first deployment it has no certificate to show
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, "hello from the demo") // a client that is gone cannot be told
		}),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				pair, err := tls.LoadX509KeyPair(certFile, keyFile)
				return &pair, err
			},
		},
	}
	go func() { s.ended <- s.server.ServeTLS(listener, "", "") }()
	return s, nil
}

func (s *site) close() error {
	err := s.server.Close()
	if served := <-s.ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

type quiet struct{}

func (quiet) Write(p []byte) (int, error) { return len(p), nil }
