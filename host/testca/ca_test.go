package testca_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/acme"

	"github.com/certwright/certwright/host/testca"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

func start(t *testing.T, o testca.Options) *testca.CA {
	t.Helper()
	ca, err := testca.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	return ca
}

func httpClient(t *testing.T, ca *testca.CA) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.TLSRoots()) {
		t.Fatal("TLSRoots is not a PEM of certificates")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func account(t *testing.T, ca *testca.CA) *acme.Client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client := &acme.Client{
		Key: key, DirectoryURL: ca.DirectoryURL(), HTTPClient: httpClient(t, ca), UserAgent: "test",
		RetryBackoff: func(int, *http.Request, *http.Response) time.Duration { return time.Millisecond },
	}
	if _, err := client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	return client
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// issue asks for a certificate by http-01 and gives its chain, leaf first.
func issue(t *testing.T, client *acme.Client, answers *sync.Map, names ...string) []*x509.Certificate {
	t.Helper()
	ctx := deadline(t)
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range order.AuthzURLs {
		authz, err := client.GetAuthorization(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		for _, challenge := range authz.Challenges {
			if challenge.Type != "http-01" || challenge.Status != acme.StatusPending {
				continue
			}
			body, err := client.HTTP01ChallengeResponse(challenge.Token)
			if err != nil {
				t.Fatal(err)
			}
			answers.Store(client.HTTP01ChallengePath(challenge.Token), body)
			if _, err := client.Accept(ctx, challenge); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.WaitAuthorization(ctx, url); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		t.Fatal(err)
	}
	var out []*x509.Certificate
	for _, der := range chain {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, certificate)
	}
	return out
}

// serveAnswers serves what is in the map by path, and gives its port.
func serveAnswers(t *testing.T) (*sync.Map, int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var answers sync.Map
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers.Load(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, body.(string))
	})}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { _ = server.Close(); served.Wait() })
	return &answers, listener.Addr().(*net.TCPAddr).Port
}

func TestIssues(t *testing.T) {
	answers, port := serveAnswers(t)
	ca := start(t, testca.Options{HTTPPort: port, ChainLength: 2, AlternateRoots: 1, Validity: 48 * time.Hour, NonceReject: 15})
	chain := issue(t, account(t, ca), answers, "a.test", "b.test")
	if len(chain) != 3 {
		t.Fatalf("chain has %d certificates, want a leaf and 2 intermediates", len(chain))
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.IssuerRoots()) {
		t.Fatal("IssuerRoots is not a PEM of certificates")
	}
	if got := strings.Count(string(ca.IssuerRoots()), "BEGIN CERTIFICATE"); got != 2 {
		t.Errorf("%d issuer roots, want 2", got)
	}
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	for _, name := range []string{"a.test", "b.test"} {
		if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: intermediates}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := chain[0].NotAfter.Sub(chain[0].NotBefore); got != 48*time.Hour-time.Second {
		t.Errorf("valid for %v, want 48h less a second", got)
	}
}

func TestRefusesWrongAnswer(t *testing.T) {
	answers, port := serveAnswers(t)
	ca := start(t, testca.Options{HTTPPort: port})
	client := account(t, ca)
	ctx := deadline(t)
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	authz, err := client.GetAuthorization(ctx, order.AuthzURLs[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, challenge := range authz.Challenges {
		if challenge.Type == "http-01" {
			answers.Store(client.HTTP01ChallengePath(challenge.Token), "wrong")
			if _, err := client.Accept(ctx, challenge); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := client.WaitAuthorization(ctx, authz.URI); err == nil {
		t.Fatal("a wrong answer was accepted")
	}
}

// Orders and look-ups at once deadlock Pebble without the guard.
func TestManyOrdersAtOnce(t *testing.T) {
	ca := start(t, testca.Options{AlwaysValid: true})
	client := account(t, ca)
	ctx := deadline(t)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			for range 4 {
				order, err := client.AuthorizeOrder(ctx, acme.DomainIDs("a.test", "b.test", "c.test", "d.test"))
				if err != nil {
					t.Error(err)
					return
				}
				for _, url := range order.AuthzURLs {
					if _, err := client.GetAuthorization(ctx, url); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// Twenty orders for twenty-five names are five hundred draws, so that a reuse by
// chance is seen: Pebble itself reuses one authorization in a hundred at zero.
func TestReuse(t *testing.T) {
	for _, percent := range []int{0, 100} {
		ca := start(t, testca.Options{AlwaysValid: true, AuthzReuse: percent})
		client, ctx := account(t, ca), deadline(t)
		var names []string
		for i := range 25 {
			names = append(names, fmt.Sprintf("n%d.test", i))
		}
		first, err := client.AuthorizeOrder(ctx, acme.DomainIDs(names...))
		if err != nil {
			t.Fatal(err)
		}
		valid := map[string]bool{}
		for _, url := range first.AuthzURLs {
			authz, err := client.GetAuthorization(ctx, url)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Accept(ctx, authz.Challenges[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := client.WaitAuthorization(ctx, url); err != nil {
				t.Fatal(err)
			}
			valid[url] = true
		}
		for range 20 {
			later, err := client.AuthorizeOrder(ctx, acme.DomainIDs(names...))
			if err != nil {
				t.Fatal(err)
			}
			again := 0
			for _, url := range later.AuthzURLs {
				if valid[url] {
					again++
				}
			}
			if again != len(names)*percent/100 {
				t.Errorf("at %d%%, %d of %d authorizations were used again", percent, again, len(names))
			}
		}
	}
}

func TestOptionsReachPebble(t *testing.T) {
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "100")
	t.Setenv("PEBBLE_VA_ALWAYS_VALID", "1")
	log := &logged{}
	ca := start(t, testca.Options{
		AuthzReuse: 7, OrdersPerPage: 9, Sleep: true, SleepSeconds: 2, EABRequired: true,
		Profiles: map[string]testca.Profile{"short": {Description: "six days", Validity: 6 * 24 * time.Hour}},
		Log:      log,
	})
	if got := os.Getenv("PEBBLE_WFE_NONCEREJECT"); got != "100" {
		t.Errorf("the environment was left changed: %q", got)
	}
	if _, set := os.LookupEnv("PEBBLE_AUTHZREUSE"); set {
		t.Error("PEBBLE_AUTHZREUSE was left set")
	}
	text := log.String()
	for _, want := range []string{
		"reject 0% of good nonces", "reuse for each identifier 7%", "show 9 orders", "sleep time to 2 seconds", `profile "short"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("Pebble's log lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "always returns valid") {
		t.Error("a variable of the caller's environment reached Pebble")
	}
	response, err := httpClient(t, ca).Get(ca.DirectoryURL())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var directory struct {
		Meta struct {
			EAB      bool              `json:"externalAccountRequired"`
			Profiles map[string]string `json:"profiles"`
		} `json:"meta"`
	}
	if err := json.Unmarshal(body, &directory); err != nil {
		t.Fatal(err)
	}
	if !directory.Meta.EAB || directory.Meta.Profiles["short"] != "six days" {
		t.Errorf("directory lacks the options: %s", body)
	}
}

func TestRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]testca.Options{
		"key algorithm": {KeyAlgorithm: "dsa"},
		"binding key":   {EABKeys: map[string]string{"k": "not base64url!"}},
		"blocked name":  {Blocked: []string{""}},
		"listen":        {Listen: "192.0.2.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			ca, err := testca.Start(t.Context(), o)
			if err == nil {
				_ = ca.Close()
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), "starting the test CA: ") {
				t.Errorf("error does not say what was attempted: %v", err)
			}
		})
	}
}

func TestCloseEndsIt(t *testing.T) {
	ca := start(t, testca.Options{})
	client := httpClient(t, ca)
	for range 2 {
		if err := ca.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if response, err := client.Get(ca.DirectoryURL()); err == nil {
		response.Body.Close()
		t.Error("the directory answers after Close")
	}
	listener, err := net.Listen("tcp", ca.DNS().Addr())
	if err != nil {
		t.Fatalf("the DNS port is still taken after Close: %v", err)
	}
	listener.Close()
}

// logged is a log that keeps what comes.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
