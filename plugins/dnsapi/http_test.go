package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk/script"
)

// request is what a server saw of one.
type request struct {
	Line, Body, Type string
	Headers          []string
}

// web is a server that keeps what it is asked, and looks whether a secret of the
// request stands in the arguments of any process meanwhile.
type web struct {
	*httptest.Server

	mu sync.Mutex
	// seen are the requests of each exchange: the first part of the path is its
	// number.
	seen   map[string][]request
	leaked []string
}

// webSecret is in headers, URLs and bodies of the requests.
const webSecret = `s3cr3t"\'$x`

func startWeb(t *testing.T) *web {
	t.Helper()
	w := &web{seen: map[string][]request{}}
	w.Server = httptest.NewTLSServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	number, path, _ := strings.Cut(strings.TrimPrefix(r.RequestURI, "/"), "/")
	seen := request{Line: r.Method + " /" + path, Body: string(body), Type: r.Header.Get("Content-Type")}
	if len(body) == 0 {
		seen.Type = "" // wget gives one even to nothing
	}
	for _, name := range []string{"X-One", "X-Two", "X-Five"} {
		if value := r.Header.Get(name); value != "" {
			seen.Headers = append(seen.Headers, name+": "+value)
		}
	}
	if r.Header.Get("User-Agent") != "tests/1 (dnsapi)" {
		seen.Headers = append(seen.Headers, "User-Agent: "+r.Header.Get("User-Agent"))
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[number] = append(w.seen[number], seen)
	for _, path := range lines {
		if argv, err := os.ReadFile(path); err == nil && strings.Contains(string(argv), "s3cr3t") {
			w.leaked = append(w.leaked, strings.ReplaceAll(string(argv), "\x00", " "))
		}
	}
	switch {
	case strings.HasPrefix(path, "moved"):
		out.Header().Set("Location", "/"+number+"/here")
		out.WriteHeader(http.StatusFound)
	case strings.HasPrefix(path, "bad"):
		out.Header().Set("X-Why", "because")
		out.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(out, `{"error":"bad"}`)
	case strings.HasPrefix(path, "bytes"):
		_, _ = out.Write([]byte{0, 1, 255})
	case strings.HasPrefix(path, "dns"):
		_, _ = io.WriteString(out, `{"Status":0,"Answer":[{"name":"a.","type":16,"data":"\"one\""},{"name":"a.","type":16,"data":"\"two\""}]}`)
	default:
		out.Header().Set("Set-Cookie", "id=42; Path=/")
		_, _ = io.WriteString(out, "hello\n\n")
	}
}

// exchange is one use of _get or _post: what the server sees, and what is printed.
type exchange struct {
	run  string
	sees []request
	want string
}

var exchanges = []exchange{
	{`_get "$base/a?b=c&d=[1-3]"; echo "=$?"`, []request{{Line: "GET /a?b=c&d=[1-3]"}}, "hello\n\n=0\n"},
	{`_H1="X-One: $secret"; _H2="X-Two: two words"; _H5="X-Five: 5"; _get "$base/k?key=s3cr3t" >/dev/null`,
		[]request{{Line: "GET /k?key=s3cr3t", Headers: []string{"X-One: " + webSecret, "X-Two: two words", "X-Five: 5"}}}, ""},
	{`_get "$base/a" >/dev/null; grep -i '^Set-Cookie: ' "$HTTP_HEADER" | tr -d '\r'; head -n 1 "$HTTP_HEADER" | cut -d ' ' -f 2`,
		[]request{{Line: "GET /a"}}, "Set-Cookie: id=42; Path=/\n200\n"},
	{`_get "$base/bad"; echo "=$?"; grep -i -o '^X-Why: because' "$HTTP_HEADER"; head -n 1 "$HTTP_HEADER" | cut -d ' ' -f 2`,
		[]request{{Line: "GET /bad"}}, "{\"error\":\"bad\"}=0\nX-Why: because\n400\n"},
	{`_get "$base/h" onlyheader | grep -i -c '^set-cookie'`, []request{{Line: "HEAD /h"}}, "1\n"},
	{`_get "$base/a" "" 7 | head -n 1`, []request{{Line: "GET /a"}}, "hello\n"},
	{`_get "$base/moved" | head -n 1`, []request{{Line: "GET /moved"}, {Line: "GET /here"}}, "hello\n"},
	{`ACME_HTTP_NO_REDIRECTS=1; _get "$base/moved"; head -n 1 "$HTTP_HEADER" | cut -d ' ' -f 2`, []request{{Line: "GET /moved"}}, "302\n"},
	{`_post "a=$secret" "$base/p"; echo "=$?"`, []request{{Line: "POST /p", Body: "a=" + webSecret, Type: form}}, "hello=0\n"},
	{`_post "@/etc/passwd" "$base/p" >/dev/null; echo "$response"`, []request{{Line: "POST /p", Body: "@/etc/passwd", Type: form}}, "hello\n"},
	{"_post '{\"a\":\"b\\n\"}\n\n' \"$base/j\" '' PUT application/json >/dev/null",
		[]request{{Line: "PUT /j", Body: "{\"a\":\"b\\n\"}\n\n", Type: "application/json"}}, ""},
	{`_H1="X-One: 1"; _post "x" "$base/j" "" PATCH "text/plain" >/dev/null`,
		[]request{{Line: "PATCH /j", Body: "x", Type: "text/plain", Headers: []string{"X-One: 1"}}}, ""},
	{`_post "" "$base/d" "" DELETE | head -n 1`, []request{{Line: "DELETE /d"}}, "hello"},
	{`_H1="Content-Type: application/xml"; _post "<a/>" "$base/x" >/dev/null`, []request{{Line: "POST /x", Body: "<a/>", Type: "application/xml"}}, ""},
	{`_post x "$base/bytes" needbase64; echo " $response"`, []request{{Line: "POST /bytes", Body: "x", Type: form}}, "AAH/ AAH/\n"},
	{`_post x "$base/bad"; echo "=$?"`, []request{{Line: "POST /bad", Body: "x", Type: form}}, "{\"error\":\"bad\"}=0\n"},
	{`_post "" "$base/h" "" HEAD >/dev/null; head -n 1 "$HTTP_HEADER" | cut -d ' ' -f 2`, []request{{Line: "HEAD /h"}}, "200\n"},
	{`_post "$(printf '%0200000d' 7)" "$base/p" >/dev/null; echo "=$?"`, []request{{Line: "POST /p", Body: strings.Repeat("0", 199999) + "7", Type: form}}, "=0\n"},
	{`_get "$closed/" 2>/dev/null || echo failed`, nil, "failed\n"},
	{`_post x "$closed/" 2>/dev/null || echo failed`, nil, "failed\n"},
	{`CA_BUNDLE=; _get "$base/" 2>/dev/null || echo untrusted`, nil, "untrusted\n"},
	{`CA_BUNDLE=; export HTTPS_INSECURE=1; _get "$base/" | head -n 1`, []request{{Line: "GET /"}}, "hello\n"},
	{`HTTP_HEADER=; _get "$base/" | head -n 1; [ -s "$_cw_run/headers" ] && echo there`, []request{{Line: "GET /"}}, "hello\nthere\n"},
	{`_cw_doh_servers="1 $closed/
2 $base/dns"; _ns_lookup a.example TXT 2>/dev/null | _egrep_o '"data":".*"'`, []request{{Line: "GET /dns?name=a.example&type=TXT"}},
		"\"data\":\"\\\"one\\\"\"\n\"data\":\"\\\"two\\\"\"\n"},
}

const form = "application/x-www-form-urlencoded"

// Each by curl and by wget in each shell; no process has a secret among its
// arguments, where everybody could read it.
func TestRequests(t *testing.T) {
	text, err := shim()
	if err != nil {
		t.Fatal(err)
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, program := range []string{"curl", "wget"} {
		for _, shell := range shellsFor(program) {
			t.Run(shell+" "+program, func(t *testing.T) {
				t.Parallel()
				w := startWeb(t)
				dir := t.TempDir()
				roots := put(t, dir, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw})))
				put(t, dir, "shim.sh", text)
				var run strings.Builder
				fmt.Fprintf(&run, "_cw_run=%s\ncd %[1]s\nHTTP_HEADER=$_cw_run/headers\nUSER_AGENT='tests/1 (dnsapi)'\n. ./shim.sh\n"+
					"CA_BUNDLE=%s\nclosed=%s\nsecret=%s\nACME_USE_WGET=%d\n",
					dir, roots, closed.URL, quoted(webSecret), map[string]int{"wget": 1}[program])
				for i, e := range exchanges {
					fmt.Fprintf(&run, "base=%s/%d\n(\n%s\n)\nprintf '@@'\n", w.URL, i, e.run)
				}
				argv := strings.Fields(shell)
				result, err := script.Run(t.Context(), script.Command{
					Path: argv[0], Args: append(argv[1:], put(t, dir, "run.sh", run.String()+"exit 0\n")),
					Env: script.Environ(nil, "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_INSECURE", "CURL_HOME"),
				})
				if err != nil {
					t.Fatal(err)
				}
				printed := strings.Split(result.Stdout, "@@")
				if len(printed) != len(exchanges)+1 {
					t.Fatalf("%d outputs of %d exchanges:\n%s", len(printed)-1, len(exchanges), result.Tail)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				for i, e := range exchanges {
					if diff := cmp.Diff(e.sees, w.seen[fmt.Sprint(i)]); diff != "" {
						t.Errorf("%s: the server sees (-want +got):\n%s", e.run, diff)
					}
					if printed[i] != e.want {
						t.Errorf("%s prints %q, want %q", e.run, printed[i], e.want)
					}
				}
				if len(w.leaked) > 0 {
					t.Errorf("a secret is among the arguments of a process: %q", w.leaked[0])
				}
				if t.Failed() {
					t.Log(result.Stderr)
				}
			})
		}
	}
}
