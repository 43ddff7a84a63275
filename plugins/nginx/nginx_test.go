package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// debian is the layout of that distribution: sites are symlinks.
func debian(w *web) map[string]string {
	return map[string]string{
		"nginx.conf": w.main("    include conf.d/*.conf;\n    include sites-enabled/*;\n"),
		"sites-available/default": "server {\n" + listens(w.http, " default_server") +
			"        server_name _;\n        return 444;\n}\n",
		"sites-enabled/default": "-> ../sites-available/default",
		"sites-available/a": "# the first\nserver {\n" + listens(w.http, "") +
			"        server_name a.test www.a.test;\n        location / { return 200 a; }\n}\n",
		"sites-enabled/a": "-> " + w.path("sites-available/a"),
		"sites-available/b": fmt.Sprintf("server {\n%s\tserver_name b.test;\n\treturn 301 https://$host:%d$request_uri;\n}\n",
			listens(w.http, ""), w.https) +
			"server {\n" + listens(w.https, " ssl http2") + fmt.Sprintf(
			"\tserver_name b.test;\n\tssl_certificate %s/old/fullchain.pem;\n\tssl_certificate_key %[1]s/old/privkey.pem; # old\n\treturn 200 b;\n}\n", w.dir),
		"sites-enabled/b": "-> ../sites-available/b",
	}
}

func TestDeclaration(t *testing.T) {
	d, err := declaration(newNginx()).Description()
	must(t, err)
	equal(t, []string{sdk.RoleAuthenticator, sdk.RoleInstaller}, d.Roles)
	equal(t, []sdk.Resource{{Kind: "server", Value: sdk.FromSetting("config")}}, d.ExclusiveResources)
	equal(t, []string{"names", "config_test", "rollback", "enhance", "health"}, d.Features)
	if !d.Permissions.Children || !d.Permissions.Signals || d.Permissions.Key != sdk.KeyPath {
		t.Errorf("permissions %+v", d.Permissions)
	}
}

func TestDeployDebian(t *testing.T) {
	w := running(t, debian)
	before := w.tree(t)
	state := t.TempDir()
	n := w.plugin(t, state)
	cert := w.certificate(t, "a.test", "a.test", "www.a.test", "b.test", "none.test")
	saved, endpoints := cert.deploy(t, n)
	equal(t, 3, len(saved.Files))
	for _, name := range cert.names {
		for _, address := range both(w.https) {
			wantLeaf(t, cert.leaf, address, name)
			if !slices.Contains(endpoints, sdk.Endpoint{Address: address, ServerName: name, Kind: sdk.TLS}) {
				t.Errorf("%s for %s is not reported", address, name)
			}
		}
	}
	after := w.tree(t)
	if !strings.Contains(after[w.path("sites-available/b")], "privkey.pem; "+managed+": # old\n") {
		t.Errorf("%s", after[w.path("sites-available/b")])
	}

	cert.renew(t)
	again, _ := cert.deploy(t, n)
	equal(t, "", again.ID)
	equal(t, after, w.tree(t))
	wantLeaf(t, cert.leaf, both(w.https)[0], "a.test")

	next := w.plugin(t, state)
	must(t, next.Rollback(during(t.Context(), "a.test", "rollback"), 1, &recorder{}))
	equal(t, before, w.tree(t))
	must(t, next.Restart(during(t.Context(), "a.test", "restart back"), &recorder{}))
	got, err := served(both(w.https)[0], "b.test")
	must(t, err)
	equal(t, "old.test", got.Subject.CommonName)
}

func TestPerform(t *testing.T) {
	w := running(t, debian)
	before := w.tree(t)
	n := w.plugin(t, t.TempDir())
	batch := []sdk.Challenge{challenge("a.test", "one"), challenge("b.test", "two"), challenge("none.test", "three"),
		challenge(strings.Repeat("long-label.", 20)+"test", "four"), challenge("127.0.0.1", "five"), challenge("::1", "six")}
	r := &recorder{}
	must(t, n.Perform(during(t.Context(), "a.test", "perform"), batch, r))
	for _, c := range batch {
		must(t, r.last(t, c.ID).Err)
		wantAnswer(t, w, c, true)
	}
	if code, _, err := get(both(w.http)[0], "b.test", "/x"); code != 301 || err != nil {
		t.Errorf("the redirect is %d, %v", code, err)
	}
	must(t, n.Cleanup(during(t.Context(), "a.test", "cleanup"), batch[:1], r))
	wantAnswer(t, w, batch[0], false)
	wantAnswer(t, w, batch[1], true)
	must(t, n.Cleanup(during(t.Context(), "a.test", "cleanup"), batch, r))
	for _, c := range batch {
		wantAnswer(t, w, c, false)
	}
	equal(t, before, w.tree(t))
	must(t, n.Cleanup(during(t.Context(), "a.test", "cleanup"), batch, r))
}

// A deployment while challenges are outstanding, and a roll back of it.
func TestChallengesOutliveDeployments(t *testing.T) {
	w := running(t, debian)
	before := w.tree(t)
	n := w.plugin(t, t.TempDir())
	one := []sdk.Challenge{challenge("a.test", "one"), challenge("none.test", "other")}
	r := &recorder{}
	must(t, n.Perform(during(t.Context(), "x.test", "perform"), one, r))
	cert := w.certificate(t, "a.test", "a.test", "b.test")
	_, err := cert.save(t.Context(), n, r)
	must(t, err)
	for _, c := range one {
		wantAnswer(t, w, c, true)
	}
	// A challenge that comes now waits for the end of the deployment.
	two := []sdk.Challenge{challenge("b.test", "two")}
	const moment = 200 * time.Millisecond
	short, cancel := context.WithTimeout(during(t.Context(), "y.test", "perform"), moment)
	defer cancel()
	if err := n.Perform(short, two, r); err == nil || !strings.Contains(err.Error(), "wait for a deployment") {
		t.Errorf("a challenge during a deployment: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Cleanup(during(t.Context(), "y.test", "cleanup"), two, r) }()
	must(t, n.Restart(during(t.Context(), "a.test", "restart"), r))
	must(t, <-done)
	for _, c := range one {
		wantAnswer(t, w, c, true)
	}
	must(t, n.Perform(during(t.Context(), "y.test", "perform"), two, r))
	for _, c := range append(slices.Clone(one), two...) {
		wantAnswer(t, w, c, true)
	}
	wantLeaf(t, cert.leaf, both(w.https)[1], "a.test")
	must(t, n.Rollback(during(t.Context(), "a.test", "back"), 1, r))
	must(t, n.Restart(during(t.Context(), "a.test", "restart back"), r))
	for _, c := range append(slices.Clone(one), two...) {
		wantAnswer(t, w, c, true)
	}
	must(t, n.Cleanup(during(t.Context(), "x.test", "cleanup"), one, r))
	must(t, n.Cleanup(during(t.Context(), "y.test", "cleanup"), two, r))
	for _, c := range append(slices.Clone(one), two...) {
		wantAnswer(t, w, c, false)
	}
	equal(t, before, w.tree(t))
}

func TestBrokenBefore(t *testing.T) {
	w := written(t, func(w *web) map[string]string {
		return map[string]string{"nginx.conf": w.main("    server {\n        listen 127.0.0.1:" + fmt.Sprint(w.http) + ";\n        no_such_thing on;\n    }\n")}
	})
	before := w.tree(t)
	n := w.plugin(t, t.TempDir())
	cert := w.certificate(t, "a.test", "a.test")
	_, err := cert.save(t.Context(), n, &recorder{})
	wantError(t, err, sdk.ConfigTestFailed, "nothing was changed", `unknown directive "no_such_thing"`, "nginx -p "+w.dir)
	err = n.Perform(during(t.Context(), "a.test", "p"), []sdk.Challenge{challenge("a.test", "one")}, &recorder{})
	wantError(t, err, sdk.ConfigTestFailed, "nothing was changed", "no_such_thing")
	equal(t, before, w.tree(t))
}

func TestStoppedServer(t *testing.T) {
	w := written(t, debian)
	before := w.tree(t)
	n := w.plugin(t, t.TempDir())
	cert := w.certificate(t, "a.test", "a.test")
	_, err := cert.save(t.Context(), n, &recorder{})
	must(t, err)
	// A number that was nginx's before the machine was started again.
	put(t, w.path("nginx.pid"), fmt.Sprintln(os.Getpid()))
	start := fmt.Sprintf("start it: %s -p %s/ -c %[2]s/nginx.conf -e %[2]s/error.log", binary, w.dir)
	wantError(t, n.Restart(during(t.Context(), "a.test", "r"), &recorder{}), sdk.NotRunning, start)
	must(t, n.Rollback(during(t.Context(), "a.test", "b"), 1, &recorder{}))
	err = n.Perform(during(t.Context(), "a.test", "p"), []sdk.Challenge{challenge("a.test", "one")}, &recorder{})
	wantError(t, err, sdk.NotRunning, start)
	must(t, n.Cleanup(during(t.Context(), "a.test", "c"), []sdk.Challenge{challenge("a.test", "one")}, &recorder{}))
	equal(t, before, w.tree(t))
	wantError(t, n.Health(t.Context(), false), sdk.NotRunning)
	if _, err := os.Stat(w.path("error.log")); err == nil {
		if log := read(t, w.path("error.log")); strings.Contains(log, "start worker") {
			t.Error("it was started")
		}
	}
}

// What was never put in place, or is gone, needs neither the configuration nor
// the server to be taken away; what a crash has left in the server does.
func TestCleanupOfNothing(t *testing.T) {
	w := running(t, debian)
	state := t.TempDir()
	one := []sdk.Challenge{challenge("a.test", "one")}
	cleanup := func(config string) error {
		n := newNginx()
		n.settings = w.settings()
		n.settings.Config = config
		must(t, n.Configure(t.Context(), sdk.Instance{Name: "nginx", StateDir: state}))
		if config != w.path("nginx.conf") {
			if err := n.Perform(during(t.Context(), "a.test", "p"), one, &recorder{}); err == nil {
				t.Errorf("a challenge was performed with %s", config)
			}
		}
		r := &recorder{}
		err := n.Cleanup(during(t.Context(), "a.test", "c"), one, r)
		if err == nil {
			must(t, r.last(t, one[0].ID).Err)
		}
		return err
	}
	absent := w.path("absent.conf")
	must(t, cleanup(absent))

	n := w.plugin(t, state)
	must(t, n.Perform(during(t.Context(), "a.test", "perform"), one, &recorder{}))
	must(t, n.lift(t.Context())) // as the start after a crash does
	wantAnswer(t, w, one[0], true)
	if err := cleanup(absent); err == nil {
		t.Error("the server still answers, and nobody says so")
	}
	must(t, cleanup(w.path("nginx.conf")))
	wantAnswer(t, w, one[0], false)
	must(t, cleanup(absent))
}
