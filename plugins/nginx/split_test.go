package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// single has one block, which is the default server by HTTP.
func single(names string) layout {
	return func(w *web) map[string]string {
		return map[string]string{"nginx.conf": w.main("    server {\n" + listens(w.http, " default_server") +
			"        server_name " + names + ";\n        return 200 content;\n    }\n")}
	}
}

// redirected has names sent to HTTPS, and gives what was said.
func (c *certificate) redirected(t *testing.T, n *nginx, names ...string) []string {
	t.Helper()
	r := &recorder{}
	for _, name := range names {
		must(t, n.Enhance(during(t.Context(), c.lineage, "enhance "+name), name, "redirect", r))
	}
	_, err := n.Save(during(t.Context(), c.lineage, "save "+strings.Join(names, ",")), sdk.SaveRequest{Title: "Enhanced"}, r)
	must(t, err)
	must(t, n.Restart(during(t.Context(), c.lineage, "restart "+strings.Join(names, ",")), r))
	return slices.DeleteFunc(r.progress, func(text string) bool { return !strings.Contains(text, "404") })
}

func wantPage(t *testing.T, w *web, name string, code int, text string) {
	t.Helper()
	for _, address := range both(w.http) {
		if got, body, err := get(address, name, "/"); err != nil || got != code || text != "" && body != text {
			t.Errorf("%s at %s: %d %q %v", name, address, got, body, err)
		}
	}
}

// Names without a block, after the default server was split: they get a copy of
// what it was before, each time, and not of what only sends visitors on.
func TestNameAfterSplit(t *testing.T) {
	w := running(t, single("a.test"))
	n := w.plugin(t, t.TempDir())
	first := w.certificate(t, "a.test", "a.test")
	first.deploy(t, n)
	first.redirected(t, n, "a.test")
	wantPage(t, w, "a.test", 301, "")

	next := w.certificate(t, "new.test", "new.test")
	next.deploy(t, n)
	wantPage(t, w, "new.test", 200, "content")
	wantPage(t, w, "a.test", 301, "")
	next.redirected(t, n, "new.test")
	wantPage(t, w, "new.test", 301, "")
	next.names = append(next.names, "more.test")
	next.renew(t)
	next.deploy(t, n)
	wantPage(t, w, "more.test", 200, "content")
	for _, address := range both(w.https) {
		wantLeaf(t, first.leaf, address, "a.test")
		wantLeaf(t, next.leaf, address, "new.test")
		wantLeaf(t, next.leaf, address, "more.test")
	}
}

// The block that was split is gone: there is nothing to copy.
func TestSplitWithoutItsOrigin(t *testing.T) {
	const block = "  server {\n    listen 80 default_server;\n    listen 443 ssl;\n    server_name a.test;\n    ssl_certificate x;\n    ssl_certificate_key y;\n  }\n"
	got, err := deployInto(t, block, &wish{name: "a.test", enhancement: "redirect"})
	must(t, err)
	_, alone, _ := strings.Cut(got, "  }\n")
	_, err = deployInto(t, alone, &wish{name: "new.test"})
	wantError(t, err, sdk.NotFound, "only sends visitors to HTTPS", "write server_name new.test;")
}

// A split block answers 404 for the names that no redirect was asked for. That
// is said once it is so, and not again.
func TestRedirectTellsWhatIsLost(t *testing.T) {
	w := running(t, single("a.test www.a.test b.a.test"))
	n := w.plugin(t, t.TempDir())
	cert := w.certificate(t, "a.test", "a.test", "www.a.test", "b.a.test")
	cert.deploy(t, n)
	said := cert.redirected(t, n, "a.test", "b.a.test")
	if len(said) != 1 || !strings.Contains(said[0], "404 for www.a.test, all names that no server block has: ") {
		t.Errorf("%q", said)
	}
	wantPage(t, w, "www.a.test", 404, "")
	wantPage(t, w, "b.a.test", 301, "")
	equal(t, 0, len(cert.redirected(t, n, "a.test")))
}
