package main

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Virtual hosts that make it hard: redirects of all kinds, a proxy, access
// control, rules that are switched off, and one without a name.
const hard = `
LoadModule rewrite_module {modules}/mod_rewrite.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
<VirtualHost *:{http}>
    ServerName default.test
    DocumentRoot {dir}/www
</VirtualHost>
<VirtualHost *:{http}>
    ServerName redirect.test
    ServerAlias *.wild.test
    Redirect permanent / https://redirect.test/
</VirtualHost>
<VirtualHost *:{http}>
    ServerName rewrite.test
    RewriteEngine on
    RewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} [END,NE,R=permanent]
</VirtualHost>
<VirtualHost *:{http}>
    ServerName proxy.test
    ProxyPass / http://127.0.0.1:1/
</VirtualHost>
<VirtualHost *:{http}>
    ServerName off.test
    DocumentRoot {dir}/www
    ProxyPass / http://127.0.0.1:1/
    RewriteEngine off
    RewriteRule ^ https://nowhere.test/ [R,L]
</VirtualHost>
<VirtualHost *:{http}>
    ServerName denied.test
    <Location />
        Require all denied
    </Location>
</VirtualHost>
<VirtualHost *:{http}>
    DocumentRoot {dir}/www
    RewriteEngine on
    RewriteRule .* - [F]
</VirtualHost>
`

func TestChallengesAreAnswered(t *testing.T) {
	t.Parallel()
	s := plain(t, hard)
	before := s.look()
	a := instance(t, s.settings(), t.TempDir())
	names := []string{"redirect.test", "deep.down.wild.test", "rewrite.test", "proxy.test", "off.test", "denied.test", "default.test", "nobody.test"}
	var all []sdk.Challenge
	for i, name := range names {
		all = append(all, challengeFor(name, "token-"+string(rune('a'+i))))
	}
	if refused := performed(t, a, "one", all...); len(refused) > 0 {
		t.Fatal(refused)
	}
	for _, c := range all {
		for _, address := range []string{s.addr4(s.http), s.addr6(s.http)} {
			equal(t, "200 "+c.KeyAuthorization, s.get(address, c.Identifier.Value, c.HTTP.Path))
		}
	}
	// Everything else is as it was.
	for host, want := range map[string]string{
		"redirect.test": "301 https://redirect.test/index.html", "off.test": "503", "default.test": "200 the site",
		"rewrite.test": "301 https://rewrite.test/index.html", "denied.test": "403", "proxy.test": "503",
	} {
		if got := s.get(s.addr4(s.http), host, "/index.html"); !strings.HasPrefix(got, want) {
			t.Errorf("%s gives %.80q, want %s", host, got, want)
		}
	}
	must(t, a.Cleanup(during(t.Context(), "one", "cleanup"), all, &recorder{}))
	equal(t, before, s.look())
	for _, c := range all {
		if got := s.get(s.addr4(s.http), c.Identifier.Value, c.HTTP.Path); strings.Contains(got, c.KeyAuthorization) {
			t.Errorf("%s is still answered: %s", c.Identifier.Value, got)
		}
	}
	must(t, a.Cleanup(during(t.Context(), "one", "cleanup"), all, &recorder{}))
}

// Several orders share what is in place; the last one that goes takes it away.
func TestOrdersAtOnce(t *testing.T) {
	t.Parallel()
	s := plain(t, hard)
	before := s.look()
	a := instance(t, s.settings(), t.TempDir())
	shared := challengeFor("default.test", "shared")
	var all sync.WaitGroup
	orders := map[string][]sdk.Challenge{}
	for _, name := range []string{"redirect", "rewrite", "proxy", "denied"} {
		orders[name] = []sdk.Challenge{challengeFor(name+".test", "token-"+name), shared}
		all.Go(func() {
			r := &recorder{}
			if err := a.Perform(during(t.Context(), name, "perform"), orders[name], r); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for n, name := range []string{"redirect", "rewrite", "proxy", "denied"} {
		for _, c := range orders[name] {
			equal(t, "200 "+c.KeyAuthorization, s.get(s.addr4(s.http), c.Identifier.Value, c.HTTP.Path))
		}
		must(t, a.Cleanup(during(t.Context(), name, "cleanup"), orders[name], &recorder{}))
		if len(s.look()) == len(before) && n < 3 {
			t.Error("all is gone before the last order is over")
		}
	}
	equal(t, before, s.look())
}

// A deployment comes in between: the challenges stay, and go without a trace.
func TestDeployDuringChallenge(t *testing.T) {
	t.Parallel()
	s := plain(t, sites, "conf.d/b.conf", otherSite)
	a := instance(t, s.settings(), t.TempDir())
	c := newCertificate(t, "a.test")
	deployed(t, a, c)
	after := s.look()
	must(t, a.Rollback(during(t.Context(), "a.test", "x"), 1, &recorder{}))

	one := challengeFor("a.test", "token")
	if refused := performed(t, a, "b.test", one); len(refused) > 0 {
		t.Fatal(refused)
	}
	_, r := deployed(t, a, c)
	s.serves("a.test", c.newest())
	equal(t, "200 "+one.KeyAuthorization, s.get(s.addr4(s.http), "a.test", one.HTTP.Path))
	must(t, a.Rollback(during(t.Context(), "a.test", "rollback"), 1, r))
	must(t, a.Restart(during(t.Context(), "a.test", "restart-back"), r))
	equal(t, "200 "+one.KeyAuthorization, s.get(s.addr4(s.http), "a.test", one.HTTP.Path))
	deployed(t, a, c)
	must(t, a.Cleanup(during(t.Context(), "b.test", "cleanup"), []sdk.Challenge{one}, r))
	for path := range after {
		if strings.HasSuffix(path, ".conf") {
			equal(t, textOf(after[path]), read(t, filepath.Join(s.dir, path)))
		}
	}
	equal(t, len(after), len(s.look()))
}

func textOf(entry string) string {
	_, text, _ := strings.Cut(entry, "\n")
	return text
}

func TestNoVhostForAChallenge(t *testing.T) {
	t.Parallel()
	s := plain(t, "")
	before := s.look()
	a := instance(t, s.settings(), t.TempDir())
	refused := performed(t, a, "x", challengeFor("a.test", "token"))
	wantProblem(t, refused["a.test/token"], sdk.NotFound, "a.test", "<VirtualHost *:")
	equal(t, before, s.look())
}

// Whichever virtual host may get the request has to answer.
func TestWhoIsChallenged(t *testing.T) {
	const plain, tls = "<VirtualHost *:80>\n", "<VirtualHost *:443>\nSSLEngine on\n"
	const all = plain + "ServerName first.test\n</VirtualHost>\n" +
		plain + "ServerName a.test\nServerAlias *.w.test\n</VirtualHost>\n" +
		tls + "ServerName a.test\n</VirtualHost>\n" +
		plain + "</VirtualHost>\n" +
		tls + "ServerName only.test\n</VirtualHost>\n" +
		"<VirtualHost *:8080>\nServerName other.test\n</VirtualHost>\n"
	for name, want := range map[string][]int{
		"a.test": {1, 2, 3}, "x.y.w.test": {1, 3}, "first.test": {0, 3}, "nobody.test": {3, 0, 1}, "only.test": {3, 4, 0, 1}, "other.test": {3, 5, 0, 1},
	} {
		o := configuration(t, "httpd.conf", "Listen 80\nListen 443\n"+all)
		c, err := load(o.ws, o.facts)
		must(t, err)
		var got []int
		for _, v := range c.challenged(name, "80", "443") {
			got = append(got, slices.Index(c.vhosts, v))
		}
		equal(t, want, got)
	}
	o := configuration(t, "httpd.conf", "Listen 443\n"+tls+"ServerName a.test\n</VirtualHost>\n")
	c, err := load(o.ws, o.facts)
	must(t, err)
	equal(t, 0, len(c.challenged("a.test", "80", "443")))
}

// On Debian a site that is not enabled is included for as long as it takes, and
// mod_rewrite is loaded.
func TestChallengeForADisabledSite(t *testing.T) {
	t.Parallel()
	s := debian(t, map[string]string{
		"b.conf":     otherSite,
		"off-a.conf": strings.ReplaceAll(otherSite, "b.test", "a.test"),
	})
	before := s.look()
	a := instance(t, s.settings(), t.TempDir())
	all := []sdk.Challenge{challengeFor("a.test", "one"), challengeFor("b.test", "two")}
	if refused := performed(t, a, "a.test", all...); len(refused) > 0 {
		t.Fatal(refused)
	}
	for _, c := range all {
		for _, address := range []string{s.addr4(s.http), s.addr6(s.http)} {
			equal(t, "200 "+c.KeyAuthorization, s.get(address, c.Identifier.Value, c.HTTP.Path))
		}
	}
	must(t, a.Cleanup(during(t.Context(), "a.test", "cleanup"), all, &recorder{}))
	equal(t, before, s.look())

	// One that is disabled because it is broken is left alone.
	put(t, filepath.Join(s.root, "sites-available", "off-c.conf"), s.fill(strings.ReplaceAll(otherSite, "b.test", "c.test")+"NoSuchDirective on\n"), 0o644)
	before = s.look()
	c := challengeFor("c.test", "three")
	if refused := performed(t, a, "c.test", c); len(refused) > 0 {
		t.Fatal(refused)
	}
	equal(t, "200 "+c.KeyAuthorization, s.get(s.addr4(s.http), "c.test", c.HTTP.Path))
	must(t, a.Cleanup(during(t.Context(), "c.test", "cleanup"), []sdk.Challenge{c}, &recorder{}))
	equal(t, before, s.look())
}
