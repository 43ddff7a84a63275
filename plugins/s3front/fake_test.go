package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk/plugintest"
)

// fake is AWS as far as it is needed: S3, CloudFront, ACM and IAM behind one
// address, told apart by what the signature is for; what the world sees of a
// bucket; and CloudFront's servers.
type fake struct {
	t   *testing.T
	url string
	// site is the port where buckets are served by the name that is asked for;
	// edge is the address where distributions are, with TLS.
	site int
	edge string

	mu            sync.Mutex
	accounts      []*account
	buckets       map[string]*bucket
	sites         map[string]string // host name: bucket, or bucket/directory
	distributions map[string]*cloudfrontDistribution
	acm, iam      map[string]*stored
	faults        []*fault
	log           []exchange
	done          chan struct{}
}

// exchange is a request and its answer.
type exchange struct {
	service, operation string
	request            *http.Request
	body               []byte
	status             int
	answer             string
}

// fault goes wrong with the next requests for an operation.
type fault struct {
	operation string // empty: any
	times     int
	do        func(http.ResponseWriter, *http.Request)
	// late: when all is done, and only the answer is missing.
	late bool
}

func start(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		t: t, buckets: map[string]*bucket{}, sites: map[string]string{}, distributions: map[string]*cloudfrontDistribution{},
		acm: map[string]*stored{}, iam: map[string]*stored{}, done: make(chan struct{}),
	}
	api := httptest.NewServer(http.HandlerFunc(f.serve))
	site := httptest.NewServer(http.HandlerFunc(f.serveSite))
	edge := httptest.NewUnstartedServer(http.NotFoundHandler())
	edge.TLS = &tls.Config{GetCertificate: f.viewerCertificate, MinVersion: tls.VersionTLS12}
	edge.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that only look
	edge.StartTLS()
	t.Cleanup(func() {
		close(f.done)
		api.Close()
		site.Close()
		edge.Close()
	})
	f.url, f.edge = api.URL, edge.Listener.Addr().String()
	f.site = site.Listener.Addr().(*net.TCPAddr).Port
	return f
}

// open adds an account.
func (f *fake) open(token string) *account {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &account{
		id: fmt.Sprintf("%012d", len(f.accounts)+1), key: "AKIA" + rand.Text()[:16], secret: plugintest.Mark + "/+" + rand.Text()[:22],
		token: token, denied: map[string]bool{},
	}
	f.accounts = append(f.accounts, a)
	return a
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut
	}
	f.mu.Lock()
	recorder := &recording{ResponseWriter: w, status: http.StatusOK}
	who, wrong := verify(r, body, f.accounts, time.Now())
	service := who.service
	if wrong != nil {
		service = scopeService(r)
	}
	operation := operationOf(service, r, body)
	at := slices.IndexFunc(f.faults, func(x *fault) bool { return x.times > 0 && (x.operation == "" || x.operation == operation) })
	if at >= 0 {
		x := f.faults[at]
		x.times--
		if !x.late {
			f.mu.Unlock()
			x.do(w, r)
			return
		}
		recorder.ResponseWriter = httptest.NewRecorder()
		defer x.do(w, r)
	}
	defer f.mu.Unlock()
	switch {
	case wrong != nil:
	case service != "s3" && who.region != certificateRegion:
		wrong = &refusal{http.StatusForbidden, "SignatureDoesNotMatch", "Credential should be scoped to a valid region."}
	case who.denied[service+":"+operation]:
		wrong = &refusal{http.StatusForbidden, "AccessDenied", "User is not authorized to perform: " + service + ":" + operation}
	}
	if wrong == nil {
		switch service {
		case "s3":
			wrong = f.serveS3(recorder, r, who, body)
		case "cloudfront":
			wrong = f.serveCloudFront(recorder, r, who, body)
		case "acm":
			wrong = f.serveACM(recorder, operation, who, body)
		case "iam":
			wrong = f.serveIAM(recorder, operation, who, body)
		default:
			wrong = &refusal{http.StatusForbidden, "InvalidClientTokenId", "no such service " + service}
		}
	}
	if wrong != nil {
		wrong.write(recorder, service)
	}
	f.log = append(f.log, exchange{service, operation, r, body, recorder.status, recorder.content.String()})
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

func scopeService(r *http.Request) string {
	if parts := strings.Split(r.Header.Get("Authorization"), "/"); len(parts) > 3 {
		return parts[3]
	}
	return ""
}

// operationOf names what is asked for as IAM's policies do.
func operationOf(service string, r *http.Request, body []byte) string {
	switch service {
	case "s3":
		return map[string]string{http.MethodPut: "PutObject", http.MethodDelete: "DeleteObject", http.MethodGet: "GetObject"}[r.Method]
	case "cloudfront":
		switch {
		case r.Method == http.MethodPut:
			return "UpdateDistribution"
		case strings.HasSuffix(r.URL.Path, "/config"):
			return "GetDistributionConfig"
		}
		return "GetDistribution"
	case "acm":
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		return operation
	case "iam":
		values := formOf(body)
		return values.Get("Action")
	}
	return ""
}

// write answers as the service does: each has its own kind of error.
func (e *refusal) write(w http.ResponseWriter, service string) {
	const request = "a1b2c3d4-request"
	w.Header().Set("X-Amzn-Requestid", request)
	var body string
	switch service {
	case "s3":
		w.Header().Set("X-Amz-Request-Id", request)
		w.Header().Set("Content-Type", "application/xml")
		body = xml.Header + "<Error><Code>" + e.code + "</Code><Message>" + escape(e.message) + "</Message><RequestId>" + request + "</RequestId></Error>"
	case "acm":
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		body = fmt.Sprintf(`{"__type":%q,"message":%q}`, e.code, e.message)
	case "iam":
		w.Header().Set("Content-Type", "text/xml")
		body = `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>` + e.code + "</Code><Message>" +
			escape(e.message) + "</Message></Error><RequestId>" + request + "</RequestId></ErrorResponse>"
	default:
		w.Header().Set("Content-Type", "text/xml")
		body = xml.Header + `<ErrorResponse xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><Error><Type>Sender</Type><Code>` + e.code +
			"</Code><Message>" + escape(e.message) + "</Message></Error><RequestId>" + request + "</RequestId></ErrorResponse>"
	}
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, body)
}

func escape(s string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(s))
	return out.String()
}

// next makes the next requests of an operation go wrong.
func (f *fake) next(operation string, times int, do func(http.ResponseWriter, *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault{operation: operation, times: times, do: do})
}

// lose makes the next answers of an operation go lost.
func (f *fake) lose(operation string, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault{operation: operation, times: times, do: cut, late: true})
}

// calm ends all trouble.
func (f *fake) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// cut ends the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// answers gives an error of a service.
func answers(service string, status int, code string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		(&refusal{status, code, "try again"}).write(w, service)
	}
}

// slow answers when the caller has gone.
func (f *fake) slow(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-f.done:
	}
}

// calls lists what was asked for since the last time, as "service:Operation".
func (f *fake) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, e := range f.log {
		text := e.service + ":" + e.operation
		if e.status >= 300 {
			text += fmt.Sprintf(" %d", e.status)
		}
		out = append(out, text)
	}
	f.log = nil
	return out
}

// changes are the calls that change something.
func (f *fake) changes() []string {
	var out []string
	for _, c := range f.calls() {
		if !strings.Contains(c, ":Get") && !strings.Contains(c, ":List") {
			out = append(out, c)
		}
	}
	return out
}
