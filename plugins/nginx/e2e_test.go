package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Everything as a user has it: certwright installed, its plugin a process of its
// own, a CA that validates through the nginx that runs.
func TestCertificatesThroughNginx(t *testing.T) {
	prefix := install(t)
	t.Run("obtain, deploy, renew, roll back", func(t *testing.T) { wholeLife(t, prefix) })
	t.Run("layouts", func(t *testing.T) { layouts(t, prefix) })
	t.Run("broken before", func(t *testing.T) { brokenBefore(t, prefix) })
	t.Run("broken by us", func(t *testing.T) { brokenByUs(t, prefix) })
	t.Run("cannot bind", func(t *testing.T) { cannotBind(t, prefix) })
	t.Run("the page", func(t *testing.T) { page(t, prefix) })
	t.Run("stopped", func(t *testing.T) { stopped(t, prefix) })
}

// Redirects to HTTPS, a catch-all, several vhosts in several files, both
// address families, and a name that no block has.
func wholeLife(t *testing.T, prefix string) {
	w := running(t, debian)
	h := startHost(t, prefix, w)
	before := w.tree(t)
	names := []string{"a.test", "www.a.test", "b.test", "none.test"}
	v := visit(t, w, "a.test", "b.test")
	out := h.do(t, "run", "--nginx", "-d", strings.Join(names, ","))
	first := h.leaf(t, "live/a.test")
	for _, name := range names {
		for _, address := range both(w.https) {
			wantLeaf(t, first, address, name)
		}
	}
	deployed := w.tree(t)
	if len(deployed) != len(before) || strings.Contains(fmt.Sprint(deployed), challengePrefix) {
		t.Errorf("something is left:\n%s", out)
	}

	h.do(t, "renew", "--force-renewal")
	second := h.leaf(t, "live/a.test")
	if second.Equal(first) {
		t.Fatal("it was not renewed")
	}
	for _, name := range names {
		wantLeaf(t, second, both(w.https)[0], name)
	}
	equal(t, deployed, w.tree(t))

	h.do(t, "rollback", "--installer", "nginx")
	equal(t, before, w.tree(t))
	got, err := served(both(w.https)[0], "b.test")
	must(t, err)
	equal(t, "old.test", got.Subject.CommonName)
	v.wantNoFailure(t)
}

// The layout of Red Hat, with all in conf.d, and one file with everything.
func layouts(t *testing.T, prefix string) {
	for name, files := range map[string]layout{
		"conf.d": func(w *web) map[string]string {
			return map[string]string{
				"nginx.conf": w.main("    include " + w.path("conf.d") + "/*.conf;\n\n    server {\n" + listens(w.http, "") +
					"        server_name  _;\n        root         /usr/share/nginx/html;\n    }\n"),
				"conf.d/shop.conf": "server {\r\n" + strings.ReplaceAll(listens(w.http, ""), "\n", "\r\n") + "\tserver_name shop.test;\r\n\treturn 200 shop;\r\n}\r\n",
			}
		},
		"one file": func(w *web) map[string]string {
			return map[string]string{"nginx.conf": w.main("server {" + listens(w.http, "") + "server_name shop.test; location ~ .* { deny all; } }\n")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := running(t, files)
			h := startHost(t, prefix, w)
			h.do(t, "run", "--nginx", "--redirect", "--hsts", "-d", "shop.test")
			wantLeaf(t, h.leaf(t, "live/shop.test"), both(w.https)[0], "shop.test")
			if code, body, err := get(both(w.http)[0], "shop.test", "/x"); code != 301 || err != nil {
				t.Errorf("no redirect: %d %q %v", code, body, err)
			}
			deployed := w.tree(t)
			// The redirect must not get in the way of the next challenge.
			h.do(t, "renew", "--force-renewal")
			wantLeaf(t, h.leaf(t, "live/shop.test"), both(w.https)[0], "shop.test")
			equal(t, deployed, w.tree(t))
		})
	}
}

func brokenBefore(t *testing.T, prefix string) {
	w := running(t, debian)
	h := startHost(t, prefix, w)
	put(t, w.path("sites-available/a"), read(t, w.path("sites-available/a"))+"server { listen nonsense:x; }\n")
	before := w.tree(t)
	out, err := h.try(t, "run", "--nginx", "-d", "a.test")
	if err == nil || !strings.Contains(out, "nothing was changed") || !strings.Contains(out, `invalid port in "nonsense:x" of the "listen" directive in `+w.path("sites-enabled/a")+":8") {
		t.Errorf("%v\n%s", err, out)
	}
	equal(t, before, w.tree(t))
}

// The configuration is spoilt after it was written: the same run undoes it, and
// nobody notices.
func brokenByUs(t *testing.T, prefix string) {
	w := running(t, debian)
	h := startHost(t, prefix, w)
	h.faulty(t)
	h.do(t, "run", "--nginx", "-d", "b.test")
	old := h.leaf(t, "live/b.test")
	before := w.tree(t)
	v := visit(t, w, "a.test", "b.test")
	h.fault(t, "break "+finalising)
	out, err := h.try(t, "run", "--nginx", "-d", "a.test,b.test", "--cert-name", "other")
	if err == nil || !strings.Contains(out, `unknown directive "no_such_thing"`) {
		t.Errorf("%v\n%s", err, out)
	}
	equal(t, before, w.tree(t))
	v.wantNoFailure(t)
	wantLeaf(t, old, both(w.https)[0], "b.test")
	h.do(t, "renew", "--force-renewal", "--cert-name", "b.test")
	wantLeaf(t, h.leaf(t, "live/b.test"), both(w.https)[0], "b.test")
}

// What nginx -t does not find: the new address belongs to somebody else.
func cannotBind(t *testing.T, prefix string) {
	w := running(t, func(w *web) map[string]string {
		return map[string]string{"nginx.conf": w.main("    server {\n" + listens(w.http, "") + "        server_name a.test;\n        return 200 a;\n    }\n")}
	})
	h := startHost(t, prefix, w)
	taken, err := net.Listen("tcp", both(w.https)[1])
	must(t, err)
	defer taken.Close()
	before := w.tree(t)
	out, err := h.try(t, "run", "--nginx", "-d", "a.test")
	if err == nil || !strings.Contains(out, "did not take its new configuration") || !strings.Contains(out, "bind() to "+both(w.https)[1]+" failed") {
		t.Errorf("%v\n%s", err, out)
	}
	equal(t, before, w.tree(t))
	if code, _, err := get(both(w.http)[0], "a.test", "/"); err != nil || code != 200 {
		t.Errorf("%d %v", code, err)
	}
}

func stopped(t *testing.T, prefix string) {
	w := running(t, debian)
	h := startHost(t, prefix, w)
	h.do(t, "certonly", "-a", "nginx", "-d", "a.test")
	before := w.tree(t)
	w.stop(w.cmd, w.ended)
	out, err := h.try(t, "install", "--cert-name", "a.test", "-i", "nginx")
	if err == nil || !strings.Contains(out, "nginx does not run") || !strings.Contains(out, "start it: "+binary+" -p "+w.dir) {
		t.Errorf("%v\n%s", err, out)
	}
	equal(t, before, w.tree(t))
	if conn, err := net.DialTimeout("tcp", both(w.http)[0], time.Second); err == nil {
		_ = conn.Close()
		t.Error("it was started")
	}
	if data, err := os.ReadFile(w.path("nginx.pid")); err == nil && strings.TrimSpace(string(data)) != "" {
		t.Errorf("%s", data)
	}
}
