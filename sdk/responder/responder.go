// Package responder answers http-01 challenges (RFC 8555 section 8.3) for an
// authenticator whose server, by its own configuration, passes them on to a port
// of this machine.
package responder

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

// Listener answers on 127.0.0.1 and ::1 the challenges that are put into it. It is
// open while there is something to answer. Its fields are set before the first
// call; several goroutines may use it.
type Listener struct {
	// Port, which the setting listen of the plugin says.
	Port int
	// Config is what leads the challenges here, for a hint: "haproxy.cfg".
	Config string

	// mu is not held while an answer is written, so it may be held while the
	// server is closed.
	mu      sync.Mutex
	answers map[string]answer
	server  *http.Server // nil: closed
	serving sync.WaitGroup
}

type answer struct {
	body   []byte
	owners map[string]bool
}

// Put answers a path from now on, for an order, which owner names: a CA may give
// one pending authorization to several.
func (l *Listener) Put(ctx context.Context, owner string, c sdk.Challenge) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server == nil {
		if err := l.open(ctx); err != nil {
			return err
		}
	}
	a, ok := l.answers[c.HTTP.Path]
	if !ok {
		a.owners = map[string]bool{}
	}
	a.body = c.HTTP.Body
	a.owners[owner] = true
	l.answers[c.HTTP.Path] = a
	return nil
}

func (l *Listener) open(ctx context.Context) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	var open []net.Listener
	var errs []error
	for _, host := range []string{"127.0.0.1", "::1"} {
		n, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(l.Port)))
		switch {
		case err == nil:
			open = append(open, n)
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			// This machine has no such family.
		default:
			errs = append(errs, l.explain(err))
		}
	}
	if len(open) == 0 && len(errs) == 0 {
		errs = append(errs, sdk.Problemf(sdk.Unavailable, "this machine has neither 127.0.0.1 nor ::1"))
	}
	if err := errors.Join(errs...); err != nil {
		for _, n := range open {
			_ = n.Close()
		}
		return err
	}
	l.answers = map[string]answer{}
	l.server = &http.Server{Handler: http.HandlerFunc(l.answer), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	server := l.server
	for _, n := range open {
		l.serving.Go(func() { _ = server.Serve(n) })
	}
	return nil
}

func (l *Listener) explain(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		err = sdk.WithCode(fmt.Errorf("setting listen: %w", err), sdk.Conflict)
		return sdk.Hint(sdk.Subject(err, "listen"), "see what listens on port %d, or choose another port here and in %s", l.Port, l.Config)
	case errors.Is(err, syscall.EACCES):
		err = sdk.WithCode(fmt.Errorf("setting listen: %w", err), sdk.PermissionDenied)
		return sdk.Hint(sdk.Subject(err, "listen"), "choose a port above 1023")
	}
	return err
}

// Remove stops answering a path for an order; the last one closes the port.
func (l *Listener) Remove(owner, path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.answers[path]
	delete(a.owners, owner)
	if len(a.owners) == 0 {
		delete(l.answers, path)
	}
	if len(l.answers) == 0 && l.server != nil {
		_ = l.server.Close()
		l.serving.Wait()
		l.server = nil
	}
}

func (l *Listener) answer(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	a, ok := l.answers[r.URL.Path]
	l.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(a.body)
}
