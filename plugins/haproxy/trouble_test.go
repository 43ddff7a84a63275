package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// restart deploys up to the call that makes it live, and gives its error.
func restart(t *testing.T, h *haproxy, d sdk.Deployment) (*recorder, error) {
	t.Helper()
	r := &recorder{}
	_, err := stage(t.Context(), h, d, "x", r)
	must(t, err)
	must(t, h.ConfigTest(during(t.Context(), d.Lineage, "x test"), r))
	return r, h.Restart(during(t.Context(), d.Lineage, "x restart"), r)
}

// level gives the socket another level than admin.
func level(name string) func(*proxy, string) string {
	return func(_ *proxy, config string) string { return strings.Replace(config, "level admin", "level "+name, 1) }
}

// What the socket cannot do is told, or done by a reload; then everything can be
// taken back.
func TestWhatTheSocketCannotDo(t *testing.T) {
	long := func(t *testing.T) sdk.Deployment { // its chain is longer than haproxy's buffer
		d := issue(t, "a.test")
		d.ChainPEM = bytes.Repeat(d.ChainPEM, 40)
		return d
	}
	short := func(t *testing.T) sdk.Deployment { return issue(t, "a.test") }
	for name, c := range map[string]struct {
		setup setup
		cert  func(*testing.T) sdk.Deployment
		code  sdk.Code
		hint  string
	}{
		"level user":            {setup{edit: level("user")}, short, sdk.PermissionDenied, "level admin"},
		"level operator":        {setup{edit: level("operator")}, short, sdk.PermissionDenied, "level admin"},
		"too long":              {setup{}, long, sdk.Unsupported, "tune.bufsize"},
		"too long, by a master": {setup{master: true}, long, sdk.Unsupported, "tune.bufsize"},
		"named nowhere": {setup{edit: func(_ *proxy, config string) string {
			return strings.ReplaceAll(config, "/certs", "/certs/0-default.pem")
		}}, short, sdk.NotFound, "bind line"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, c.setup)
			s := p.settings(setup{})
			before, memory := tree(t, p.dir), p.listing(t)
			h := plugin(t, s, t.TempDir())
			d := c.cert(t)
			_, err := restart(t, h, d)
			wantError(t, err, c.code, c.hint, "set reload")
			must(t, h.Rollback(during(t.Context(), "a.test", "x rollback"), 1, &recorder{}))
			equal(t, before, tree(t, p.dir))
			equal(t, memory, p.listing(t))

			mark := filepath.Join(t.TempDir(), "reloaded")
			s.Reload = "echo 1 >> " + mark
			r, err := restart(t, plugin(t, s, t.TempDir()), d)
			must(t, err)
			equal(t, "1\n", read(t, mark))
			if !strings.Contains(r.story(), "reloading haproxy, because") {
				t.Errorf("the story is %q", r.story())
			}
		})
	}
}

// listing is what haproxy has in memory, by whatever level may see it.
func (p *proxy) listing(t *testing.T) string {
	t.Helper()
	return p.say(t, "show ssl cert") + "\n" + p.say(t, "show ssl crt-list")
}

// Two ways to break what we have written, after every look at it: haproxy
// refuses, goes on with the old certificate, and has no transaction open.
func TestBrokenByUs(t *testing.T) {
	for name, c := range map[string]struct {
		// at is the step before which it is broken.
		at    string
		broke func(t *testing.T, file string)
		// test: haproxy -c finds it.
		test bool
	}{
		"truncated":      {"test: ", func(t *testing.T, file string) { write(t, file, "-----BEGIN CERTIFICATE-----\n") }, true},
		"another key":    {"test: ", mixed, true},
		"after the test": {"sync: read ", mixed, false},
		"no text at all": {"sync: read ", func(t *testing.T, file string) { write(t, file, "x\n") }, false},
		"and empty":      {"sync: read ", func(t *testing.T, file string) { write(t, file, "\n") }, false},
	} {
		for kind, s := range map[string]setup{"known": {}, "unknown": {}, "crt-list": {crtList: true}} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				p := start(t, s)
				first, second := issue(t, "a.test"), issue(t, "a.test")
				state := t.TempDir()
				if kind == "known" {
					deployed(t, plugin(t, p.settings(s), state), first, "1")
				}
				before, memory := tree(t, p.dir), p.inventory(t)
				h := plugin(t, p.settings(s), state)
				_, err := stage(t.Context(), h, second, "2", &recorder{})
				must(t, err)
				done := false
				h.step = func(what string) {
					if !done && strings.HasPrefix(what, c.at) {
						done = true
						c.broke(t, p.file("a.test"))
					}
				}
				var w *watch
				if kind == "known" {
					w = p.watch(t, "a.test")
				}
				if !c.test {
					must(t, h.ConfigTest(during(t.Context(), "a.test", "2 test"), &recorder{}))
				}
				if c.test {
					wantError(t, h.ConfigTest(during(t.Context(), "a.test", "2 test"), &recorder{}), sdk.ConfigTestFailed, p.file("a.test"))
				} else if err := h.Restart(during(t.Context(), "a.test", "2 restart"), &recorder{}); err == nil {
					t.Error("it is accepted")
				}
				equal(t, memory, p.inventory(t)) // no transaction is open, nothing is half inserted
				rolledBack(t, h, "a.test", "2")
				equal(t, before, tree(t, p.dir))
				equal(t, memory, p.inventory(t))
				if w != nil {
					equal(t, []int{0}, w.end(t, leafOf(first)))
				}
				p.inOrder(t, p.settings(s))
			})
		}
	}
}

// mixed puts the key of another certificate into a file: haproxy notices when
// the new content is committed, not before.
func mixed(t *testing.T, file string) {
	d, other := issue(t, "a.test"), issue(t, "a.test")
	write(t, file, string(payload([]byte(string(d.FullchainPEM)+string(other.KeyPEM)))))
}

func TestBrokenBefore(t *testing.T) {
	for name, edit := range map[string]func(p *proxy) string{
		"word": func(*proxy) string { return "frontend x\n    nonsense here\n" },
		"file": func(p *proxy) string { return "frontend x\n    bind " + loopback(p.listen) + " ssl crt /nowhere.pem\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, setup{})
			write(t, p.config, read(t, p.config)+edit(p))
			before := tree(t, p.dir)
			h := plugin(t, p.settings(setup{}), t.TempDir())
			err := h.Deploy(during(t.Context(), "a.test", "deploy"), issue(t, "a.test"), &recorder{})
			wantError(t, err, sdk.ConfigTestFailed, "before anything was changed", p.config, "parsing ["+p.config+":")
			c, err := h.Save(during(t.Context(), "a.test", "save"), sdk.SaveRequest{Title: title}, &recorder{})
			must(t, err)
			equal(t, sdk.Checkpoint{}, c)
			must(t, h.Rollback(during(t.Context(), "a.test", "rollback"), 0, &recorder{}))
			equal(t, before, tree(t, p.dir))
		})
	}
}

// The file that a bind line names need not be there before the first time.
func TestFileNamedByABindLine(t *testing.T) {
	p := start(t, setup{edit: func(p *proxy, config string) string {
		return strings.ReplaceAll(config, "/certs", "/certs/a.test.pem")
	}, stopped: true})
	// Haproxy was started when the file was there, and lost it since.
	old := issue(t, "a.test")
	write(t, p.file("a.test"), string(pemOf(t, old)))
	p.run(t)
	must(t, os.Remove(p.file("a.test")))
	h := plugin(t, p.settings(setup{}), t.TempDir())
	d := issue(t, "a.test")
	deployed(t, h, d, "1")
	p.serves(t, "a.test", d)
	must(t, h.Rollback(during(t.Context(), "a.test", "1 rollback"), 0, &recorder{}))
	p.serves(t, "a.test", d)
}

func TestStopped(t *testing.T) {
	for name, reloadOnly := range map[string]bool{"socket": false, "reload only": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, setup{stopped: true})
			s := p.settings(setup{})
			if reloadOnly {
				s.Socket, s.Map, s.Reload = "", "", "false"
			}
			before := tree(t, p.dir)
			h := plugin(t, s, t.TempDir())
			d := issue(t, "a.test")
			wantError(t, h.Deploy(during(t.Context(), "a.test", "deploy"), d, &recorder{}), sdk.NotRunning, "-D -f "+p.config)
			wantError(t, h.Restart(during(t.Context(), "a.test", "restart"), &recorder{}), sdk.NotRunning, "-D -f "+p.config)
			wantError(t, h.Health(t.Context(), true), sdk.NotRunning)
			must(t, h.Rollback(during(t.Context(), "a.test", "rollback"), 1, &recorder{}))
			equal(t, before, tree(t, p.dir))
		})
	}
	t.Run("in between", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{})
		before := tree(t, p.dir)
		h := plugin(t, p.settings(setup{}), t.TempDir())
		must(t, h.Health(t.Context(), true))
		_, err := stage(t.Context(), h, issue(t, "a.test"), "1", &recorder{})
		must(t, err)
		p.stop(t)
		wantError(t, h.Restart(during(t.Context(), "a.test", "restart"), &recorder{}), sdk.NotRunning, "-D -f "+p.config)
		must(t, h.Rollback(during(t.Context(), "a.test", "rollback"), 1, &recorder{}))
		equal(t, before, tree(t, p.dir))
	})
}

// A unit is started only if it is haproxy's with this configuration.
func TestSystemd(t *testing.T) {
	p := start(t, setup{stopped: true})
	script := filepath.Join(t.TempDir(), "systemctl")
	booted := t.TempDir()
	for name, c := range map[string]struct {
		show, booted string
		owns         bool
	}{
		"ours":          {"LoadState=loaded\nEnvironment=CONFIG=" + p.config + " PIDFILE=/run/haproxy.pid", booted, true},
		"in the line":   {"LoadState=loaded\nExecStart={ path=/usr/sbin/haproxy ; argv[]=/usr/sbin/haproxy -Ws -f " + p.config + " ; }", booted, true},
		"another one":   {"LoadState=loaded\nEnvironment=CONFIG=" + p.config + ".old", booted, false},
		"no unit":       {"LoadState=not-found\nEnvironment=CONFIG=" + p.config, booted, false},
		"not systemd's": {"LoadState=loaded\nEnvironment=CONFIG=" + p.config, booted + "/none", false},
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			must(t, os.WriteFile(script, []byte("#!/bin/sh\necho \"$*\" >> "+log+"\ncat <<'END'\n"+c.show+"\nEND\n"), 0o700))
			h := plugin(t, p.settings(setup{}), t.TempDir())
			h.systemd = systemd{program: script, booted: c.booted}
			err := h.Restart(during(t.Context(), "a.test", "restart"), &recorder{})
			if c.owns {
				must(t, err)
				if !strings.HasSuffix(read(t, log), "\nstart haproxy.service\n") {
					t.Errorf("it ran %q", read(t, log))
				}
				return
			}
			wantError(t, err, sdk.NotRunning, p.config)
		})
	}
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho LoadState=loaded CONFIG="+p.config+"\n[ $1 = show ]\n"), 0o700))
	h := plugin(t, p.settings(setup{}), t.TempDir())
	h.systemd = systemd{program: script, booted: booted}
	wantError(t, h.Restart(during(t.Context(), "a.test", "restart"), &recorder{}), sdk.NotRunning, "systemctl start", "journalctl")
}

// Somebody else's transaction is neither committed nor mixed with ours.
func TestSomebodyElsesTransaction(t *testing.T) {
	p := start(t, setup{})
	h := plugin(t, p.settings(setup{}), t.TempDir())
	first := issue(t, "a.test")
	deployed(t, h, first, "1")
	other := filepath.Join(p.certs(), "0-default.pem")
	p.say(t, "set ssl cert "+other, string(pemOf(t, issue(t, "default.test"))))
	_, err := restart(t, h, issue(t, "a.test"))
	wantError(t, err, sdk.Conflict, other, "abort ssl cert "+other)
	equal(t, "open", p.inventory(t)["*"+other])
	must(t, h.Rollback(during(t.Context(), "a.test", "x rollback"), 1, &recorder{}))
	p.serves(t, "a.test", first)

	// It begins between our look and our change: haproxy has mixed the two.
	p.say(t, "abort ssl cert "+other)
	h.step = func(what string) {
		if strings.HasPrefix(what, "runtime: set ssl cert ") {
			p.say(t, "set ssl cert "+other, string(pemOf(t, issue(t, "default.test"))))
		}
	}
	_, err = restart(t, h, issue(t, "a.test"))
	wantError(t, err, sdk.Conflict, other)
	h.step = nil
	must(t, h.Rollback(during(t.Context(), "a.test", "y rollback"), 1, &recorder{}))
	p.serves(t, "a.test", first)
	p.inOrder(t, p.settings(setup{}))

	// One of ours, which a run that was killed has left, is ended.
	p.say(t, "set ssl cert "+p.file("a.test"), string(pemOf(t, issue(t, "a.test"))))
	second := issue(t, "a.test")
	deployed(t, h, second, "3")
	p.serves(t, "a.test", second)
	p.inOrder(t, p.settings(setup{}))
}

// The default certificate of a bind line stays until a reload.
func TestDefaultCertificateStays(t *testing.T) {
	p := start(t, setup{})
	s := p.settings(setup{})
	// What haproxy read first is gone from the directory, so it is to go from
	// memory.
	h := plugin(t, s, t.TempDir())
	must(t, os.Rename(filepath.Join(p.certs(), "0-default.pem"), filepath.Join(p.certs(), "b.pem")))
	ctx := during(t.Context(), "0-default", "restart")
	wantError(t, h.Restart(ctx, &recorder{}), sdk.Unsupported, "reload")
	s.Reload = "true"
	must(t, plugin(t, s, t.TempDir()).Restart(ctx, &recorder{}))
}

func TestDryRun(t *testing.T) {
	s := setup{crtList: true}
	p := start(t, s)
	h := plugin(t, p.settings(s), t.TempDir())
	before := tree(t, p.dir)
	d := issue(t, "a.test")
	d.DryRun = true
	diff := func(d sdk.Deployment) sdk.Result {
		r := &recorder{}
		must(t, h.Deploy(during(t.Context(), "a.test", "deploy"), d, r))
		equal(t, 1, len(r.results))
		return r.results[0]
	}
	result := diff(d)
	for _, part := range []string{
		"+++ " + p.file("a.test"), "+-----BEGIN CERTIFICATE-----", "private key: added", "+++ " + p.crtList(), "\n+" + p.file("a.test") + "\n",
	} {
		if !strings.Contains(result.Diff, part) {
			t.Errorf("%q lacks %q", result.Diff, part)
		}
	}
	if strings.Contains(result.Diff, "PRIVATE KEY") || !result.Changed {
		t.Errorf("changed: %v\n%s", result.Changed, result.Diff)
	}
	equal(t, []sdk.Endpoint{{Address: loopback(p.tls), Kind: sdk.TLS}, {Address: loopback6(p.tls), Kind: sdk.TLS}}, result.Endpoints)
	equal(t, before, tree(t, p.dir))
	d.DryRun = false
	deployed(t, h, d, "1")
	d.DryRun = true
	if result := diff(d); result.Changed || result.Diff != "" {
		t.Errorf("what is deployed is to be changed: %q", result.Diff)
	}
	must(t, os.Chmod(p.file("a.test"), 0o644))
	if result := diff(d); !strings.Contains(result.Diff, "0644 to 0600") || strings.Contains(result.Diff, "BEGIN") {
		t.Errorf("the mode's diff is %q", result.Diff)
	}
	d = issue(t, "a.test")
	d.DryRun = true
	if result := diff(d); !strings.Contains(result.Diff, "private key: changed") || strings.Contains(result.Diff, p.crtList()) {
		t.Errorf("the renewal's diff is %q", result.Diff)
	}
	d.KeyPEM = issue(t, "a.test").KeyPEM
	wantError(t, h.Deploy(during(t.Context(), "a.test", "deploy"), d, &recorder{}), sdk.InvalidConfig, "a.test", "key")
}

func TestNames(t *testing.T) {
	s := setup{crtList: true, edit: func(p *proxy, config string) string {
		write(t, p.crtList(), filepath.Join(p.certs(), "0-default.pem")+" [alpn h2] c.test *.c.test !x.c.test\n")
		return config + "frontend more\n    bind " + loopback(p.listen) + "\n    acl b hdr(host) -i b.test www.b.test\n    use_backend app if b\n"
	}}
	p := start(t, s)
	got, err := plugin(t, p.settings(s), t.TempDir()).Names(t.Context())
	must(t, err)
	equal(t, []sdk.Site{
		{ID: "frontend more", Names: []string{"b.test", "www.b.test"}, File: p.config},
		{ID: "crt-list " + p.crtList(), Names: []string{"*.c.test", "c.test"}, File: p.crtList(), TLS: true},
	}, got)
}

// A crt-list's line that its owner has written stays as it is, and its options
// are used.
func TestOwnersLine(t *testing.T) {
	s := setup{crtList: true}
	p := start(t, s)
	list := read(t, p.crtList()) + p.file("a.test") + " [ssl-min-ver TLSv1.3] a.test\r\n# end\n"
	write(t, p.crtList(), list)
	h := plugin(t, p.settings(s), t.TempDir())
	d := issue(t, "a.test")
	deployed(t, h, d, "1")
	equal(t, list, read(t, p.crtList()))
	p.serves(t, "a.test", d)
	lines, _ := parseListed(p.say(t, "show ssl crt-list "+p.crtList()))
	if got := strings.ReplaceAll(lines[len(lines)-1], " ]", "]"); got != p.file("a.test")+" [ssl-min-ver TLSv1.3] a.test" {
		t.Errorf("haproxy has the line %q", got)
	}
	must(t, h.Rollback(during(t.Context(), "a.test", "1 rollback"), 1, &recorder{}))
	equal(t, list, read(t, p.crtList()))
	if _, known := p.inventory(t)[p.file("a.test")]; known {
		t.Error("haproxy still has the certificate")
	}
}

// What a crt-list has several lines of is inserted with all of them; what was
// there as a file but in no list is forgotten again.
func TestLinesAndFileOfBefore(t *testing.T) {
	s := setup{crtList: true}
	p := start(t, s)
	old, d := issue(t, "a.test", "a.test", "b.test"), issue(t, "a.test", "a.test", "b.test")
	write(t, p.file("a.test"), string(pemOf(t, old)))
	before := tree(t, p.dir)
	h := plugin(t, p.settings(s), t.TempDir())
	deployed(t, h, d, "1")
	p.serves(t, "a.test", d)
	p.inOrder(t, p.settings(s))
	rolledBack(t, h, "a.test", "1")
	equal(t, before, tree(t, p.dir))
	p.inOrder(t, p.settings(s))

	write(t, p.crtList(), read(t, p.crtList())+p.file("a.test")+" a.test\n"+p.file("a.test")+" [alpn h2,http/1.1] b.test\n")
	deployed(t, h, d, "2")
	p.serves(t, "a.test", d)
	p.serves(t, "b.test", d)
	equal(t, 2, strings.Count(p.say(t, "show ssl crt-list "+p.crtList()), p.file("a.test")))
	p.inOrder(t, p.settings(s))
	rolledBack(t, h, "a.test", "2")
	p.serves(t, "a.test", old) // the lines are its owner's, and were there
	p.inOrder(t, p.settings(s))
}
