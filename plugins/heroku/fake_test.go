package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// fake is Heroku as far as it is needed: the Platform API, dynos that are web
// servers and restart when a config var changes, and the routers in front of
// them, one for HTTP and one for TLS.
type fake struct {
	t   *testing.T
	url string
	// site is the port of the HTTP router, edge the address of the TLS router.
	site int
	edge string

	mu     sync.Mutex
	tokens map[string]*token
	apps   map[string]*app
	faults []*fault
	log    []exchange
	done   chan struct{}
	// page is how many entries a page of a list has.
	page int
}

// token is what a caller has.
type token struct {
	expired, readOnly bool
	apps              []string
}

// app is one of the fake's.
type app struct {
	name     string
	id       string
	vars     map[string]string
	preboot  bool
	acm      bool
	version  int
	domains  []*appDomain
	sni      []*sni
	dynos    []*webDyno
	lagging  int  // how many looks show the dynos of before a change
	starting int  // how many looks a start takes
	crashes  bool // what starts, crashes
	unseen   int  // how many looks show no web dyno
	quantity int  // how many web dynos there are to be; negative: the app has none
	// history of what preboot was when the variables changed.
	prebootWas []bool
}

type appDomain struct {
	id, hostname, kind string
	sni                *sni
}

type sni struct {
	id, name, chain, key string
	pair                 tls.Certificate
}

// webDyno is one process of an app: a web server that answers from its own
// environment, which it got when it was started.
type webDyno struct {
	name, kind, state string
	version, looks    int
	// next is the release that it is to run after lag more looks.
	next, lag int
	server    *httptest.Server
}

type exchange struct {
	request *http.Request
	body    string
	status  int
	answer  string
	header  http.Header
}

type fault struct {
	method, path string
	times        int
	late         bool
	do           func(http.ResponseWriter, *http.Request)
}

func start(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, tokens: map[string]*token{}, apps: map[string]*app{}, done: make(chan struct{}), page: 200}
	api := httptest.NewServer(http.HandlerFunc(f.serve))
	site := httptest.NewServer(http.HandlerFunc(f.route))
	edge := httptest.NewUnstartedServer(http.NotFoundHandler())
	edge.TLS = &tls.Config{GetCertificate: f.routerCertificate, MinVersion: tls.VersionTLS12}
	edge.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that only look
	edge.StartTLS()
	t.Cleanup(func() {
		close(f.done)
		api.Close()
		site.Close()
		edge.Close()
		for _, a := range f.apps {
			for _, d := range a.dynos {
				d.server.Close()
			}
		}
	})
	f.url, f.edge = api.URL, edge.Listener.Addr().String()
	f.site = site.Listener.Addr().(*net.TCPAddr).Port
	return f
}

// token makes one that may use these apps.
func (f *fake) token(apps ...string) (string, *token) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := "HRKU-" + plugintest.Mark + rand.Text()
	f.tokens[text] = &token{apps: apps}
	return text, f.tokens[text]
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// app makes one with a web dyno, and domains.
func (f *fake) app(name string, domains ...string) *app {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &app{name: name, id: uuid(), vars: map[string]string{"OTHER": "stays"}, version: 7, lagging: 2, starting: 2, quantity: 1}
	a.domains = append(a.domains, &appDomain{id: uuid(), hostname: name + ".herokuapp.com", kind: "heroku"})
	for _, d := range domains {
		a.domains = append(a.domains, &appDomain{id: uuid(), hostname: d, kind: "custom"})
	}
	a.dynos = []*webDyno{{name: "web.1", kind: "web", state: "up", version: 7}, {name: "worker.1", kind: "worker", state: "starting", version: 1}}
	for _, d := range a.dynos {
		d.server = serveApp(a.vars)
	}
	f.apps[name] = a
	return a
}

// serveApp is what README.md asks of an app, with the environment of its start.
func serveApp(vars map[string]string) *httptest.Server {
	env := maps.Clone(vars)
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.URL.Path, "/.well-known/acme-challenge/")
		all := map[string]string{}
		_ = json.Unmarshal([]byte(env["LETS_ENCRYPT_CHALLENGES"]), &all)
		answer := all[token]
		if one := env["LETS_ENCRYPT_CHALLENGE"]; answer == "" && strings.HasPrefix(one, token+".") {
			answer = one
		}
		if !ok || answer == "" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
}

// restart begins what follows a change: with preboot the old server goes on.
func (a *app) restart() {
	a.version++
	a.prebootWas = append(a.prebootWas, a.preboot)
	for _, d := range a.dynos {
		if d.kind == "web" {
			if d.next, d.lag = a.version, a.lagging; d.lag == 0 {
				a.begin(d)
			}
		}
	}
}

func (a *app) begin(d *webDyno) {
	d.state, d.looks, d.version = "starting", a.starting, d.next
	if !a.preboot {
		d.server.Close()
	}
}

// look is what every list of dynos does to those that are on their way.
func (a *app) look() {
	for _, d := range a.dynos {
		if d.lag > 0 {
			if d.lag--; d.lag == 0 {
				a.begin(d)
			}
			continue
		}
		if d.kind != "web" || d.state != "starting" {
			continue
		}
		if d.looks--; d.looks >= 0 {
			continue
		}
		d.server.Close()
		d.server, d.state = serveApp(a.vars), "up"
		if a.crashes {
			d.state = "crashed"
		}
	}
}

// serves is the router's rule: a wildcard is for one label, and for more.
func (d *appDomain) serves(host string) bool {
	if below, wild := strings.CutPrefix(d.hostname, "*"); wild {
		return len(host) > len(below) && strings.EqualFold(host[len(host)-len(below):], below)
	}
	return strings.EqualFold(d.hostname, host)
}

// route is what the world sees at port 80.
func (f *fake) route(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	f.mu.Lock()
	var to string
	for _, a := range f.apps {
		for _, d := range a.domains {
			if d.serves(host) {
				for _, one := range a.dynos {
					if one.kind == "web" && (one.state == "up" || a.preboot) {
						to = one.server.URL
					}
				}
			}
		}
	}
	f.mu.Unlock()
	if to == "" {
		http.Error(w, "Application error", http.StatusServiceUnavailable)
		return
	}
	target, _ := url.Parse(to)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	proxy.ServeHTTP(w, r)
}

// routerCertificate is what the TLS router shows.
func (f *fake) routerCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.apps {
		for _, d := range a.domains {
			if d.serves(hello.ServerName) && d.sni != nil {
				return &d.sni.pair, nil
			}
		}
	}
	return nil, fmt.Errorf("no certificate for %s", hello.ServerName)
}

// next makes the next requests go wrong whose path begins so below the app.
func (f *fake) next(method, path string, times int, do func(http.ResponseWriter, *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault{method: method, path: path, times: times, do: do})
}

// lose makes the next answers go lost.
func (f *fake) lose(method, path string, times int) {
	f.next(method, path, times, cut)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[len(f.faults)-1].late = true
}

func (f *fake) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// cut ends the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// slow answers when the caller has gone.
func (f *fake) slow(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-f.done:
	}
}

// answers gives an error of the API.
func answers(status int, id, message string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { (&refusal{status, id, message}).write(w) }
}

type refusal struct {
	status      int
	id, message string
}

func (e *refusal) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"id": e.id, "message": e.message, "url": "https://devcenter.heroku.com/articles/platform-api-reference"})
}

// changes lists what was changed since the last time, as "PATCH /config-vars".
func (f *fake) changes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, e := range f.log {
		if e.request.Method != http.MethodGet {
			path := strings.Split(e.request.URL.Path, "/")
			text := e.request.Method + " /" + path[3]
			if e.status >= 300 {
				text += fmt.Sprint(" ", e.status)
			}
			out = append(out, text)
		}
	}
	f.log = nil
	return out
}

type recording struct {
	http.ResponseWriter
	status  int
	content bytes.Buffer
}

func (r *recording) WriteHeader(status int) { r.status = status; r.ResponseWriter.WriteHeader(status) }
func (r *recording) Write(b []byte) (int, error) {
	r.content.Write(b)
	return r.ResponseWriter.Write(b)
}

// endpoints lists an app's SNI endpoints.
func (f *fake) endpoints(name string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, s := range f.apps[name].sni {
		out = append(out, s.name)
	}
	slices.Sort(out)
	return out
}

func (f *fake) vars(name string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.apps[name].vars)
}
