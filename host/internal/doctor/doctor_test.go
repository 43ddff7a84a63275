package doctor

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// want looks for a finding of this level with this text in it or in its hint.
func want(t *testing.T, found []Finding, level Level, text string) {
	t.Helper()
	for _, f := range found {
		if f.Level == level && strings.Contains(f.Text+"\n"+f.Hint, text) {
			return
		}
	}
	t.Errorf("no %s with %q in %+v", level, text, found)
}

func TestState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	want(t, State(dir), OK, "does not exist yet")
	if f := FileSystem(dir); f.Level == Problem {
		t.Errorf("the nearest directory is on a local disk: %+v", f)
	}
	for path, mode := range map[string]os.FileMode{
		"accounts/a/key.pem": 0o600, "archive/x/0001/privkey.pem": 0o600, "archive/x/0002/privkey.pem": 0o640,
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	open := filepath.Join(dir, "archive/x/0002/privkey.pem")
	want(t, State(dir), Problem, "chmod 600 "+open)
	if err := os.Chmod(open, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, State(dir), OK, "3 keys")
	if err := os.Chmod(dir, 0o775); err != nil {
		t.Fatal(err)
	}
	want(t, State(dir), Problem, "chmod go-w "+dir)
	want(t, State(open), Problem, "is not a directory")
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want(t, []Finding{Clock(now, now.Add(50*time.Minute))}, OK, "2026-01-02")
	want(t, []Finding{Clock(now, now.Add(2*time.Hour))}, Problem, "2h0m0s before")
	want(t, []Finding{Journal(nil, nil)}, OK, "nothing")
	want(t, []Finding{Journal([]string{"a challenge"}, nil)}, Problem, "a challenge")
}

func TestCA(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	answer, date := "", now
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	say := func(text string, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		answer, date = text, at
	}
	ask := func(agreed string) []Finding {
		return CA(t.Context(), server.Client(), server.URL, agreed, func() time.Time { return now })
	}
	want(t, ask(""), Problem, "does not answer with JSON")
	say(`{}`, now)
	want(t, ask(""), Problem, "is no ACME directory")
	const directory = `{"newOrder":"x","meta":{"termsOfService":"terms-2","other":[1]}}`
	say(directory, now)
	for _, agreed := range []string{"", "terms-2"} {
		if found := ask(agreed); len(found) != 1 || found[0].Level != OK {
			t.Errorf("agreed %q: %+v", agreed, found)
		}
	}
	want(t, ask("terms-1"), Warning, "terms-2")
	say(directory, now.Add(-10*time.Minute))
	want(t, ask(""), Problem, " ahead of the CA")
	say(directory, now.Add(time.Hour))
	want(t, ask(""), Problem, " behind the CA")
	server.Close()
	want(t, ask(""), Problem, "cannot be asked")
}

func TestResolver(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var rcode atomic.Int32 // RcodeSuccess
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, int(rcode.Load())))
	})}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	address := conn.LocalAddr().String()
	want(t, []Finding{Resolver(t.Context(), address)}, OK, address)
	rcode.Store(dns.RcodeRefused)
	want(t, []Finding{Resolver(t.Context(), address)}, Problem, "REFUSED")
	if err := server.ShutdownContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-served
	want(t, []Finding{Resolver(t.Context(), address)}, Problem, "does not answer")
}
