package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// recorder keeps what a call reports.
type recorder struct {
	mu       sync.Mutex
	results  []sdk.Result
	progress []string
}

func (r *recorder) Progress(_, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = append(r.progress, message)
}

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) Say(sdk.Stream, string)                      {}
func (r *recorder) Ask(context.Context, string) (string, error) { return "", io.EOF }

var serial atomic.Int64

// certificate makes one that signs itself, with its key.
func certificate(t *testing.T, names ...string) sdk.Deployment {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return sdk.Deployment{
		Lineage: names[0], Name: names[0], Names: names, LeafPEM: leaf, FullchainPEM: leaf,
		KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

func derOf(d sdk.Deployment) []byte {
	block, _ := pem.Decode(d.LeafPEM)
	return block.Bytes
}

// during is a context of an operation, as the host gives it.
func during(ctx context.Context, lineage, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: lineage + "/gandi/" + step, Lineage: lineage, Attempt: 1})
}

// save does what the host does up to the checkpoint, with a step that tells
// operations apart.
func save(ctx context.Context, g *gandi, d sdk.Deployment, step string) error {
	r := &recorder{}
	for _, name := range d.Names {
		d.Name = name
		if err := g.Deploy(during(ctx, d.Lineage, step+"deploy "+name), d, r); err != nil {
			return err
		}
		if _, err := g.Save(during(ctx, d.Lineage, step+"save "+name), sdk.SaveRequest{}, r); err != nil {
			return err
		}
	}
	_, err := g.Save(during(ctx, d.Lineage, step+"save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r)
	return err
}

func deploy(ctx context.Context, g *gandi, d sdk.Deployment, step string) error {
	if err := save(ctx, g, d, step); err != nil {
		return err
	}
	return g.Restart(during(ctx, d.Lineage, step+"restart"), &recorder{})
}

// ended is the end of a run that went well.
func ended(t *testing.T, g *gandi, lineages ...string) {
	t.Helper()
	_, err := g.Run(t.Context(), sdk.HookEvent{Event: sdk.EventPost, Renewed: lineages}, &recorder{})
	must(t, err)
}

func rolledBack(t *testing.T, g *gandi, lineage string, count int, step string) {
	t.Helper()
	must(t, g.Rollback(during(t.Context(), lineage, step), count, &recorder{}))
}

func hosting(f *fakeRPC) settings { return settings{APIKey: goodKey, RPCEndpoint: f.endpoint()} }

func wantHosted(t *testing.T, f *fakeRPC, want ...sdk.Deployment) {
	t.Helper()
	hosted := f.hosts()
	if len(hosted) != len(want) {
		t.Errorf("%v is hosted, want %d certificates", hosted, len(want))
		return
	}
	for i, id := range hosted {
		if !bytes.Equal(f.leaf(id), derOf(want[i])) {
			t.Errorf("hosted certificate %d is another one", id)
		}
	}
}

func TestTheOldCertificateGoesWhenAllIsWell(t *testing.T) {
	f := newFakeRPC(t)
	f.pending = 3
	state := t.TempDir()
	first, second := certificate(t, "a.test", "www.a.test"), certificate(t, "a.test", "www.a.test")
	g := configured(t, hosting(f), state)
	must(t, save(t.Context(), g, first, "1"))
	wantHosted(t, f) // nothing is live before Restart
	must(t, g.Restart(during(t.Context(), "a.test", "1restart"), &recorder{}))
	ended(t, g, "a.test")
	wantHosted(t, f, first)

	g = configured(t, hosting(f), state)
	must(t, deploy(t.Context(), g, second, "2"))
	must(t, g.Restart(during(t.Context(), "a.test", "2again"), &recorder{})) // no second upload
	wantHosted(t, f, first, second)
	ended(t, g, "a.test")
	wantHosted(t, f, second)

	// Gandi has deleted the key of the first one; we have not.
	rolledBack(t, configured(t, hosting(f), state), "a.test", 1, "back")
	wantHosted(t, f, first)
	rolledBack(t, configured(t, hosting(f), state), "a.test", 1, "back again")
	wantHosted(t, f)
	rolledBack(t, configured(t, hosting(f), state), "a.test", 1, "there is none")
}

func TestAFailedDeploymentIsTakenBack(t *testing.T) {
	f := newFakeRPC(t)
	first, second := certificate(t, "a.test"), certificate(t, "a.test")
	g := configured(t, hosting(f), t.TempDir())
	must(t, deploy(t.Context(), g, first, "1"))
	ended(t, g, "a.test")
	must(t, deploy(t.Context(), g, second, "2"))
	wantHosted(t, f, first, second)
	before := len(f.requests())
	rolledBack(t, g, "a.test", 1, "back")
	wantHosted(t, f, first)
	if seen := f.requests()[before:]; slices.Contains(seen, "cert.hosted.create") {
		t.Errorf("what is there is uploaded again: %q", seen)
	}
	must(t, g.Restart(during(t.Context(), "a.test", "restart-back"), &recorder{}))
	ended(t, g, "a.test")
	wantHosted(t, f, first)
	before = len(f.requests())
	rolledBack(t, g, "a.test", 0, "nothing")
	if seen := f.requests()[before:]; len(seen) > 0 {
		t.Errorf("without anything to do it asks %q", seen)
	}
}

// What the user has uploaded stays, unless he wants it away.
func TestCertificatesOfOthers(t *testing.T) {
	for _, away := range []bool{false, true} {
		f := newFakeRPC(t)
		his, other, ours := certificate(t, "a.test"), certificate(t, "a.test", "b.test"), certificate(t, "a.test")
		for _, d := range []sdk.Deployment{his, other} {
			if _, wrong := f.create(string(d.FullchainPEM), string(d.KeyPEM)); wrong != nil {
				t.Fatal(wrong.text)
			}
		}
		s := hosting(f)
		s.DeleteOther = away
		g := configured(t, s, t.TempDir())
		must(t, deploy(t.Context(), g, ours, "1"))
		wantHosted(t, f, his, other, ours)
		ended(t, g, "a.test")
		if away {
			wantHosted(t, f, other, ours)
		} else {
			wantHosted(t, f, his, other, ours)
		}
	}
}

// The answer to an upload is lost: the next process finds the certificate.
func TestAnUploadWithoutAnAnswer(t *testing.T) {
	for _, then := range []string{"again", "back"} {
		f := newFakeRPC(t)
		state := t.TempDir()
		d := certificate(t, "a.test")
		f.after = func(_ http.ResponseWriter, method string) bool {
			if method == "cert.hosted.create" {
				panic(http.ErrAbortHandler)
			}
			return false
		}
		err := deploy(t.Context(), configured(t, hosting(f), state), d, "1")
		wantProblem(t, err, sdk.Unavailable, "upload the certificate a.test to Gandi", "cert.hosted.create")
		wantHosted(t, f, d) // and not twice
		f.mu.Lock()
		f.after = nil
		f.mu.Unlock()
		g := configured(t, hosting(f), state)
		if then == "again" {
			must(t, g.Restart(during(t.Context(), "a.test", "1again"), &recorder{}))
			wantHosted(t, f, d)
			continue
		}
		rolledBack(t, g, "a.test", 1, "back")
		wantHosted(t, f)
	}
}

func TestTheAPIRefuses(t *testing.T) {
	f := newFakeRPC(t)
	d := certificate(t, "a.test")
	s := hosting(f)
	s.APIKey = "xxxxxxxxxxxxxxxxxxxxxxxx"
	err := deploy(t.Context(), configured(t, s, t.TempDir()), d, "1")
	wantProblem(t, err, sdk.Credentials, "Invalid API key", "check api_key")
	if strings.Contains(err.Error(), string(s.APIKey)) {
		t.Errorf("the key is shown: %v", err)
	}
	mixed := d
	mixed.KeyPEM = certificate(t, "a.test").KeyPEM
	err = deploy(t.Context(), configured(t, hosting(f), t.TempDir()), mixed, "1")
	wantProblem(t, err, sdk.InvalidConfig, "fault 581050", "private key does not match")
	err = deploy(t.Context(), configured(t, settings{Token: goodToken}, t.TempDir()), d, "1")
	wantProblem(t, err, sdk.InvalidConfig, "no API key", "set api_key")
	wantHosted(t, f)

	f.before = func(w http.ResponseWriter, _ string) bool {
		_, _ = io.WriteString(w, "<html>maintenance</html>")
		return true
	}
	err = deploy(t.Context(), configured(t, hosting(f), t.TempDir()), d, "1")
	wantProblem(t, err, sdk.Internal, "not the XML-RPC that is documented", "rpc_endpoint")
}

// What goes over the wire is what https://doc.rpc.gandi.net/overview.html shows
// (the key first, then the arguments), with the arguments that Gandi's own
// client gives (gandi.cli, modules/hostedcert.py).
func TestRPCOverTheWire(t *testing.T) {
	var body, kind string
	recorder := newFakeRPC(t)
	next := recorder.Config.Handler
	recorder.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body, kind = string(raw), r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")
		r.Body = io.NopCloser(bytes.NewReader(raw))
		next.ServeHTTP(w, r)
	})
	c := configured(t, hosting(recorder), t.TempDir()).rpc
	const head = `<?xml version="1.0" encoding="UTF-8"?><methodCall><methodName>`
	const key = `</methodName><params><param><value><string>` + goodKey + `</string></value></param><param><value>`
	const tail = `</value></param></params></methodCall>`
	member := func(name, text string) string {
		return "<member><name>" + name + "</name><value><string>" + text + "</string></value></member>"
	}
	for want, do := range map[string]func(){
		"cert.hosted.list" + key + "<struct>" + member("fqdns", "a.test") + "</struct>": func() { _, _ = c.hostedFor(t.Context(), []string{"a.test"}) },
		"cert.hosted.info" + key + "<int>7</int>":                                       func() { _, _ = c.hosted(t.Context(), 7) },
		"cert.hosted.delete" + key + "<int>7</int>":                                     func() { _ = c.delete(t.Context(), 7) },
		"paas.info" + key + "<int>7</int>":                                              func() { _ = c.call(t.Context(), true, &instance{}, "paas.info", 7) },
	} {
		do()
		if got := strings.ReplaceAll(body, "\n", ""); got != head+want+tail || kind != "POST /xmlrpc/ text/xml" {
			t.Errorf("%s\n%s\nwant\n%s", kind, got, head+want+tail)
		}
	}
	_, _ = c.create(t.Context(), "CRT", "KEY")
	if !strings.Contains(body, "<methodName>cert.hosted.create</methodName>") || !strings.Contains(body, member("crt", "CRT")) || !strings.Contains(body, member("key", "KEY")) {
		t.Error(body)
	}
}

func TestNames(t *testing.T) {
	f := newFakeRPC(t)
	f.paas = map[string]any{
		"id": 126276, "name": "sap", "type": "phpmysql", "user": 1656411, "ftp_server": "sftp.dc0.gpaas.net",
		"vhosts": []any{map[string]any{"name": "cloud.cat.lol", "state": "running"}},
	}
	s := hosting(f)
	s.Instance = "sap"
	sites, err := configured(t, s, t.TempDir()).Names(t.Context())
	must(t, err)
	if len(sites) != 1 || !slices.Equal(sites[0].Names, []string{"cloud.cat.lol"}) {
		t.Errorf("the sites are %+v", sites)
	}
	at, err := configured(t, s, t.TempDir()).place(t.Context())
	must(t, err)
	if want := (place{"sftp.dc0.gpaas.net:22", "1656411", "phpmysql"}); at != want {
		t.Errorf("the files go to %+v, want %+v", at, want)
	}
	s.Instance = "other"
	_, err = configured(t, s, t.TempDir()).Names(t.Context())
	wantProblem(t, err, sdk.NotFound, "no Simple Hosting instance other")
}

func TestDryRun(t *testing.T) {
	f := newFakeRPC(t)
	g := configured(t, hosting(f), t.TempDir())
	d := certificate(t, "a.test")
	must(t, deploy(t.Context(), g, d, "1"))
	next := certificate(t, "a.test")
	next.DryRun = true
	r := &recorder{}
	must(t, g.Deploy(during(t.Context(), "a.test", "dry"), next, r))
	if diff := r.results[0].Diff; !strings.Contains(diff, " 101 /OU=") || !strings.Contains(diff, "+new for a.test") || strings.Contains(diff, "PRIVATE KEY") {
		t.Errorf("the diff is\n%s", diff)
	}
	wantHosted(t, f, d)
}
