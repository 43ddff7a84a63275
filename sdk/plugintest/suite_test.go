package plugintest

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

// raw is the built plugin of testdata/rawplugin.
var raw string

func TestMain(m *testing.M) {
	if steps := StartedAs("victim"); steps != nil {
		work(steps)
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "cwraw")
	if err == nil {
		raw = filepath.Join(dir, "raw")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", raw, "./testdata/rawplugin").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build testdata/rawplugin:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// mode gives the suite for the raw plugin under the name that is its mode, with
// servers that show what it keeps in its directory.
func mode(t *testing.T, name string) Suite {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(t.TempDir(), binaryPrefix+name)
	if err := os.Symlink(raw, binary); err != nil {
		t.Fatal(err)
	}
	return Suite{
		Binary: binary, Settings: map[string]any{"dir": dir, "level": 3},
		Secrets:     map[string][]byte{"token": []byte("s3cret-of-the-test")},
		WebrootPath: dir, TLSAddress: serveTLS(t, filepath.Join(dir, "tls")), DNSAddress: serveDNS(t, filepath.Join(dir, "dns")),
		DeployedFiles: []string{filepath.Join(dir, "deployed.pem")},
	}
}

// inWorld gives the suite for the raw plugin in the suite's own world, with a fake
// of a provider's API behind a proxy.
func inWorld(t *testing.T, name string) Suite {
	t.Helper()
	s := mode(t, name)
	api := &fakeAPI{}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return Suite{
		Binary: s.Binary, Secrets: s.Secrets, DeployedFiles: []string{"{dir}/deployed.pem"},
		Settings: map[string]any{"dir": "{dir}", "level": 3, "api": "{via " + server.URL + "}"},
		Look:     map[string]func(context.Context, sdk.Challenge) (int, error){sdk.DNS01: api.look},
	}
}

// fakeAPI holds TXT records, as a provider's API that adds whatever it is given.
type fakeAPI struct {
	mu      sync.Mutex
	records [][2]string
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	record := [2]string{r.FormValue("name"), r.FormValue("value")}
	switch r.Method {
	case http.MethodPost:
		f.records = append(f.records, record)
	case http.MethodDelete:
		f.records = slices.DeleteFunc(f.records, func(have [2]string) bool { return have == record || record[1] == "" && have[0] == record[0] })
	default:
		if slices.Contains(f.records, record) {
			return
		}
		http.NotFound(w, r)
	}
}

func (f *fakeAPI) look(_ context.Context, c sdk.Challenge) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, record := range f.records {
		if record == [2]string{c.DNS.Name, c.DNS.Value} {
			n++
		}
	}
	return n, nil
}

// serveTLS presents the certificate that is in the file named as the server.
func serveTLS(t *testing.T, dir string) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		NextProtos: []string{"acme-tls/1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := os.ReadFile(filepath.Join(dir, filepath.Base(hello.ServerName)))
			if err != nil {
				return nil, err
			}
			cert, err := tls.X509KeyPair(pair, pair)
			return &cert, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).HandshakeContext(context.Background())
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

// serveDNS answers TXT with the lines of the file named as the record.
func serveDNS(t *testing.T, dir string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan struct{}), make(chan struct{})
	server := &dns.Server{Listener: listener, NotifyStartedFunc: func() { close(started) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
			answer := new(dns.Msg)
			answer.SetReply(query)
			name := query.Question[0].Name
			content, _ := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(name, ".")))
			for _, value := range bytes.Split(content, []byte("\x00\n")) {
				if len(value) > 0 {
					answer.Answer = append(answer.Answer, &dns.TXT{
						Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1},
						Txt: []string{string(value)},
					})
				}
			}
			_ = w.WriteMsg(answer)
		})}
	go func() {
		defer close(ended)
		_ = server.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-ended
	})
	return listener.Addr().String()
}

// A plugin that keeps the contract passes everything, also without the SDK.
func TestGoodPluginPasses(t *testing.T) {
	seen := map[string]Step{}
	for _, suite := range []Suite{mode(t, "good"), inWorld(t, "good")} {
		for _, step := range Check(t.Context(), suite, nil) {
			if step.Outcome == Failed {
				t.Errorf("%s: %s", step.Name, step.Text)
			}
			if seen[step.Name].Outcome != Passed {
				seen[step.Name] = step
			}
		}
	}
	for name, step := range seen {
		if step.Outcome != Passed && name != "tls-alpn-01/foreign" { // a handshake shares nothing
			t.Errorf("%s: %s: %s", name, step.Outcome, step.Text)
		}
	}
}

// badPlugins are the modes of the raw plugin and the checks that each must fail.
var badPlugins = map[string][]string{
	"garbage":         {"describe/json"},
	"noise":           {"describe/json"},
	"wrong-name":      {"describe/name"},
	"incomplete":      {"describe/complete"},
	"differs":         {"describe/rpc"},
	"prints-first":    {"describe/rpc", "configure/accept"},
	"refuses":         {"configure/accept"},
	"no-missing":      {"configure/missing"},
	"no-unknown":      {"configure/unknown"},
	"no-types":        {"configure/wrong-type"},
	"no-secret":       {"configure/secret"},
	"no-subject":      {"configure/missing", "configure/unknown", "configure/wrong-type", "configure/secret"},
	"strict":          {"wire/unknown-fields"},
	"talks":           {"wire/stdout"},
	"silent":          {"http-01/perform"},
	"stranger":        {"http-01/perform"},
	"fails":           {"http-01/perform", "dns-01/perform", "tls-alpn-01/perform"},
	"liar":            {"http-01/seen", "tls-alpn-01/seen"},
	"keeps":           {"http-01/cleanup", "tls-alpn-01/cleanup"},
	"memory":          {"http-01/cleanup-new-process"},
	"fussy":           {"http-01/cleanup-nothing", "http-01/cleanup-twice"},
	"fussy-twice":     {"http-01/cleanup-twice"},
	"duplicates":      {"dns-01/same-operation"},
	"deaf":            {"http-01/cancel"},
	"sweeps":          {"http-01/concurrent"},
	"dies-of-unknown": {"authenticator/unknown-type"},
	"takes-unknown":   {"authenticator/unknown-type"},
	"reverses":        {"authenticator/prefer"},
	"answers-one":     {"authenticator/prefer"},
	"hangs-up":        {"hook/events"},
	"fussy-hook":      {"hook/unknown-event"},
	"hasty":           {"installer/deploy-stages"},
	"broken-restart":  {"installer/round-trip"},
	"idle":            {"installer/seen"},
	"appends":         {"installer/deploy-twice"},
	"grows":           {"installer/seen", "installer/deploy-twice"},
	"wet":             {"installer/dry-run"},
	"no-diff":         {"installer/dry-run"},
	"no-result":       {"installer/dry-run"},
	"no-rollback":     {"installer/rollback", "installer/crash"},
	"counts":          {"installer/rollback"},
	"forgets":         {"installer/crash"},
	"nameless":        {"installer/names"},
	"busy":            {"life/health"},
	"never-drained":   {"life/drain"},
	"mortal":          {"life/sigterm"},
	"orphan":          {"life/host-gone"},
	"any-rpc":         {"wire/unknown-rpc"},
	"eager":           {"configure/validate-only"},
	"leaks":           {"wire/secrets"},
	"chatters":        {"wire/secrets"},
}

// badInWorld are those that show in the suite's world only.
var badInWorld = map[string][]string{
	"eager":        {"configure/validate-only"},
	"impatient":    {"faults/slow"},
	"permanent":    {"faults/rate-limit", "faults/unavailable", "faults/cut-off", "faults/deploy"},
	"timeless":     {"faults/rate-limit"},
	"believes":     {"faults/rate-limit", "faults/unavailable", "faults/cut-off", "faults/cleanup", "faults/deploy"},
	"hangs-up-too": {"faults/unavailable", "faults/cleanup", "faults/deploy"},
	"blind":        {"faults/lost-answer", "dns-01/same-operation"},
	"liar":         {"faults/no-place"},
	"stuck":        {"faults/cancel"},
	"no-restart":   {"faults/deploy"},
	"memory":       {"faults/killed"},
	"sweeps":       {"http-01/foreign", "dns-01/foreign"},
	"litters":      {"http-01/foreign"},
	"keeps":        {"http-01/foreign", "dns-01/cleanup"},
}

// Each way to break the contract fails the check that is there for it.
func TestBadPluginsFail(t *testing.T) {
	for fault, names := range badPlugins {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			for _, name := range names {
				step := only(t, mode(t, fault), name)
				if step.Outcome != Failed || step.Text == "" {
					t.Errorf("%s: %s %q, want a failure with a text", name, step.Outcome, step.Text)
				}
			}
		})
	}
}

func TestBadPluginsFailInWorld(t *testing.T) {
	for fault, names := range badInWorld {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			for _, name := range names {
				step := only(t, inWorld(t, fault), name)
				if step.Outcome != Failed || step.Text == "" || step.Mend == "" {
					t.Errorf("%s: %s %q, want a failure with a text", name, step.Outcome, step.Text)
				}
			}
		})
	}
}

// only runs one check, with the description that it needs.
func only(t *testing.T, s Suite, name string) Step {
	t.Helper()
	b, err := newBench(s)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	b.patience = time.Second // what these wait for never happens
	first := b.run(t.Context(), describeJSON)
	if name == describeJSON.name {
		return first
	}
	if first.Outcome != Passed {
		t.Fatalf("%s: %s", first.Name, first.Text)
	}
	for _, c := range b.checks() {
		if c.name == name {
			return b.run(t.Context(), c)
		}
	}
	t.Fatalf("there is no check %s", name)
	return Step{}
}

// Every check has a fault that fails it, so that none can be empty. The checks of
// the three challenge types are the same code.
func TestEveryCheckHasAFault(t *testing.T) {
	has := map[string]bool{}
	kind := strings.NewReplacer(sdk.DNS01, "TYPE", sdk.TLSALPN01, "TYPE", sdk.HTTP01, "TYPE").Replace
	for _, names := range slices.Concat(slices.Collect(maps.Values(badPlugins)), slices.Collect(maps.Values(badInWorld))) {
		for _, name := range names {
			has[kind(name)] = true
		}
	}
	for _, c := range append([]check{describeJSON}, (&bench{}).checks()...) {
		if !has[kind(c.name)] {
			t.Errorf("no fault fails %s", c.name)
		}
	}
}

func TestNamesAreStable(t *testing.T) {
	b := &bench{}
	var got []string
	for _, c := range append([]check{describeJSON}, b.checks()...) {
		if c.obligation == "" {
			t.Errorf("%s has no obligation", c.name)
		}
		if g := gradeOf(c.name); g.mend == "" || !slices.Contains(Categories(), g.category) {
			t.Errorf("%s has no line in the table of grades: %+v", c.name, g)
		}
		got = append(got, c.name)
	}
	want, err := os.ReadFile("testdata/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := strings.Join(got, "\n") + "\n"; diff != string(want) {
		t.Errorf("the names of the checks are not those of testdata/names.txt; authors select by them:\n%s", diff)
	}
}

func TestStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	steps := Check(ctx, mode(t, "good"), func(Step) { cancel() })
	if last := steps[len(steps)-1]; len(steps) != 2 || last.Outcome != Failed {
		t.Errorf("steps after a cancel: %+v", steps)
	}
}

func TestNothingToCheck(t *testing.T) {
	for _, s := range []Suite{{}, {Binary: "/nonexistent/certwright-plugin-x"}} {
		steps := Check(t.Context(), s, nil)
		if len(steps) != 1 || steps[0].Outcome != Failed {
			t.Errorf("Check(%+v) = %+v", s, steps)
		}
	}
}

func TestWithoutAPlaceToLookIsNotPassed(t *testing.T) {
	s := mode(t, "liar")
	s.WebrootPath, s.TLSAddress, s.DNSAddress, s.DeployedFiles = "", "", "", nil
	for _, name := range []string{"http-01/seen", "dns-01/seen", "tls-alpn-01/seen", "installer/seen"} {
		if step := only(t, s, name); step.Outcome != NotApplicable || step.Text == "" {
			t.Errorf("%s: %s %q", name, step.Outcome, step.Text)
		}
	}
}
