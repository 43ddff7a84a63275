package main

import (
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

const goodSecret = plugintest.Mark + "-1b0a4a7f6b21"

// fakePlesk is Plesk's XML API as its reference describes it, with sites whose
// document roots and certificates are really served.
type fakePlesk struct {
	*httptest.Server
	dns *testca.DNS  // nil: nobody asks
	lis net.Listener // the sites, by TLS
	web *httptest.Server

	mu     sync.Mutex
	protos []string
	sites  []*fakeSite
	// pools are the certificates by subscription and name.
	pools map[string]map[string]*tls.Certificate
	// anyBelow, if set, is the site of every name below its own.
	anyBelow *fakeSite
	last     int
	// seen are the operations; body is the last packet, header its header.
	seen   []string
	body   string
	header http.Header
	// before, if set, may answer in place of the fake: then it gives true.
	before func(w http.ResponseWriter, operation string) bool
	// after is called when an operation has worked and nobody knows of it yet.
	after func(w http.ResponseWriter, operation string) bool
}

type fakeSite struct {
	id              int
	name            string
	webspace        string
	properties      map[string]string // nil: without hosting
	records         []fakeRecord
	login, password string // who may see it besides the secret key
}

type fakeRecord struct {
	id          int
	host, value string
}

func newFake(t *testing.T, dns *testca.DNS) *fakePlesk {
	t.Helper()
	f := &fakePlesk{
		dns: dns, protos: []string{"1.4.0.0", "1.6.7.0", "1.6.8.0", "1.6.9.1"}, last: 100,
		pools: map[string]map[string]*tls.Certificate{},
	}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.agent))
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // some tests refuse its certificate
	f.StartTLS()
	t.Cleanup(f.Close)
	f.web = httptest.NewServer(http.HandlerFunc(f.serveFiles))
	t.Cleanup(f.web.Close)
	var err error
	f.lis, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.serveTLS})
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := f.lis.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(io.Discard, conn) // the handshake, and the end
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() { _ = f.lis.Close(); serving.Wait() })
	return f
}

// add makes a site, with a certificate that Plesk itself has made.
func (f *fakePlesk) add(t *testing.T, name, webspace string) *fakeSite {
	t.Helper()
	root := filepath.Join(vhosts(t), webspace, name)
	must(t, os.MkdirAll(root, 0o755))
	s := &fakeSite{name: name, webspace: webspace, properties: map[string]string{
		"ssl": "false", "ftp_login": "u-" + webspace, "www_root": root, "certificate_name": "Default",
	}}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	s.id = f.last
	f.sites = append(f.sites, s)
	if f.pools[webspace] == nil {
		f.pools[webspace] = map[string]*tls.Certificate{"Default": {}}
	}
	if f.dns != nil {
		f.dns.ServeZone(name)
	}
	return s
}

// vhosts is the directory of all sites of a test.
func vhosts(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "plesk-"+strings.ReplaceAll(t.Name(), "/", "-")+"-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	return dir
}

func (f *fakePlesk) site(name string) *fakeSite {
	for _, s := range f.sites {
		if s.name == name {
			return s
		}
	}
	if f.anyBelow != nil && strings.HasSuffix(name, "."+f.anyBelow.name) && !strings.HasPrefix(name, "www.") {
		return f.anyBelow
	}
	return nil
}

// answering is the site that a web server takes for a name.
func (f *fakePlesk) answering(host string) *fakeSite {
	host, _, _ = strings.Cut(host, ":")
	if s := f.site(host); s != nil {
		return s
	}
	_, above, _ := strings.Cut(host, ".")
	return f.site(above)
}

func (f *fakePlesk) serveTLS(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.answering(hello.ServerName)
	if s == nil || s.properties["ssl"] != "true" {
		return nil, fmt.Errorf("no TLS for %s", hello.ServerName)
	}
	c := f.pools[s.webspace][s.properties["certificate_name"]]
	if c == nil || c.Certificate == nil {
		return nil, fmt.Errorf("no certificate for %s", hello.ServerName)
	}
	return c, nil
}

// serveFiles is the web server of the sites: each of them wants a password,
// unless .htaccess says something else.
func (f *fakePlesk) serveFiles(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	s := f.answering(r.Host)
	f.mu.Unlock()
	if s == nil || s.properties == nil {
		http.NotFound(w, r)
		return
	}
	root := s.properties["www_root"]
	if rules, err := os.ReadFile(filepath.Join(root, filepath.Dir(r.URL.Path), ".htaccess")); err != nil || !strings.Contains(string(rules), "Satisfy any") {
		http.Error(w, "a password is wanted", http.StatusUnauthorized)
		return
	}
	http.FileServer(http.Dir(root)).ServeHTTP(w, r)
}

func (f *fakePlesk) agent(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	var packet node
	wrong := r.Method != http.MethodPost || r.URL.Path != "/enterprise/control/agent.php" || r.Header.Get("Content-Type") != "text/xml"
	if wrong || xml.Unmarshal(raw, &packet) != nil || packet.XMLName.Local != "packet" || len(packet.Children) != 1 || len(packet.Children[0].Children) != 1 {
		http.Error(w, "this is no packet", http.StatusBadRequest)
		return
	}
	operator := packet.Children[0].XMLName.Local
	operation := packet.Children[0].Children[0]
	name := operator + "/" + operation.XMLName.Local
	f.mu.Lock()
	f.seen = append(f.seen, name)
	f.body, f.header = string(raw), r.Header
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil && before(w, name) {
		return
	}
	f.mu.Lock()
	answer := f.answer(r, name, operation)
	f.mu.Unlock()
	if after != nil && strings.Contains(answer, "<status>ok</status>") && after(w, name) {
		return
	}
	if !strings.HasPrefix(answer, "<system>") {
		answer = fmt.Sprintf("<%s><%s>%s</%s></%s>", operator, operation.XMLName.Local, answer, operation.XMLName.Local, operator)
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<packet version="`+f.protos[len(f.protos)-1]+`">`+answer+`</packet>`)
}

func ok(rest string) string { return "<result><status>ok</status>" + rest + "</result>" }

func failed(code int, text string) string {
	return fmt.Sprintf("<result><status>error</status><errcode>%d</errcode><errtext>%s</errtext></result>", code, text)
}

func element(name, text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return "<" + name + ">" + b.String() + "</" + name + ">"
}

func (f *fakePlesk) answer(r *http.Request, name string, op node) string {
	login := r.Header.Get("HTTP_AUTH_LOGIN")
	allowed := func(s *fakeSite) bool { return s != nil && (login == "" || s.login == login) }
	switch {
	case login == "" && r.Header.Get("KEY") != goodSecret:
		return "<system><status>error</status><errcode>11003</errcode><errtext>Secret key is invalid</errtext></system>"
	case login != "" && !slices.ContainsFunc(f.sites, func(s *fakeSite) bool {
		return s.login == login && s.password == r.Header.Get("HTTP_AUTH_PASSWD")
	}):
		return "<system><status>error</status><errcode>1001</errcode><errtext>You have entered incorrect username or password.</errtext></system>"
	case !valid(op):
		return failed(1014, "Parser error: Request is invalid. Error in element")
	}
	switch name {
	case "server/get_protos":
		var out string
		for _, p := range f.protos {
			out += element("proto", p)
		}
		return ok("<protos>" + out + "</protos>")
	case "site/get", "webspace/get":
		return f.get(op, name == "webspace/get", allowed)
	case "site/set":
		return f.set(op, allowed)
	}
	if strings.HasPrefix(name, "dns/") {
		return f.zone(name, op, allowed)
	}
	domain := op.text("site")
	if domain == "" {
		domain = op.text("filter", "domain-name")
	}
	s := f.site(domain)
	if !allowed(s) {
		return failed(1015, "Site does not exist")
	}
	return f.certificate(name, op, s)
}

func (f *fakePlesk) get(op node, webspaces bool, allowed func(*fakeSite) bool) string {
	name := op.text("filter", "name")
	if s := f.site(name); s != nil {
		name = s.name
	}
	var out string
	for _, s := range f.sites {
		if name != "" && s.name != name || !allowed(s) || webspaces != (s.webspace == s.name) && name == "" {
			continue
		}
		data := "<gen_info>" + element("name", s.name) + element("ascii-name", s.name) + "</gen_info>"
		if op.at("dataset", "hosting").XMLName.Local != "" {
			data += "<hosting>"
			if s.properties != nil {
				data += "<vrt_hst>"
				for _, key := range slices.Sorted(maps.Keys(s.properties)) {
					data += "<property>" + element("name", key) + element("value", s.properties[key]) + "</property>"
				}
				data += "<ip_address>127.0.0.1</ip_address></vrt_hst>"
			}
			data += "</hosting>"
		}
		out += ok(element("filter-id", name) + element("id", fmt.Sprint(s.id)) + "<data>" + data + "</data>")
	}
	switch {
	case out == "" && name != "":
		return failed(1013, "Site does not exist")
	case out == "":
		return ok("")
	}
	return out
}

func (f *fakePlesk) set(op node, allowed func(*fakeSite) bool) string {
	s := f.site(op.text("filter", "name"))
	if !allowed(s) || s.properties == nil {
		return failed(1013, "Site does not exist")
	}
	change := map[string]string{}
	for _, p := range op.at("values", "hosting", "vrt_hst").Children {
		change[p.text("name")] = p.text("value")
	}
	if name, set := change["certificate_name"]; set && name != "" && f.pools[s.webspace][name] == nil {
		return failed(8002, "Unable to assign the certificate: there is none of the name "+name)
	}
	maps.Copy(s.properties, change)
	return ok(element("filter-id", s.name) + element("id", fmt.Sprint(s.id)))
}

// settings of an instance that trusts the fake.
func (f *fakePlesk) settings(t *testing.T) settings {
	t.Helper()
	return settings{Server: f.URL, SecretKey: goodSecret, CAFile: f.roots(t)}
}

func (f *fakePlesk) roots(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plesk.pem")
	must(t, os.WriteFile(path, pemOf(f.Certificate().Raw), 0o600))
	return path
}

// everything is what Plesk has, for comparison.
func (f *fakePlesk) everything() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out strings.Builder
	for _, s := range f.sites {
		fmt.Fprintf(&out, "%s %v %v\n", s.name, s.properties, s.records)
	}
	for _, space := range slices.Sorted(maps.Keys(f.pools)) {
		for _, name := range slices.Sorted(maps.Keys(f.pools[space])) {
			fmt.Fprintf(&out, "%s %s", space, name)
			for _, der := range f.pools[space][name].Certificate {
				fmt.Fprintf(&out, " %x", der)
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}

func (f *fakePlesk) operations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

// serves gives the leaf that a client sees for a name; nil: there is no TLS.
func (f *fakePlesk) serves(t *testing.T, name string) []byte {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: name}}
	conn, err := dialer.DialContext(t.Context(), "tcp", f.lis.Addr().String())
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
}
