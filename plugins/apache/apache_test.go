package main

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sites = `
<VirtualHost *:{http}>
    ServerName first.test
    DocumentRoot {dir}/www
</VirtualHost>
<VirtualHost *:{http}>
    ServerName a.test
    ServerAlias www.a.test *.wild.test
    DocumentRoot {dir}/www
    Redirect permanent / https://a.test/
</VirtualHost>
IncludeOptional conf.d/*.conf
`

const otherSite = `# The other site
<VirtualHost *:{http}>
	ServerName b.test
	DocumentRoot {dir}/www
</VirtualHost>
`

func TestDeployIntoPlainLayout(t *testing.T) {
	s := plain(t, sites, "conf.d/b.conf", otherSite)
	before := s.look()
	a := instance(t, s.settings(), t.TempDir())
	c := newCertificate(t, "a.test", "b.test", "www.a.test")

	dry := &recorder{}
	d := c.deployment("a.test")
	d.DryRun = true
	must(t, a.Deploy(during(t.Context(), "a.test", "dry"), d, dry))
	for _, part := range []string{"+++ " + s.dir + "/httpd-le-ssl.conf", "+SSLCertificateFile ", "+LoadModule ssl_module", "+    Listen 127.0.0.1:"} {
		if got := dry.result(t, "a.test").Diff; !strings.Contains(strings.ReplaceAll(got, "+    SSL", "+SSL"), part) {
			t.Errorf("the diff does not have %q:\n%s", part, got)
		}
	}
	equal(t, before, s.look())

	saved, r := deployed(t, a, c)
	for _, name := range c.names {
		s.serves(name, c.newest())
		if got := r.result(t, name); !got.Changed || len(got.Endpoints) != 2 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if !slices.Contains(saved.Files, filepath.Join(s.dir, "conf.d", "b-le-ssl.conf")) {
		t.Errorf("files are %q", saved.Files)
	}
	if got := s.get(s.addr4(s.http), "a.test", "/x"); got != "301 https://a.test/x" && !strings.HasPrefix(got, "301 https://a.test/x") {
		t.Errorf("the redirect is gone: %s", got)
	}
	after := s.look()

	c.renew()
	again, r := deployed(t, a, c)
	s.serves("a.test", c.newest())
	equal(t, after, s.look())
	if again.ID != "" || r.result(t, "a.test").Changed {
		t.Errorf("the renewal made checkpoint %+v", again)
	}

	// In a new process, as the host would.
	a = instance(t, s.settings(), a.stateDir)
	must(t, a.Rollback(during(t.Context(), "a.test", "rollback"), 1, r))
	must(t, a.Restart(during(t.Context(), "a.test", "restart-back"), r))
	equal(t, before, s.look())
}

func TestDeployIntoDebianLayout(t *testing.T) {
	s := debian(t, map[string]string{
		"a.conf": "<VirtualHost *:{http}>\n\tServerName a.test\n\tDocumentRoot {dir}/www\n\tRewriteEngine on\n</VirtualHost>\n",
		"b.conf": strings.ReplaceAll(otherSite, "\tDocumentRoot", "\tCustomLog ${APACHE_LOG_DIR}/b.log combined\n\tDocumentRoot"),
	})
	// The site needs a module that is not enabled yet.
	_ = s
}

func TestDeclaration(t *testing.T) {
	d, err := declaration(&apache{}).Description()
	must(t, err)
	equal(t, []string{"authenticator", "installer"}, d.Roles)
	equal(t, []string{"names", "config_test", "rollback", "enhance", "health"}, d.Features)
	equal(t, []sdk.Resource{{Kind: "server", Value: sdk.FromSetting("config")}}, d.ExclusiveResources)
	if !d.Permissions.Children || !d.Permissions.Signals || d.Permissions.Key != sdk.KeyPath {
		t.Errorf("permissions are %+v", d.Permissions)
	}
}

var _ = http.MethodGet
var _ = os.Args
