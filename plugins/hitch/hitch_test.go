package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// A new certificate, a renewal, and both taken back: hitch shows each, though
// what is put back is older than what it had.
func TestDeploysAndTakesBack(t *testing.T) {
	t.Parallel()
	p := start(t)
	state := t.TempDir()
	h := plugin(t, p.settings(), state)
	before := tree(t, p.dir)
	first, second := issue(t, "a.test"), issue(t, "a.test")
	must(t, deploy(operation(t.Context(), "a.test", "1"), h, first, "a.test"))
	p.comesToShow(t, "a.test", first.der())
	deployed := tree(t, p.dir)
	info, err := os.Stat(p.file("a.test"))
	must(t, err)
	equal(t, os.FileMode(0o600), info.Mode())

	// Somebody has set the clock forward, and back again.
	future := time.Now().Add(48 * time.Hour)
	must(t, os.Chtimes(p.file("a.test"), future, future))
	must(t, h.Restart(operation(t.Context(), "a.test", "1"), &recorder{}))
	p.comesToShow(t, "a.test", first.der())
	must(t, deploy(operation(t.Context(), "a.test", "2"), h, second, "a.test"))
	p.comesToShow(t, "a.test", second.der())

	for _, want := range []map[string]string{deployed, before} {
		h = plugin(t, p.settings(), state) // a new process
		must(t, h.Rollback(operation(t.Context(), "a.test", ""), 1, &recorder{}))
		equal(t, want, tree(t, p.dir))
		must(t, h.ConfigTest(t.Context(), &recorder{}))
		must(t, h.Restart(operation(t.Context(), "a.test", ""), &recorder{}))
		if len(want) == len(deployed) {
			p.comesToShow(t, "a.test", first.der())
		}
	}
	p.comesToShow(t, "a.test", leafOfFile(t, filepath.Join(p.dir, "default.pem")))
}

// One file that hitch.conf names, with parameters that were put into it by hand.
func TestOneFile(t *testing.T) {
	t.Parallel()
	p := write(t)
	file := filepath.Join(p.dir, "default.pem")
	parameters := read(t, "testdata/dh.pem")
	put(t, file, string(issue(t, "default.test").bundle())+parameters)
	put(t, p.config, p.conf("pem-file = {\n cert = \""+file+"\"\n}\n"))
	p.run(t)
	s := p.settings()
	s.PemDir, s.PemFile = "", file
	state := t.TempDir()
	h := plugin(t, s, state)
	c := issue(t, "default.test")
	ctx := operation(t.Context(), "a", "1")
	must(t, deploy(ctx, h, c, "a"))
	p.comesToShow(t, "default.test", c.der())
	if data := read(t, file); !strings.HasSuffix(data, parameters) {
		t.Errorf("the parameters are gone:\n%s", data)
	}
	// The same again changes nothing, and has the same checkpoint.
	saved, err := h.Save(ctx, sdk.SaveRequest{Title: "Deployed ACME Certificate"}, &recorder{})
	must(t, err)
	again, err := plugin(t, s, state).Save(ctx, sdk.SaveRequest{Title: "Deployed ACME Certificate"}, &recorder{})
	must(t, err)
	equal(t, saved.ID, again.ID)
	// A second certificate has no place.
	err = h.Deploy(operation(t.Context(), "b", "2"), deployment(issue(t, "b.test"), "b"), &recorder{})
	wantError(t, err, sdk.Conflict, file, "use pem_dir")
}

// What hitch would not accept is found before it is live, and put back.
func TestBrokenConfiguration(t *testing.T) {
	t.Parallel()
	p := start(t)
	h := plugin(t, p.settings(), t.TempDir())
	c := issue(t, "a.test")
	ctx := operation(t.Context(), "a.test", "1")
	good := read(t, p.config)

	put(t, p.config, good+"nonsense = 1\n")
	err := h.Deploy(ctx, deployment(c, "a.test"), &recorder{})
	wantError(t, err, sdk.ConfigTestFailed, "before anything was changed", p.config, "--test")
	put(t, p.config, p.conf("pem-file = \""+filepath.Join(p.dir, "default.pem")+"\"\n"))
	err = h.Deploy(ctx, deployment(c, "a.test"), &recorder{})
	wantError(t, err, sdk.InvalidConfig, "does not lead to "+p.file("a.test"), "pem-dir = ")
	put(t, p.config, good)

	wrong := deployment(c, "a.test")
	wrong.KeyPEM = issue(t, "a.test").key
	wantError(t, h.Deploy(ctx, wrong, &recorder{}), sdk.InvalidConfig, "not that of the certificate")

	// Something breaks the file after it was written.
	before := tree(t, p.dir)
	must(t, h.Deploy(ctx, deployment(c, "a.test"), &recorder{}))
	_, err = h.Save(ctx, sdk.SaveRequest{Title: "x"}, &recorder{})
	must(t, err)
	put(t, p.file("a.test"), bytes.Replace(c.bundle(), []byte("MI"), []byte("XX"), 1))
	wantError(t, h.ConfigTest(ctx, &recorder{}), sdk.ConfigTestFailed, p.file("a.test"))
	must(t, h.Rollback(ctx, 1, &recorder{}))
	must(t, h.ConfigTest(ctx, &recorder{}))
	equal(t, before, tree(t, p.dir))
}

// A hitch that does not run is left alone, and so is another program's process.
func TestNotRunning(t *testing.T) {
	t.Parallel()
	p := write(t)
	h := plugin(t, p.settings(), t.TempDir())
	before := tree(t, p.dir)
	deploy := func() error {
		return h.Deploy(operation(t.Context(), "a.test", "1"), deployment(issue(t, "a.test"), "a.test"), &recorder{})
	}
	wantError(t, deploy(), sdk.NotRunning, p.pidfile, "--config="+p.config)
	put(t, p.pidfile, "1000000000\n")
	wantError(t, deploy(), sdk.NotRunning, "1000000000")
	put(t, p.pidfile, "no number")
	wantError(t, deploy(), sdk.NotRunning, "holds no process number")
	if _, err := os.Stat("/proc/self/cmdline"); err == nil {
		put(t, p.pidfile, strconv.Itoa(os.Getpid()))
		wantError(t, deploy(), sdk.NotRunning, "is not hitch")
	}
	s := p.settings()
	s.Pidfile = ""
	h = plugin(t, s, t.TempDir())
	wantError(t, deploy(), sdk.NotRunning, "setting pidfile is missing")
	must(t, os.Remove(p.pidfile))
	equal(t, before, tree(t, p.dir))
	wantError(t, h.Health(t.Context(), true), sdk.NotRunning)
}

func TestNames(t *testing.T) {
	t.Parallel()
	p := write(t)
	put(t, p.file("one"), issue(t, "one.test", "www.one.test").bundle())
	put(t, filepath.Join(p.certs, "two.txt"), issue(t, "two.test").bundle())
	sites, err := plugin(t, p.settings(), t.TempDir()).Names(t.Context())
	must(t, err)
	def := filepath.Join(p.dir, "default.pem")
	equal(t, []sdk.Site{
		{ID: p.file("one"), Names: []string{"one.test", "www.one.test"}, File: p.file("one"), TLS: true},
		{ID: def, Names: []string{"default.test"}, File: def, TLS: true},
	}, sites)
}

func TestDryRunShowsNoKey(t *testing.T) {
	t.Parallel()
	p := start(t)
	h := plugin(t, p.settings(), t.TempDir())
	before := tree(t, p.dir)
	d := deployment(issue(t, "a.test"), "a.test")
	d.DryRun = true
	r := &recorder{}
	must(t, h.Deploy(operation(t.Context(), "a.test", "1"), d, r))
	diff := r.results[0].Diff
	if !strings.Contains(diff, "+++ "+p.file("a.test")) || !strings.Contains(diff, "private key: added") || strings.Contains(diff, "PRIVATE") {
		t.Errorf("it shows\n%s", diff)
	}
	equal(t, []sdk.Endpoint{{Address: p.address(), Kind: sdk.TLS}}, r.results[0].Endpoints)
	equal(t, before, tree(t, p.dir))
}

func leafOfFile(t *testing.T, path string) []byte {
	t.Helper()
	return leafOf([]byte(read(t, path))).Raw
}
