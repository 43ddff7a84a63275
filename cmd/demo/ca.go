package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certwright/certwright/host/testca"
)

// caOptions are what `demo ca` may be told.
type caOptions struct {
	www   string
	zones map[string]string
}

func parseCA(args []string) (caOptions, error) {
	o := caOptions{zones: map[string]string{}}
	flags := flag.NewFlagSet("demo ca", flag.ContinueOnError)
	flags.StringVar(&o.www, "www", "", "directory to serve where the CA looks for http-01")
	flags.Func("zone", "ZONE=HOST:PORT, the name server of a zone; may be repeated", func(text string) error {
		zone, server, ok := strings.Cut(text, "=")
		if _, _, err := net.SplitHostPort(server); !ok || zone == "" || err != nil {
			return errors.New("wants ZONE=HOST:PORT")
		}
		o.zones[zone] = server
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("demo ca takes no argument, but was given %q", flags.Args())
	}
	if o.www == "" {
		return o, nil
	}
	if info, err := os.Stat(o.www); err != nil || !info.IsDir() {
		return o, fmt.Errorf("serve %s: it is not a directory; make it first", o.www)
	}
	var err error
	o.www, err = filepath.Abs(o.www)
	return o, err
}

// runCA is a test CA for whoever writes a plugin: it says how to reach it and
// where it looks, and runs until it is interrupted.
func runCA(ctx context.Context, o caOptions, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "certwright-ca-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	httpPort, served, err := answerHTTP(o.www)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, served()) }()
	tlsPort, err := freePort()
	if err != nil {
		return err
	}
	ca, err := testca.Start(ctx, testca.Options{HTTPPort: httpPort, TLSPort: tlsPort, Zones: o.zones})
	if err != nil {
		return fmt.Errorf("start the test CA: %w", err)
	}
	defer func() { err = errors.Join(err, ca.Close()) }()
	roots := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(roots, ca.TLSRoots(), 0o600); err != nil {
		return fmt.Errorf("write the CA's root: %w", err)
	}
	http01 := "# http-01 is looked for at 127.0.0.1:%d, whatever the name: a plugin or a server of yours has to answer there\n"
	if o.www != "" {
		http01 = "# http-01 is looked for at 127.0.0.1:%d, whatever the name, where " + strings.ReplaceAll(o.www, "%", "%%") + " is served\n"
	}
	if _, err := fmt.Fprintf(out, "# A test CA that nobody trusts. Paste these lines into the shell in which you try your plugin:\n"+
		"export CERTWRIGHT_SERVER=%s\n"+
		"export CERTWRIGHT_CA_BUNDLE=%s\n"+
		"export CERTWRIGHT_STATE_DIR=%s\n"+http01+
		"# tls-alpn-01 is looked for at 127.0.0.1:%d\n"+
		"# dns-01 is looked for through the name server %s; make ca ZONE=NAME=HOST:PORT tells it of yours\n"+
		"# It runs, and keeps what it has issued, until Ctrl-C.\n",
		ca.DirectoryURL(), roots, filepath.Join(dir, "state"), httpPort, tlsPort, ca.DNS().Addr()); err != nil {
		return fmt.Errorf("say where the CA is: %w", err)
	}
	<-ctx.Done()
	return nil
}

// answerHTTP gives the port for http-01, and serves a directory there if one is
// named.
func answerHTTP(www string) (port int, stop func() error, err error) {
	if www == "" {
		port, err = freePort()
		return port, func() error { return nil }, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, fmt.Errorf("serve %s: %w", www, err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(www)), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	return listener.Addr().(*net.TCPAddr).Port, func() error { //nolint:forcetypeassert // a TCP listener
		err := server.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}
