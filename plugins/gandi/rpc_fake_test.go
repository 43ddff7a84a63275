package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kolo/xmlrpc"

	"github.com/certwright/certwright/sdk/plugintest"
)

const goodKey = plugintest.Mark + "aBcDeFgH"

// fakeRPC is the XML-RPC API, with the certificates that a Simple Hosting
// instance serves: the newest one for a name.
type fakeRPC struct {
	*httptest.Server
	listener net.Listener // serves TLS

	mu    sync.Mutex
	key   string
	paas  map[string]any
	certs map[int]*fakeCert
	last  int
	// seen are the methods with their arguments, without the key.
	seen []string
	// pending is how often a new certificate is seen before it is in use.
	pending int
	// before, if set, may answer in place of the fake: then it gives true.
	before func(w http.ResponseWriter, method string) bool
	// after is called when a method has worked and nobody knows of it yet.
	after func(w http.ResponseWriter, method string) bool
}

type fakeCert struct {
	id      int
	pair    tls.Certificate
	names   []string
	pending int
	expires time.Time
}

func newFakeRPC(t *testing.T) *fakeRPC {
	t.Helper()
	f := &fakeRPC{key: goodKey, certs: map[int]*fakeCert{}, last: 100}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	var err error
	f.listener, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.serve})
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := f.listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(io.Discard, conn) // the handshake, and the end
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() { _ = f.listener.Close(); serving.Wait() })
	return f
}

func (f *fakeRPC) endpoint() string { return f.URL + "/xmlrpc/" }

// serve picks as the hosting does.
func (f *fakeRPC) serve(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var best *fakeCert
	for _, c := range f.certs {
		if slices.Contains(c.names, hello.ServerName) && (best == nil || c.id > best.id) {
			best = c
		}
	}
	if best == nil {
		return nil, fmt.Errorf("nothing is hosted for %s", hello.ServerName)
	}
	return &best.pair, nil
}

// value is one of XML-RPC.
type value struct {
	Text   string  `xml:",chardata"`
	String *string `xml:"string"`
	Int    *int    `xml:"int"`
	Struct *struct {
		Members []struct {
			Name  string `xml:"name"`
			Value value  `xml:"value"`
		} `xml:"member"`
	} `xml:"struct"`
}

func (v value) text() string {
	switch {
	case v.String != nil:
		return *v.String
	case v.Int != nil:
		return fmt.Sprint(*v.Int)
	}
	return v.Text
}

func (v value) member(name string) string {
	if v.Struct != nil {
		for _, m := range v.Struct.Members {
			if m.Name == name {
				return m.Value.text()
			}
		}
	}
	return ""
}

type fault struct {
	code int
	text string
}

func (f *fakeRPC) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call struct {
		Method string  `xml:"methodName"`
		Params []value `xml:"params>param>value"`
	}
	raw, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodPost || r.URL.Path != "/xmlrpc/" || r.Header.Get("Content-Type") != "text/xml" || xml.Unmarshal(raw, &call) != nil {
		http.Error(w, "this is no XML-RPC", http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil && before(w, call.Method) {
		return
	}
	f.mu.Lock()
	result, wrong := f.call(call.Method, call.Params)
	f.mu.Unlock()
	if wrong == nil && after != nil && after(w, call.Method) {
		return
	}
	body := encode(result)
	if wrong != nil {
		body = encode(map[string]any{"faultCode": wrong.code, "faultString": wrong.text})
		body = "<fault>" + body + "</fault>"
	} else {
		body = "<params><param>" + body + "</param></params>"
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, `<?xml version="1.0"?><methodResponse>`+body+`</methodResponse>`)
}

// encode gives the value element; the library writes calls only.
func encode(v any) string {
	call, err := xmlrpc.EncodeMethodCall("x", v)
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(string(call), "<param>")
	text, _, _ := strings.Cut(rest, "</param>")
	return text
}

func (f *fakeRPC) call(method string, params []value) (any, *fault) {
	var words []string
	for i, p := range params {
		if i > 0 && p.Struct == nil {
			words = append(words, p.text())
		}
	}
	f.seen = append(f.seen, strings.Join(append([]string{method}, words...), " "))
	if len(params) == 0 || params[0].text() != f.key {
		return nil, &fault{510150, "Error on object : OBJECT_APIKEY (CAUSE_NORIGHT) [Invalid API key]"}
	}
	var argument value
	if len(params) > 1 {
		argument = params[1]
	}
	switch method {
	case "paas.list":
		if f.paas == nil || argument.member("name") != f.paas["name"] {
			return []any{}, nil
		}
		// A filter is no promise of what is alike and no more.
		return []any{map[string]any{"id": 1, "name": "another-" + fmt.Sprint(f.paas["name"]), "type": "php", "state": "running"}, map[string]any{"id": f.paas["id"], "name": f.paas["name"], "type": f.paas["type"], "state": "running"}}, nil
	case "paas.info":
		if argument.text() != fmt.Sprint(f.paas["id"]) {
			return nil, &fault{581042, "Error on object : OBJECT_PAAS (CAUSE_NOTFOUND) [no instance " + argument.text() + "]"}
		}
		return f.paas, nil
	case "cert.hosted.list":
		out := []any{}
		for _, id := range f.sorted() {
			if c := f.certs[id]; argument.member("fqdns") == "" || slices.Contains(c.names, argument.member("fqdns")) {
				out = append(out, map[string]any{"id": id, "state": c.state(), "subject": "/CN=" + c.names[0]})
			}
		}
		return out, nil
	case "cert.hosted.create":
		return f.create(argument.member("crt"), argument.member("key"))
	}
	c := f.certs[atoi(argument.text())]
	switch {
	case c == nil:
		return nil, &fault{581042, "Error on object : OBJECT_HOSTEDCERT (CAUSE_NOTFOUND) [Hosted certificate " + argument.text() + " doesn't exist]"}
	case method == "cert.hosted.info":
		if c.pending > 0 {
			c.pending--
		}
		return c.info(), nil
	case method == "cert.hosted.delete":
		delete(f.certs, c.id)
		return true, nil
	}
	return nil, &fault{500600, "Error on object : OBJECT_METHOD (CAUSE_UNKNOWN) [" + method + "]"}
}

func atoi(text string) (n int) {
	_, _ = fmt.Sscan(text, &n)
	return n
}

func (f *fakeRPC) create(chain, key string) (any, *fault) {
	pair, err := tls.X509KeyPair([]byte(chain), []byte(key))
	if err != nil {
		return nil, &fault{581050, "Error on object : OBJECT_HOSTEDCERT (CAUSE_BADPARAMETER) [" + err.Error() + "]"}
	}
	block, _ := pem.Decode([]byte(chain))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, &fault{581050, err.Error()}
	}
	f.last++
	c := &fakeCert{id: f.last, pair: pair, names: leaf.DNSNames, pending: f.pending, expires: leaf.NotAfter}
	f.certs[c.id] = c
	return c.info(), nil
}

func (c *fakeCert) state() string {
	if c.pending > 0 {
		return "pending"
	}
	return created
}

// info has what Gandi's own client expects of cert.hosted.info.
func (c *fakeCert) info() map[string]any {
	names := []any{}
	for i, n := range c.names {
		kind := "altname"
		if i == 0 {
			kind = "cn"
		}
		names = append(names, map[string]any{"name": n, "type": kind})
	}
	return map[string]any{
		"id": c.id, "state": c.state(), "subject": "/OU=Domain Control Validated/CN=" + c.names[0], "fqdns": names,
		"related_vhosts": []any{}, "date_expire": c.expires,
	}
}

func (f *fakeRPC) sorted() []int {
	var out []int
	for id := range f.certs {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// hosts gives the IDs of what is hosted.
func (f *fakeRPC) hosts() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sorted()
}

// leaf gives what is hosted under an ID.
func (f *fakeRPC) leaf(id int) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.certs[id]; c != nil {
		return c.pair.Certificate[0]
	}
	return nil
}

func (f *fakeRPC) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}
