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

// recorder is the host of a call; without an answer nobody can be asked.
type recorder struct {
	answer string

	mu       sync.Mutex
	results  []sdk.Result
	progress []string
	asked    []string
}

func (r *recorder) Progress(_, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = append(r.progress, message)
}

func (r *recorder) Say(sdk.Stream, string) {}

func (r *recorder) Ask(_ context.Context, text string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, text)
	if r.answer == "" {
		return "", sdk.ErrNotInteractive
	}
	return r.answer, nil
}

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) result(t *testing.T, subject string) sdk.Result {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.results) - 1; i >= 0; i-- {
		if r.results[i].Subject == subject {
			return r.results[i]
		}
	}
	t.Errorf("%s has no result", subject)
	return sdk.Result{}
}

// instance gives a configured one, as a new process would be.
func instance(t *testing.T, s settings, state string) *apache {
	t.Helper()
	a := &apache{settings: s}
	must(t, a.Configure(t.Context(), sdk.Instance{Name: "apache", StateDir: state}))
	return a
}

// during is a context of an operation, as the host gives it.
func during(ctx context.Context, lineage, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: lineage + "/apache/" + step, Lineage: lineage, Attempt: 1})
}

var serial atomic.Int64

// certificate is a lineage as the host keeps it: versions, and a pointer that
// the configuration names.
type certificate struct {
	t     *testing.T
	dir   string
	name  string
	names []string
	// leaves by version.
	leaves []*x509.Certificate
}

func newCertificate(t *testing.T, names ...string) *certificate {
	t.Helper()
	c := &certificate{t: t, dir: t.TempDir(), name: strings.TrimPrefix(names[0], "*."), names: names}
	c.renew()
	return c
}

// renew issues a version and gives its leaf; the pointer is moved by point.
func (c *certificate) renew() *x509.Certificate {
	c.t.Helper()
	leaf, certPEM, keyPEM := selfSigned(c.t, c.names...)
	c.leaves = append(c.leaves, leaf)
	version := filepath.Join(c.dir, fmt.Sprintf("%04d", len(c.leaves)))
	must(c.t, os.Mkdir(version, 0o700))
	for name, data := range map[string][]byte{"cert.pem": certPEM, "chain.pem": certPEM, "fullchain.pem": certPEM, "privkey.pem": keyPEM} {
		put(c.t, filepath.Join(version, name), string(data), 0o600)
	}
	if len(c.leaves) == 1 {
		c.point(1)
	}
	return leaf
}

func (c *certificate) point(version int) {
	c.t.Helper()
	link := filepath.Join(c.dir, "deployed")
	must(c.t, os.Symlink(fmt.Sprintf("%04d", version), link+".new"))
	must(c.t, os.Rename(link+".new", link))
}

func (c *certificate) newest() *x509.Certificate { return c.leaves[len(c.leaves)-1] }

func (c *certificate) deployment(name string) sdk.Deployment {
	dir := filepath.Join(c.dir, "deployed")
	paths := sdk.Paths{
		Cert: filepath.Join(dir, "cert.pem"), Chain: filepath.Join(dir, "chain.pem"),
		Fullchain: filepath.Join(dir, "fullchain.pem"), Privkey: filepath.Join(dir, "privkey.pem"),
	}
	return sdk.Deployment{Lineage: c.name, Name: name, Names: c.names, Paths: paths, ConfigPaths: paths}
}

func selfSigned(t *testing.T, names ...string) (leaf *x509.Certificate, certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	leaf, err = x509.ParseCertificate(der)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// stage does what the host does up to the checkpoint.
func stage(ctx context.Context, a *apache, c *certificate, run string, r sdk.Reporter) (sdk.Checkpoint, error) {
	for _, name := range c.names {
		if err := a.Deploy(during(ctx, c.name, run+"deploy "+name), c.deployment(name), r); err != nil {
			return sdk.Checkpoint{}, err
		}
		if _, err := a.Save(during(ctx, c.name, run+"save "+name), sdk.SaveRequest{}, r); err != nil {
			return sdk.Checkpoint{}, err
		}
	}
	return a.Save(during(ctx, c.name, run+"save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r)
}

// deployed does all that the host does when nothing fails.
func deployed(t *testing.T, a *apache, c *certificate) (sdk.Checkpoint, *recorder) {
	t.Helper()
	r := &recorder{}
	saved, err := stage(t.Context(), a, c, fmt.Sprint(len(c.leaves)), r)
	must(t, err)
	must(t, a.ConfigTest(during(t.Context(), c.name, "test"), r))
	c.point(len(c.leaves))
	must(t, a.ConfigTest(during(t.Context(), c.name, "test-moved"), r))
	must(t, a.Restart(during(t.Context(), c.name, "restart"), r))
	return saved, r
}

// tree is what a directory holds, with all that a rollback must bring back.
type tree map[string]string

// look gives the configuration below a server's directory.
func (s *server) look() tree {
	s.t.Helper()
	out := tree{}
	must(s.t, filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		if e.IsDir() && (name == "run" || name == "log" || name == "lock") {
			return fs.SkipDir
		}
		if e.IsDir() || name == "error.log" {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("no owner")
		}
		if e.Type() == fs.ModeSymlink {
			link, err := os.Readlink(path)
			out[name] = fmt.Sprintf("%d:%d -> %s", st.Uid, st.Gid, link)
			return err
		}
		data, err := os.ReadFile(path)
		out[name] = fmt.Sprintf("%s %d:%d %s\n%s", info.Mode(), st.Uid, st.Gid, info.ModTime().UTC().Format(time.RFC3339Nano), data)
		return err
	}))
	return out
}

func challengeFor(name, token string) sdk.Challenge {
	proof := token + ".thumbprint"
	return sdk.Challenge{
		ID: name + "/" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name},
		Token: token, KeyAuthorization: proof,
		HTTP: &sdk.HTTPChallenge{Path: challengePath + token, Body: []byte(proof)},
	}
}

// performed reports what was refused.
func performed(t *testing.T, a *apache, lineage string, challenges ...sdk.Challenge) map[string]error {
	t.Helper()
	r := &recorder{}
	must(t, a.Perform(during(t.Context(), lineage, "perform"), challenges, r))
	out := map[string]error{}
	for _, c := range challenges {
		if err := r.result(t, c.ID).Err; err != nil {
			out[c.ID] = err
		}
	}
	return out
}

func wantProblem(t *testing.T, err error, code sdk.Code, parts ...string) {
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
