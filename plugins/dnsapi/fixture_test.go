package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// shells are those that the shim has to run in.
var shells = []string{"dash", "bash", "busybox sh"}

// shellsFor gives those that a test is to be run in: all of them in the slow tests,
// else one for each test, so that each shell has some.
func shellsFor(test string) []string {
	if everyShell {
		return shells
	}
	return []string{map[string]string{
		"dns_bindzone": "dash", "dns_pdnsrest": "busybox sh", "dns_knotzone": "bash",
		"curl": "dash", "wget": "busybox sh",
	}[test]}
}

// scripts is the directory of the scripts that come with the tests.
func scripts(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/scripts")
	if err != nil {
		t.Fatal(err)
	}
	return copied(t, dir)
}

// copied makes a directory that no one else may write to: the tree may be checked
// out with any mask.
func copied(t *testing.T, from string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, "*.sh"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s (%v)", from, err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, filepath.Base(file), string(text))
	}
	return dir
}

func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// given are the settings with what the SDK would fill in.
func given(s settings) settings {
	if s.Shell == "" {
		s.Shell = "sh"
	}
	if s.CallTimeout == 0 {
		s.CallTimeout = patience
	}
	return s
}

// configured gives an instance, as a new process would be.
func configured(t *testing.T, s settings, stateDir string) *dnsapi {
	t.Helper()
	d := &dnsapi{settings: given(s)}
	if err := d.Configure(t.Context(), sdk.Instance{Name: "test", StateDir: stateDir}); err != nil {
		t.Fatal(err)
	}
	return d
}

// of makes variables that are given by reference.
func of(pairs ...string) sdk.SecretMap {
	out := sdk.SecretMap{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = sdk.SecretValue{Secret: sdk.Secret(pairs[i+1])}
	}
	return out
}

func challenge(name, value string) sdk.Challenge {
	return sdk.Challenge{
		ID: name + "/" + value, Type: sdk.DNS01, Identifier: sdk.Identifier{Type: "dns", Value: strings.TrimPrefix(name, "_acme-challenge.")},
		DNS: &sdk.DNSChallenge{Name: name, Value: value},
	}
}

func lineage(ctx context.Context, name string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: "op-" + name, Lineage: name})
}

// performed adds records and fails the test if one could not be added.
func performed(t *testing.T, d *dnsapi, challenges ...sdk.Challenge) *recorder {
	t.Helper()
	r := &recorder{}
	if err := d.Perform(lineage(t.Context(), "cert"), challenges, r); err != nil {
		t.Fatal(err)
	}
	r.allGood(t, challenges)
	return r
}

func cleaned(t *testing.T, d *dnsapi, challenges ...sdk.Challenge) *recorder {
	t.Helper()
	r := &recorder{}
	if err := d.Cleanup(lineage(t.Context(), "cert"), challenges, r); err != nil {
		t.Fatal(err)
	}
	r.allGood(t, challenges)
	return r
}

// recorder keeps what a call reports.
type recorder struct {
	mu       sync.Mutex
	results  []sdk.Result
	progress []string
	said     string
}

func (r *recorder) Progress(_, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = append(r.progress, message)
}

func (r *recorder) Say(_ sdk.Stream, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said += text
}

func (r *recorder) Ask(context.Context, string) (string, error) { return "", sdk.ErrNotInteractive }

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) story() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.progress, "\n")
}

// problem gives that of one challenge; nil if it is done.
func (r *recorder) problem(t *testing.T, c sdk.Challenge) *sdk.Problem {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.IndexFunc(r.results, func(result sdk.Result) bool { return result.Subject == c.ID })
	if at < 0 {
		t.Fatalf("%s has no result", c.ID)
	}
	return sdk.ProblemOf(r.results[at].Err)
}

func (r *recorder) allGood(t *testing.T, challenges []sdk.Challenge) {
	t.Helper()
	for _, c := range challenges {
		if p := r.problem(t, c); p != nil {
			t.Fatalf("%s: %v (%s)\n%s", c.ID, p, p.Hint, r.story())
		}
	}
	if len(r.results) != len(challenges) {
		t.Errorf("%d results for %d challenges", len(r.results), len(challenges))
	}
}
