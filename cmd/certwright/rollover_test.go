package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/host/testca"
)

// executioner stands in front of a CA and kills its client at one of its
// requests: before the CA hears of it, or when the CA has answered and the
// client does not know yet.
type executioner struct {
	*httptest.Server
	forward *httputil.ReverseProxy

	mu     sync.Mutex
	victim *exec.Cmd
	dead   chan struct{}
	// at is the request, counted from 1; 0: nobody is killed.
	at     int
	after  bool
	seen   int
	struck string
	// cut answers nobody from the request at on, in place of killing: the CA
	// hears of that one only.
	cut bool
}

func newExecutioner(t *testing.T) *executioner {
	t.Helper()
	ca, err := testca.Start(t.Context(), testca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.TLSRoots())
	target, err := url.Parse(ca.DirectoryURL())
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	e := &executioner{forward: &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // signatures name it
		},
	}}
	e.Server = httptest.NewTLSServer(e)
	t.Cleanup(func() {
		e.Close()
		transport.CloseIdleConnections()
	})
	return e
}

func (e *executioner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.seen++
	mine := e.at > 0 && e.seen == e.at
	victim, dead, after, silent := e.victim, e.dead, e.after, e.cut && e.at > 0 && e.seen >= e.at
	if mine {
		e.struck = r.Method + " " + r.URL.Path
	}
	e.mu.Unlock()
	if silent {
		if mine {
			e.forward.ServeHTTP(httptest.NewRecorder(), r)
		}
		panic(http.ErrAbortHandler)
	}
	if !mine {
		e.forward.ServeHTTP(w, r)
		return
	}
	if after {
		e.forward.ServeHTTP(httptest.NewRecorder(), r)
	}
	_ = victim.Process.Kill() // it waits for this answer, so it lives
	<-dead
	panic(http.ErrAbortHandler)
}

// run runs certwright to its end, or to that of the request.
func (e *executioner) run(t *testing.T, state string, at int, after bool, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(prefix, "bin", "certwright"), args...)
	cmd.Env = append(os.Environ(), "CERTWRIGHT_STATE_DIR="+state, "CERTWRIGHT_CONFIG_DIR="+t.TempDir())
	var out, story bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &story
	dead := make(chan struct{})
	e.mu.Lock()
	e.victim, e.dead, e.at, e.after, e.seen, e.struck = cmd, dead, at, after, 0, ""
	err = cmd.Start()
	e.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	close(dead)
	return out.String(), story.String(), err
}

// TestRolloverKilled kills a change of an account's key at every request, before
// and after the CA has acted. The account stays usable: the next command finds
// out which key counts.
func TestRolloverKilled(t *testing.T) {
	e := newExecutioner(t)
	told := map[string]int{}
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			state := e.registered(t)
			_, story, err := e.run(t, state, at, after, "account", "rollover", "-n")
			if err == nil {
				if at < 4 {
					t.Fatalf("there were only %d requests:\n%s", at-1, story)
				}
				break
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Exited() {
				t.Fatalf("not killed at request %d: %v\n%s", at, err, story)
			}
			t.Run(fmt.Sprintf("%s_%v", strings.ReplaceAll(e.struck, "/", "_"), after), func(t *testing.T) {
				told[e.usable(t, state)]++
			})
		}
	}
	if told["the new key counts"] < 2 || told["the old key counts"] < 1 {
		t.Errorf("not every case was met: %v", told)
	}
}

// TestRolloverCutOff loses the line to the CA for good at the moment when the CA
// changes the key.
func TestRolloverCutOff(t *testing.T) {
	e := newExecutioner(t)
	e.cut = true
	state := e.registered(t)
	_, story, err := e.run(t, state, 3, true, "account", "rollover", "-n")
	if err == nil || !strings.Contains(story, "which key counts is not known yet") ||
		!strings.Contains(story, "hint: run certwright account rollover again: both keys are kept") {
		t.Errorf("%v\n%s", err, story)
	}
	if which := e.usable(t, state); which != "the new key counts" {
		t.Errorf("the CA was heard to say %q", which)
	}
}

// registered makes a state directory with an account.
func (e *executioner) registered(t *testing.T) (state string) {
	t.Helper()
	dir := t.TempDir()
	state, bundle := filepath.Join(dir, "state"), filepath.Join(dir, "ca.pem")
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate().Raw})
	if err := os.WriteFile(bundle, root, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, story, err := e.run(t, state, 0, false, "account", "register", "--account", "it",
		"--server", e.URL+"/dir", "--ca-bundle", bundle, "--agree-tos", "-n"); err != nil {
		t.Fatalf("register: %v\n%s", err, story)
	}
	return state
}

// usable holds that the account of a state directory can be seen and used, and
// says which key was found to count.
func (e *executioner) usable(t *testing.T, state string) (which string) {
	t.Helper()
	dir := filepath.Join(state, "accounts", "it")
	_, err := os.Stat(filepath.Join(dir, "key.new.pem"))
	changing := err == nil
	e.shows(t, state, changing)
	_, story, err := e.run(t, state, 0, false, "account", "update", "-m", "it@example.com", "-n")
	if err != nil {
		t.Fatalf("update: %v\n%s", err, story)
	}
	if found := strings.Contains(story, "a change of its key was interrupted"); found != changing {
		t.Errorf("the interrupted change (%v) was found: %v\n%s", changing, found, story)
	}
	e.shows(t, state, false)
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("left in %s: %v, %v", dir, files, err)
	}
	for _, text := range []string{"the new key counts", "the old key counts"} {
		if strings.Contains(story, text) {
			which = text
		}
	}
	return which
}

func (e *executioner) shows(t *testing.T, state string, changing bool) {
	t.Helper()
	out, story, err := e.run(t, state, 0, false, "account", "show", "--json")
	if err != nil {
		t.Fatalf("show: %v\n%s", err, story)
	}
	var account struct {
		Status   string `json:"status"`
		Changing bool   `json:"changing_key"`
	}
	if err := json.Unmarshal([]byte(out), &account); err != nil || account.Status != "valid" || account.Changing != changing {
		t.Errorf("the account is shown as %s (%v), want valid and changing %v", out, err, changing)
	}
}
