package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk/plugintest"
)

const (
	goodToken   = "root@pam!certwright"
	goodSecret  = plugintest.Mark + "-cccc-dddd-ef0123456789"
	otherToken  = "ops@pve!certs"
	otherSecret = plugintest.Mark + "-other"
)

// fake is a cluster of Proxmox VE: the API at its first node, which proxies to
// the others, and the web interface of each node, with the certificate that it
// really has.
type fake struct {
	mu     sync.Mutex
	nodes  map[string]*fakeNode
	tokens map[string]fakeToken
	faults []fault
	log    []request
	server *httptest.Server
	caFile string
}

type fakeNode struct {
	builtin    tls.Certificate
	certs, key string // custom; empty: none
	served     tls.Certificate
	web        *httptest.Server
}

type fakeToken struct {
	secret  string
	expires time.Time
	// nodes at which it has Sys.Modify.
	nodes []string
}

// request as it came.
type request struct {
	line, authorization, contentType string
	form                             url.Values
}

// fault happens to the next request that has the method.
type fault struct {
	method string
	// status, or 0: the connection is cut, before the work is done or, with
	// after, when it is.
	status int
	after  bool
	slow   bool
	header map[string]string
	// lasting: to all of them, until calm.
	lasting bool
}

func newFake(t *testing.T, names ...string) *fake {
	t.Helper()
	f := &fake{
		nodes:  map[string]*fakeNode{},
		tokens: map[string]fakeToken{goodToken: {secret: goodSecret, nodes: names}},
	}
	for _, name := range names {
		d := issued(t, name+".cluster.test")
		builtin, err := tls.X509KeyPair(d.FullchainPEM, d.KeyPEM)
		must(t, err)
		n := &fakeNode{builtin: builtin, served: builtin}
		f.nodes[name] = n
		n.web = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
		n.web.Config.ErrorLog = log.New(io.Discard, "", 0)
		n.web.TLS = &tls.Config{NextProtos: []string{"http/1.1"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return &n.served, nil
		}}
		n.web.StartTLS()
		n.web.TLS.Certificates = nil // httptest adds its own, which would win
		t.Cleanup(func() { n.web.CloseClientConnections(); n.web.Close() })
		if f.server == nil {
			f.server = n.web
			f.caFile = filepath.Join(t.TempDir(), "pve-root-ca.pem")
			write(t, f.caFile, string(d.ChainPEM))
		}
	}
	return f
}

func (f *fake) settings(names ...string) settings {
	s := settings{Endpoint: f.server.URL, TokenID: goodToken, TokenSecret: goodSecret, Nodes: names, CAFile: f.caFile}
	for _, name := range names {
		s.Endpoints = append(s.Endpoints, f.address(name))
	}
	return s
}

func (f *fake) address(name string) string { return f.nodes[name].web.Listener.Addr().String() }

// frontDoor is a load balancer for the API, which keeps its certificate.
func (f *fake) frontDoor(t *testing.T) string {
	t.Helper()
	door := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	door.Config.ErrorLog = log.New(io.Discard, "", 0)
	door.TLS = &tls.Config{NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{f.nodes["pve1"].builtin}}
	door.StartTLS()
	t.Cleanup(func() { door.CloseClientConnections(); door.Close() })
	return door.Listener.Addr().String()
}

// custom is what a node has on disk.
func (f *fake) custom(name string) [2]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return [2]string{f.nodes[name].certs, f.nodes[name].key}
}

func (f *fake) fail(faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, faults...)
}

// calm ends all trouble.
func (f *fake) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// requests are those since the last call.
func (f *fake) requests() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.log
	f.log = nil
	return out
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	f.mu.Lock()
	f.log = append(f.log, request{
		line: r.Method + " " + r.RequestURI, authorization: r.Header.Get("Authorization"),
		contentType: r.Header.Get("Content-Type"), form: form,
	})
	var now *fault
	if i := slices.IndexFunc(f.faults, func(x fault) bool { return x.method == r.Method }); i >= 0 {
		now = &f.faults[i]
		x := *now
		now = &x
		if !x.lasting {
			f.faults = slices.Delete(f.faults, i, i+1)
		}
	}
	f.mu.Unlock()
	switch {
	case now == nil:
	case now.slow:
		<-r.Context().Done() // the client gives up
		return
	case now.status != 0:
		for name, value := range now.header {
			w.Header().Set(name, value)
		}
		say(w, now.status, "this is meant to fail", nil)
		return
	case !now.after:
		panic(http.ErrAbortHandler)
	}
	status, reason, data := f.answer(r, form)
	if now != nil {
		panic(http.ErrAbortHandler)
	}
	say(w, status, reason, data)
}

// say answers as pveproxy does: what is wrong is in the status line.
func say(w http.ResponseWriter, status int, reason string, data map[string]any) {
	if data == nil {
		data = map[string]any{"data": nil}
	}
	body, _ := json.Marshal(data)
	headers := w.Header().Clone()
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprintf(buffered, "HTTP/1.1 %d %s\r\n", status, reason)
	_ = headers.Write(buffered)
	fmt.Fprintf(buffered, "Content-Type: application/json;charset=UTF-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	_ = buffered.Flush()
}

// answer does the work.
func (f *fake) answer(r *http.Request, form url.Values) (int, string, map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, token, ok := f.authenticated(r)
	if !ok {
		return 401, "invalid token value!", nil
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api2/json/"), "/")
	if r.URL.Path == "/api2/json/access/permissions" && r.Method == http.MethodGet {
		path := r.URL.Query().Get("path")
		privileges := map[string]int{"Sys.Audit": 1}
		if slices.Contains(token.nodes, strings.TrimPrefix(path, "/nodes/")) {
			privileges["Sys.Modify"] = 0 // granted, and not inherited below
		}
		return 200, "OK", map[string]any{"data": map[string]any{path: privileges}}
	}
	if r.URL.Path == "/api2/json/nodes" && r.Method == http.MethodGet {
		var list []any
		for name := range f.nodes {
			list = append(list, map[string]any{"type": "node", "id": "node/" + name, "node": name, "status": "online"})
		}
		return 200, "OK", map[string]any{"data": list}
	}
	if len(parts) != 4 || parts[0] != "nodes" || parts[2] != "certificates" {
		return 501, "Method '" + r.Method + " " + r.URL.Path + "' not implemented", nil
	}
	name := parts[1]
	n := f.nodes[name]
	if n == nil {
		return 500, "hostname lookup '" + name + "' failed - failed to get address info for: " + name + ": Name or service not known", nil
	}
	if parts[3] == "info" && r.Method == http.MethodGet {
		list := []any{info("pve-ssl.pem", encode(n.builtin.Certificate))}
		if n.certs != "" {
			list = append(list, info("pveproxy-ssl.pem", n.certs))
		}
		return 200, "OK", map[string]any{"data": list}
	}
	if parts[3] != "custom" {
		return 501, "Method '" + r.Method + " " + r.URL.Path + "' not implemented", nil
	}
	if !slices.Contains(token.nodes, name) {
		return 403, "Permission check failed (/nodes/" + name + ", Sys.Modify)", nil
	}
	_ = id
	switch r.Method {
	case http.MethodPost:
		return n.upload(form)
	case http.MethodDelete:
		n.certs, n.key = "", ""
		if r.URL.Query().Get("restart") == "1" {
			n.restart()
		}
		return 200, "OK", nil
	}
	return 501, "Method '" + r.Method + "' not implemented", nil
}

func (f *fake) authenticated(r *http.Request) (string, fakeToken, bool) {
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "PVEAPIToken=")
	id, secret, both := strings.Cut(value, "=")
	token, known := f.tokens[id]
	same := subtle.ConstantTimeCompare([]byte(secret), []byte(token.secret)) == 1
	expired := !token.expires.IsZero() && token.expires.Before(time.Now())
	return id, token, ok && both && known && same && !expired
}

func wrongParameter(name, text string) (int, string, map[string]any) {
	return 400, "Parameter verification failed.", map[string]any{"data": nil, "errors": map[string]string{name: text}}
}

// upload is PVE::API2::Certificates upload_custom_cert and
// PVE::CertHelpers::set_cert_files.
func (n *fakeNode) upload(form url.Values) (int, string, map[string]any) {
	for name := range form {
		if !slices.Contains([]string{"certificates", "key", "force", "restart"}, name) {
			return wrongParameter(name, "property is not defined in schema and the schema does not allow additional properties")
		}
	}
	for _, name := range []string{"force", "restart"} {
		if !slices.Contains([]string{"", "0", "1"}, form.Get(name)) {
			return wrongParameter(name, "type check ('boolean') failed - got '"+form.Get(name)+"'")
		}
	}
	certs, key := form.Get("certificates"), form.Get("key")
	if block, _ := pem.Decode([]byte(certs)); block == nil {
		return wrongParameter("certificates", "value does not look like a valid PEM-formatted certificate chain")
	}
	if key == "" && n.key == "" {
		return wrongParameter("key", "Attempted to upload custom certificate without (existing) key.")
	}
	if key == "" {
		key = n.key
	}
	if n.certs != "" && form.Get("force") != "1" {
		return 500, "Custom certificate file exists but force flag is not set.", nil
	}
	if n.key != "" && form.Get("force") != "1" {
		return 500, "Custom certificate key file exists but force flag is not set.", nil
	}
	if _, err := tls.X509KeyPair([]byte(certs), []byte(key)); err != nil {
		return 500, "Setting certificate files failed - old certificate files have been restored: key does not match", nil
	}
	n.certs, n.key = certs, key
	if form.Get("restart") == "1" {
		n.restart()
	}
	return 200, "OK", map[string]any{"data": info("pveproxy-ssl.pem", certs)}
}

// restart is what makes a node serve what it has on disk.
func (n *fakeNode) restart() {
	n.served = n.builtin
	if n.certs != "" {
		n.served, _ = tls.X509KeyPair([]byte(n.certs), []byte(n.key))
	}
}

func encode(chain [][]byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[0]}))
}

// info is a pve-certificate-info.
func info(filename, text string) map[string]any {
	block, _ := pem.Decode([]byte(text))
	sum := sha256.Sum256(block.Bytes)
	var pairs []string
	for _, b := range sum {
		pairs = append(pairs, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return map[string]any{"filename": filename, "fingerprint": strings.Join(pairs, ":"), "pem": text, "issuer": "/CN=intermediate"}
}
