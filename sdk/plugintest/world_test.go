package plugintest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func startWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(filepath.Join(t.TempDir(), "world"), "Example.test")
	t.Cleanup(w.close)
	return w
}

func filled(t *testing.T, w *world, text string) string {
	t.Helper()
	value, err := w.fill(text)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(value)
}

func TestPlaceholders(t *testing.T) {
	w := startWorld(t)
	value, err := w.fill(map[string]any{
		"list": []string{"{dir}/a", "b"}, "map": map[string]string{"x": "{dns}"}, "port": "{http_port}",
		"text": "127.0.0.1:{http_port}", "deep": []any{map[string]any{"y": "{dir}"}}, "number": 3, "other": "{name}",
	})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := value.(map[string]any)
	if !ok {
		t.Fatalf("%T", value)
	}
	dir, port := w.places[placeDir], w.ports[placeHTTPPort]
	want := map[string]any{
		"list": []any{dir + "/a", "b"}, "map": map[string]any{"x": w.places[placeDNS]}, "port": port,
		"text": fmt.Sprint("127.0.0.1:", port), "deep": []any{map[string]any{"y": dir}}, "number": 3, "other": "{name}",
	}
	if !reflect.DeepEqual(got, want) || port == 0 {
		t.Errorf("got %v, want %v", got, want)
	}
	if !w.reachable() {
		t.Error("the name server is not taken for a way to the world")
	}
	if _, err := w.fill("{via ftp://x}"); err == nil || !strings.Contains(err.Error(), "{via http://HOST:PORT}") {
		t.Errorf("a proxy to ftp: %v", err)
	}
}

// What is reserved is the plugin's, and nobody else's.
func TestReservedPortCanBeUsed(t *testing.T) {
	w := startWorld(t)
	address := filled(t, w, "127.0.0.1:{http_port}")
	for range 3 {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
	}
}

func send(t *testing.T, method, url, body string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestWebServer(t *testing.T) {
	w := startWorld(t)
	url := filled(t, w, "{web}")
	outside := filepath.Join(filepath.Dir(w.dir), "outside")
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"PUT", "/a/b", "content", 204, ""},
		{"GET", "/a/b", "", 200, "content"},
		{"DELETE", "/a/b", "", 204, ""},
		{"GET", "/a/b", "", 404, ""},
		{"DELETE", "/a/b", "", 404, ""},
		{"PUT", "/../outside", "x", 204, ""}, // is /outside
		{"PUT", "/" + challengeDir, "x", 409, ""},
		{"POST", "/a", "x", 405, ""},
	} {
		status, text, err := send(t, c.method, url+c.path, c.body)
		if err != nil || status != c.status || c.text != "" && text != c.text {
			t.Errorf("%s %s: %d %q %v", c.method, c.path, status, text, err)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a PUT left the directory")
	}
}

func TestWebFaults(t *testing.T) {
	w := startWorld(t)
	url := filled(t, w, "{web}")
	get := func() (int, error) {
		status, _, err := send(t, http.MethodPut, url+"/file", "x")
		return status, err
	}
	file := filepath.Join(w.dir, "file")
	for _, c := range []struct {
		kind   faultKind
		status int
		there  bool
	}{
		{limited, 429, false}, {unavailable, 503, false}, {cutOff, 0, false}, {lostAnswer, 0, true}, {slow, 204, true},
	} {
		_ = os.Remove(file)
		met := w.faults.set(c.kind, 1, true)
		status, err := get()
		if _, there := os.Stat(file); status != c.status || (err != nil) != (c.status == 0) || (there == nil) != c.there {
			t.Errorf("%s: status %d, %v, file there: %v", c.kind, status, err, there == nil)
		}
		if !closed(met) || w.faults.requests() != 1 {
			t.Errorf("%s was met by %d requests", c.kind, w.faults.requests())
		}
		if status, err := get(); err != nil || status != 204 {
			t.Errorf("after %s: %d %v", c.kind, status, err)
		}
	}
	for kind, there := range map[faultKind]bool{held: false, doneAndHeld: true} {
		_ = os.Remove(file)
		met, ended := w.faults.set(kind, -1, true), make(chan error, 1)
		go func() {
			_, err := get()
			ended <- err
		}()
		<-met
		if _, err := os.Stat(file); (err == nil) != there {
			t.Errorf("%s: file there: %v", kind, err == nil)
		}
		w.faults.clear()
		if err := <-ended; err == nil {
			t.Errorf("%s was answered", kind)
		}
	}
}

// update sends one change to the world's name server.
func update(t *testing.T, address, zone, record, secret string, remove bool) (int, error) {
	t.Helper()
	rr, err := dns.NewRR(record)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	m.SetUpdate(zone)
	if remove {
		m.Remove([]dns.RR{rr})
	} else {
		m.Insert([]dns.RR{rr})
	}
	client := &dns.Client{Net: "tcp", Timeout: 30 * time.Second}
	if secret != "" {
		client.TsigSecret = map[string]string{tsigName: secret}
		m.SetTsig(tsigName, dns.HmacSHA256, 300, time.Now().Unix())
	}
	answer, _, err := client.ExchangeContext(t.Context(), m, address)
	if answer == nil {
		return -1, err
	}
	return answer.Rcode, err
}

func TestNameServer(t *testing.T) {
	w := startWorld(t)
	address := filled(t, w, "{dns}")
	const zone, name = "example.test.", "_acme-challenge.A.example.test."
	for _, c := range []struct {
		zone, record, secret string
		remove               bool
		rcode                int
		values               string
	}{
		{zone, name + ` 60 TXT "one"`, "", false, dns.RcodeSuccess, "one"},
		{zone, name + ` 60 TXT "one"`, "", false, dns.RcodeSuccess, "one"},
		{zone, name + ` 60 TXT "two"`, tsigSecret, false, dns.RcodeSuccess, "one two"},
		{zone, name + ` 60 TXT "three"`, "d3Jvbmc=", false, dns.RcodeNotAuth, "one two"},
		{"other.test.", `a.other.test. 60 TXT "x"`, "", false, dns.RcodeNotAuth, "one two"},
		{zone, name + ` 60 TXT "one"`, "", true, dns.RcodeSuccess, "two"},
	} {
		rcode, err := update(t, address, c.zone, c.record, c.secret, c.remove)
		if rcode != c.rcode || err != nil && c.rcode == dns.RcodeSuccess {
			t.Errorf("%s: %s, %v", c.record, dns.RcodeToString[rcode], err)
		}
		if got := strings.Join(w.values(name), " "); got != c.values {
			t.Errorf("after %s: %q, want %q", c.record, got, c.values)
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		query := new(dns.Msg)
		query.SetQuestion(strings.ToLower(name), dns.TypeTXT)
		answer, _, err := (&dns.Client{Net: network, Timeout: 30 * time.Second}).ExchangeContext(t.Context(), query, address)
		if err != nil || len(answer.Answer) != 1 || !answer.Authoritative {
			t.Errorf("%s: %v %v", network, answer, err)
		}
	}
	w.faults.set(lostAnswer, 1, true)
	if rcode, err := update(t, address, zone, name+` 60 TXT "lost"`, "", false); err == nil {
		t.Errorf("an answer that should be lost: %d", rcode)
	}
	if !slices.Contains(w.values(name), "lost") {
		t.Errorf("what was done is not there: %q", w.values(name))
	}
}

// A plugin that takes a whole record set or directory away is seen by what is
// gone, one that leaves something by what is left.
func TestDiffers(t *testing.T) {
	if err := differs([]string{"a", "b"}, []string{"b", "a"}); err != nil {
		t.Errorf("the same: %v", err)
	}
	err := differs([]string{"a", "another's"}, []string{"a", "mine"})
	if err == nil || !strings.Contains(err.Error(), "gone: another's") || !strings.Contains(err.Error(), "left behind: mine") {
		t.Errorf("got %v", err)
	}
}

func TestContentsHoldsRecordsAndFiles(t *testing.T) {
	w := startWorld(t)
	if got, err := w.contents(); err != nil || len(got) != 0 {
		t.Errorf("an empty world holds %q, %v", got, err)
	}
	dir := filled(t, w, "{dir}")
	rr, err := dns.NewRR(`x.example.test. 60 TXT "another's"`)
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.add(rr)
	got, err := w.contents()
	if err != nil || len(got) != 2 || !strings.Contains(got[0], "another's") || got[1] != `/f with "x"` {
		t.Errorf("got %q, %v", got, err)
	}
}
