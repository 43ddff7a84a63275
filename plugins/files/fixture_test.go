package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// defaults are the settings as the SDK fills them.
func defaults(s settings) settings {
	if s.CombinedOrder == "" {
		s.CombinedOrder = "cert,chain,key"
	}
	if s.Mode == "" {
		s.Mode = "0644"
	}
	if s.KeyMode == "" {
		s.KeyMode = "0600"
	}
	return s
}

// configured gives an instance with its state in a directory.
func configured(t *testing.T, s settings, state string) *files {
	t.Helper()
	f := newFiles()
	f.settings = defaults(s)
	must(t, f.Configure(t.Context(), sdk.Instance{Name: "files", StateDir: state}))
	return f
}

// during is a context of an operation, as the host gives it.
func during(ctx context.Context, lineage, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{
		ID: lineage + "/files/" + step, Lineage: lineage, Attempt: 1,
		Identifiers: []sdk.Identifier{{Type: "dns", Value: lineage}},
	})
}

var serial atomic.Int64

// certificate makes a real one, signed by an intermediate.
func certificate(t *testing.T, lineage string) sdk.Deployment {
	t.Helper()
	caKey, ca := issue(t, "intermediate", nil, nil)
	leafKey, leaf := issue(t, lineage, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(t, err)
	d := sdk.Deployment{
		Lineage: lineage, Name: lineage, Names: []string{lineage, "www." + lineage},
		LeafPEM:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
		ChainPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
		KeyPEM:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	d.FullchainPEM = []byte(string(d.LeafPEM) + string(d.ChainPEM))
	return d
}

func issue(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	number := serial.Add(1)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), parentKey)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return private, cert
}

// deploy does what the host does, up to the checkpoint.
func deploy(ctx context.Context, f *files, d sdk.Deployment) (sdk.Checkpoint, []sdk.Result, error) {
	r := &recorder{}
	for _, name := range d.Names {
		d.Name = name
		if err := f.Deploy(during(ctx, d.Lineage, "deploy "+name), d, r); err != nil {
			return sdk.Checkpoint{}, r.results, err
		}
		if _, err := f.Save(during(ctx, d.Lineage, "save "+name), sdk.SaveRequest{}, r); err != nil {
			return sdk.Checkpoint{}, r.results, err
		}
	}
	c, err := f.Save(during(ctx, d.Lineage, "save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r)
	return c, r.results, err
}

func deployed(t *testing.T, f *files, d sdk.Deployment) sdk.Checkpoint {
	t.Helper()
	c, _, err := deploy(t.Context(), f, d)
	must(t, err)
	return c
}

func put(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, os.Chmod(path, mode))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// tree is what a directory holds, with all that a rollback must bring back.
type tree map[string]string

func look(t *testing.T, dir string) tree {
	t.Helper()
	out := tree{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("no owner")
		}
		text := fmt.Sprintf("%s %d:%d %s", info.Mode(), st.Uid, st.Gid, info.ModTime().UTC().Format(time.RFC3339Nano))
		if e.Type() == fs.ModeSymlink {
			link, err := os.Readlink(path)
			out[path] = text + " -> " + link
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = text + "\n" + string(data)
		return err
	}))
	return out
}

// problems gives the problems by subject, as the host sees them.
func problems(err error) map[string]*sdk.Problem {
	out := map[string]*sdk.Problem{}
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if p := sdk.ProblemOf(err); p != nil {
			out[p.Subject] = p
		}
		return out
	}
	for _, e := range many.Unwrap() {
		p := sdk.ProblemOf(e)
		out[p.Subject] = p
	}
	return out
}

func wantError(t *testing.T, err error, code sdk.Code, parts ...string) {
	t.Helper()
	p := sdk.ProblemOf(err)
	if p == nil {
		t.Fatal("there is no error")
	}
	if p.Code != code {
		t.Errorf("code %s, want %s", p.Code, code)
	}
	for _, part := range parts {
		if !strings.Contains(p.Error()+"\n"+p.Hint, part) {
			t.Errorf("%q does not say %q", p.Error()+"\n"+p.Hint, part)
		}
	}
}
