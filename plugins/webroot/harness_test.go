package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/sdk"
)

const inRoot = ".well-known/acme-challenge"

// configured gives an instance, as a new process would be.
func configured(t *testing.T, s settings, stateDir string) *webroot {
	t.Helper()
	w := &webroot{settings: s}
	if err := w.Configure(t.Context(), sdk.Instance{Name: "test", StateDir: stateDir}); err != nil {
		t.Fatal(err)
	}
	return w
}

// realDir is a temporary directory by its real path.
func realDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func challenge(name, token string) sdk.Challenge {
	proof := token + ".thumbprint"
	return sdk.Challenge{
		ID: name + "/" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name},
		Token: token, KeyAuthorization: proof,
		HTTP: &sdk.HTTPChallenge{Path: "/" + inRoot + "/" + token, Body: []byte(proof)},
	}
}

func operation(ctx context.Context, lineage string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: "op-" + lineage, Lineage: lineage})
}

// performed gives the challenges with their receipts.
func performed(t *testing.T, a sdk.Authenticator, lineage string, challenges ...sdk.Challenge) []sdk.Challenge {
	t.Helper()
	r := &recorder{}
	if err := a.Perform(operation(t.Context(), lineage), challenges, r); err != nil {
		t.Fatal(err)
	}
	var out []sdk.Challenge
	for _, c := range challenges {
		result := r.result(t, c.ID)
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		c.Receipt = result.Receipt
		out = append(out, c)
	}
	return out
}

// cleaned gives the story of the Cleanup.
func cleaned(t *testing.T, a sdk.Authenticator, lineage string, challenges ...sdk.Challenge) []string {
	t.Helper()
	r := &recorder{}
	if err := a.Cleanup(operation(t.Context(), lineage), challenges, r); err != nil {
		t.Fatal(err)
	}
	for _, c := range challenges {
		if err := r.result(t, c.ID).Err; err != nil {
			t.Fatal(err)
		}
	}
	return r.progress
}

// failed gives the problem of the one challenge.
func failed(t *testing.T, a sdk.Authenticator, c sdk.Challenge) *sdk.Problem {
	t.Helper()
	r := &recorder{}
	if err := a.Perform(t.Context(), []sdk.Challenge{c}, r); err != nil {
		t.Fatal(err)
	}
	err := r.result(t, c.ID).Err
	if err == nil {
		t.Fatal("Perform succeeds")
	}
	return sdk.ProblemOf(err)
}

// served asks a web server for the challenge, as a CA does.
func served(t *testing.T, root string, c sdk.Challenge) string {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer server.Close()
	resp, err := server.Client().Get(server.URL + c.HTTP.Path)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	return string(body)
}

// tree lists all that is below a directory.
func tree(t *testing.T, root string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, path); rel != "." {
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func mkdirs(t *testing.T, path ...string) string {
	t.Helper()
	dir := filepath.Join(path...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there (%v)", path, err)
	}
}

func present(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

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

func (r *recorder) Say(sdk.Stream, string) {}

func (r *recorder) Ask(context.Context, string) (string, error) { return "", sdk.ErrNotInteractive }

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) result(t *testing.T, id string) sdk.Result {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.results) - 1; i >= 0; i-- {
		if r.results[i].Subject == id {
			return r.results[i]
		}
	}
	t.Errorf("challenge %s has no result", id)
	return sdk.Result{}
}
