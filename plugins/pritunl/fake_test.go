package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk/plugintest"
)

const (
	goodToken   = "p7g444S3IZ5wmFvmzWmx14qACXdzQ25b"
	goodSecret  = plugintest.Mark + "KDDr6mqYVd0DJh4i"
	otherToken  = "Hv2FxEMoa3moTVuRahMsMK3VUCwdmjmt"
	otherSecret = plugintest.Mark + "by4hctopxWQSKdfV"
)

// fake is a Pritunl: its settings, and its web server with the certificate that
// it really has.
type fake struct {
	mu       sync.Mutex
	settings map[string]any
	admins   map[string]fakeAdmin
	nonces   map[string]bool
	faults   []fault
	log      []request
	served   tls.Certificate
	// own is what it makes for itself.
	own tls.Certificate
	// broken: it does not restart its web server.
	broken  bool
	clock   func() time.Time
	server  *httptest.Server
	caFile  string
	restart sync.WaitGroup
}

type fakeAdmin struct {
	secret string
	api    bool
}

// request as it came.
type request struct {
	line, contentType, body string
	header                  http.Header
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

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		settings: map[string]any{
			"acme_domain": nil, "server_cert": nil, "server_key": nil, "server_port": 443.0, "theme": "light",
			"email_server": "mail.a.test", "email_password": "hidden", "sso_match": []any{"a.test"},
		},
		admins: map[string]fakeAdmin{goodToken: {goodSecret, true}, otherToken: {otherSecret, true}},
		nonces: map[string]bool{}, clock: time.Now,
	}
	d := issued(t, "vpn.own.test")
	own, err := tls.X509KeyPair(d.FullchainPEM, d.KeyPEM)
	must(t, err)
	f.own, f.served = own, own
	f.caFile = filepath.Join(t.TempDir(), "ca.pem")
	write(t, f.caFile, string(d.ChainPEM))
	f.server = f.listen(t, func() *tls.Certificate { return &f.served })
	return f
}

func (f *fake) listen(t *testing.T, shown func() *tls.Certificate) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{NextProtos: []string{"http/1.1"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return shown(), nil
	}}
	s.StartTLS()
	s.TLS.Certificates = nil // httptest adds its own, which would win
	t.Cleanup(func() { f.restart.Wait(); s.CloseClientConnections(); s.Close() })
	return s
}

// frontDoor is a load balancer, which keeps its certificate.
func (f *fake) frontDoor(t *testing.T) string {
	t.Helper()
	return f.listen(t, func() *tls.Certificate { return &f.own }).URL
}

// address is that of the web server, when no restart of it is about to cut whoever
// connects.
func (f *fake) address() string {
	f.restart.Wait()
	return f.server.Listener.Addr().String()
}

func (f *fake) instance() settings {
	return settings{Endpoint: f.server.URL, APIToken: goodToken, APISecret: goodSecret, CAFile: f.caFile}
}

// has gives a setting; empty: none.
func (f *fake) has(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, _ := f.settings[name].(string)
	return text
}

func (f *fake) set(name string, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settings[name] = value
}

// give puts a certificate there, as somebody else does.
func (f *fake) give(t *testing.T, certs, key []byte) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settings["server_cert"], f.settings["server_key"] = strings.TrimSpace(string(certs)), strings.TrimSpace(string(key))
	served, err := tls.X509KeyPair(certs, key)
	must(t, err)
	f.served = served
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
	f.mu.Lock()
	f.log = append(f.log, request{r.Method + " " + r.RequestURI, r.Header.Get("Content-Type"), string(body), r.Header.Clone()})
	var now *fault
	if i := slices.IndexFunc(f.faults, func(x fault) bool { return x.method == r.Method }); i >= 0 {
		x := f.faults[i]
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
		if !f.authenticated(r) { // the nonce is used up all the same
			now.status = http.StatusUnauthorized
		}
		for name, value := range now.header {
			w.Header().Set(name, value)
		}
		answer(w, now.status, map[string]any{"error": "x", "error_msg": "this is meant to fail"})
		return
	case !now.after:
		f.authenticated(r)
		panic(http.ErrAbortHandler)
	}
	status, out := f.answer(r, body)
	if now != nil {
		panic(http.ErrAbortHandler)
	}
	answer(w, status, out)
}

func answer(w http.ResponseWriter, status int, out any) {
	if status == http.StatusUnauthorized { // flask.abort(401)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, unauthorizedPage)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
}

// unauthorizedPage is Flask's.
const unauthorizedPage = `<!doctype html>
<html lang=en>
<title>401 Unauthorized</title>
<h1>Unauthorized</h1>
<p>The server could not verify that you are authorized to access the URL requested. You either supplied the wrong credentials (e.g. a bad password), or your browser doesn&#39;t understand how to supply the credentials required.</p>
`

var noncePattern = regexp.MustCompile(`^[A-Za-z0-9]{8,32}$`)

// authenticated is check_session of pritunl/auth/administrator.py: whatever is
// wrong is a 401.
func (f *fake) authenticated(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	token, stamp, nonce := r.Header.Get("Auth-Token"), r.Header.Get("Auth-Timestamp"), r.Header.Get("Auth-Nonce")
	admin, known := f.admins[token]
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	const window = 300 * time.Second
	if age := f.clock().Sub(time.Unix(seconds, 0)); err != nil || age > window || age < -window {
		return false
	}
	mac := hmac.New(sha256.New, []byte(admin.secret))
	mac.Write([]byte(token + "&" + stamp + "&" + nonce + "&" + r.Method + "&" + r.URL.Path))
	want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !known || !admin.api || !noncePattern.MatchString(nonce) || !hmac.Equal([]byte(want), []byte(r.Header.Get("Auth-Signature"))) {
		return false
	}
	if f.nonces[token+nonce] {
		return false
	}
	f.nonces[token+nonce] = true
	return true
}

// answer does the work, as pritunl/handlers/settings.py.
func (f *fake) answer(r *http.Request, body []byte) (int, any) {
	if !f.authenticated(r) {
		return http.StatusUnauthorized, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path != "/settings" {
		return http.StatusNotFound, map[string]any{}
	}
	if r.Method == http.MethodPut {
		if status, out := f.put(r, body); status != 0 {
			return status, out
		}
	}
	out := maps.Clone(f.settings)
	out["email_password"] = f.settings["email_password"] != nil
	out["username"], out["auth_api"] = "pritunl", true
	return http.StatusOK, out
}

func (f *fake) put(r *http.Request, body []byte) (int, any) {
	var given map[string]any
	if r.Header.Get("Content-Type") != "application/json" || json.Unmarshal(body, &given) != nil {
		return http.StatusBadRequest, map[string]any{"error": "json", "error_msg": "not JSON"}
	}
	changed := false
	for name, value := range given {
		if text, ok := value.(string); ok {
			value = strings.TrimSpace(text)
		}
		if value == "" {
			value = nil
		}
		switch name {
		case "server_cert", "server_key":
			changed = changed || f.settings[name] != value
		case "acme_domain":
			if value == nil { // it throws the certificate away
				f.settings["server_cert"], f.settings["server_key"], changed = nil, nil, true
			}
		}
		f.settings[name] = value
	}
	if changed && !f.broken {
		f.restart.Go(f.restarted)
	}
	return 0, nil
}

// restarted is the web server's restart, a moment after the answer.
func (f *fake) restarted() {
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	f.mu.Lock()
	defer f.mu.Unlock()
	certs, _ := f.settings["server_cert"].(string)
	key, _ := f.settings["server_key"].(string)
	pair, err := tls.X509KeyPair([]byte(certs+"\n"), []byte(key+"\n"))
	if err != nil {
		pair = f.own
	}
	f.served = pair
	f.server.CloseClientConnections()
}

func (f *fake) ownLeaf() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.own.Certificate[0]}))
}
