package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveTLS is `serve NAME FILE`: a TLS server, whose address is in $NAME, that
// serves the certificate and key of FILE as they are when a client comes.
func serveTLS(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: serve NAME FILE")
	}
	file := ts.MkAbs(args[1])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	cfg := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(data, data)
		return &pair, err
	}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				server := tls.Server(conn, cfg)
				if server.Handshake() == nil {
					_, _ = server.Read(make([]byte, 1))
				}
			})
		}
	})
	ts.Defer(func() {
		_ = l.Close()
		serving.Wait()
	})
	ts.Setenv(args[0], l.Addr().String())
}

// checkShown is `[!] shows ADDRESS CERT.PEM`: a client gets this leaf.
func checkShown(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: shows ADDRESS FILE")
	}
	block, _ := pem.Decode([]byte(ts.ReadFile(args[1])))
	dialer := &net.Dialer{Timeout: patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", args[0], &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"}) //nolint:gosec // it is only looked at
	ts.Check(err)
	defer conn.Close()
	if same := bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, block.Bytes); same == neg {
		ts.Fatalf("%s shows the leaf of %s: %v", args[0], args[1], same)
	}
}

// usePlugin is `plugin NAME`: builds a plugin of testdata/plugins and puts it
// where certwright looks for plugins in this story.
func usePlugin(ts *testscript.TestScript, _ bool, args []string) {
	source, err := filepath.Abs(filepath.Join("testdata", "plugins", args[0]))
	ts.Check(err)
	dir := ts.MkAbs("plugins")
	ts.Check(os.MkdirAll(dir, 0o755))
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "certwright-plugin-"+args[0]), ".")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		ts.Fatalf("build %s: %v\n%s", args[0], err, out)
	}
	ts.Setenv("CERTWRIGHT_PLUGIN_PATH", dir)
}
