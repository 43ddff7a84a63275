package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/host/testca"
)

// stage is a CA and what is run against it.
type stage struct {
	options
	dir string
	ca  *testca.CA
	// requests that the CA was asked, whoever asked.
	requests *atomic.Int64
	// port is where the CA looks for http-01 in place of 80.
	port  int
	names int
}

// newStage starts a CA that never sleeps, rejects no nonce, reuses no
// authorization and sends no Retry-After.
func newStage(ctx context.Context, dir, letter string, o options) (*stage, error) {
	s := &stage{options: o, requests: new(atomic.Int64)}
	var err error
	if s.dir, err = os.MkdirTemp(dir, letter+"-"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if s.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	s.ca, err = testca.Start(ctx, testca.Options{
		HTTPPort: s.port, OnRequest: func(string, string) { s.requests.Add(1) },
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.path("ca.pem"), s.ca.TLSRoots(), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write the CA's root: %w", err), s.close())
	}
	return s, nil
}

func (s *stage) close() error { return s.ca.Close() }

func (s *stage) path(file string) string { return filepath.Join(s.dir, file) }

// name gives a name that the CA has not seen: what it has proven once it may
// not ask for again.
func (s *stage) name() string {
	s.names++
	return fmt.Sprintf("n%d.bench.test", s.names)
}

// certwright runs the installed program, with a state and a configuration of
// its own, and says what it cost.
func (s *stage) certwright(ctx context.Context, args ...string) (cost, error) {
	binary := filepath.Join(s.prefix, "bin", "certwright")
	args = append(args, "-n", "--state-dir", s.path("state"), "--config-dir", s.dir)
	before := s.requests.Load()
	c, err := measure(ctx, binary, args...)
	c.requests = s.requests.Load() - before
	if err != nil {
		return c, fmt.Errorf("certwright %s: %w", args[0], err)
	}
	return c, nil
}

// obtain gets one certificate for names, from the CA at a directory URL.
func (s *stage) obtain(ctx context.Context, server string, names ...string) (cost, error) {
	args := []string{
		"certonly", "--server", server, "--ca-bundle", s.path("ca.pem"), "--agree-tos",
		"-a", "standalone", "--set", "standalone.http_port=" + strconv.Itoa(s.port),
	}
	for _, name := range names {
		args = append(args, "-d", name)
	}
	return s.certwright(ctx, args...)
}

// freePort finds a port that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener
	return port, l.Close()
}

// wait waits for d or the context.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
