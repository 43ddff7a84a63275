package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == pluginName {
		serveVictim()
		return
	}
	// Plugins that others may write to are not run, and httpd's workers must be
	// able to read what is served.
	syscall.Umask(0o022)
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.Cleanup(func(code int) {
			if installed != "" {
				_ = os.RemoveAll(installed)
			}
			os.Exit(code)
		}))
}

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
	t.Parallel()
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
		// The last name is in the virtual host of the first.
		if got := r.result(t, name); got.Changed != (name != "www.a.test") || len(got.Endpoints) != 2 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if !slices.Contains(saved.Files, filepath.Join(s.dir, "conf.d", "b-le-ssl.conf")) {
		t.Errorf("files are %q", saved.Files)
	}
	if got := s.get(s.addr4(s.http), "a.test", "/x"); got != "301 https://a.test/x" {
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

const tlsModules = "LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so\nLoadModule ssl_module {modules}/mod_ssl.so\n"

// Listen stands before the modules in Apache's own httpd.conf, and in RHEL's.
func TestDeployIntoStockOrder(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][]string{
		"in a file of modules": {stock("Include {dir}/conf.d/*.mod\n") + sites, "conf.d/ssl.mod", tlsModules},
		"loaded by us":         {stock("") + sites},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := single(t, files[0], files[1:]...)
			before := s.look()
			a := instance(t, s.settings(), t.TempDir())
			c := newCertificate(t, "a.test")
			deployed(t, a, c)
			s.serves("a.test", c.newest())
			after := s.look()

			c.renew()
			again, r := deployed(t, a, c)
			s.serves("a.test", c.newest())
			equal(t, after, s.look())
			if again.ID != "" || r.result(t, "a.test").Changed {
				t.Errorf("the renewal made checkpoint %+v", again)
			}
			must(t, a.Rollback(during(t.Context(), "a.test", "rollback"), 1, r))
			must(t, a.Restart(during(t.Context(), "a.test", "restart-back"), r))
			equal(t, before, s.look())
		})
	}
}

func TestDeployIntoDebianLayout(t *testing.T) {
	t.Parallel()
	s := debian(t, map[string]string{
		"a.conf": `<VirtualHost *:{http}>
	ServerName a.test
	DocumentRoot {dir}/www
	<Directory {dir}/www>
		Require all granted
	</Directory>
	# To the other one.
	<IfModule mod_rewrite.c>
		RewriteEngine on
		RewriteCond %{HTTPS} !=on
		RewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} [R=301,L]
	</IfModule>
	CustomLog ${APACHE_LOG_DIR}/a.log combined
</VirtualHost>
`,
		"b.conf": otherSite,
	})
	before := s.look()
	a := instance(t, s.settings(), t.TempDir())
	c := newCertificate(t, "b.test")
	_, r := deployed(t, a, c)
	s.serves("b.test", c.newest())
	for _, link := range []string{"sites-enabled/b-le-ssl.conf", "mods-enabled/ssl.load", "mods-enabled/ssl.conf", "mods-enabled/socache_shmcb.load"} {
		target, err := os.Readlink(filepath.Join(s.root, link))
		if err != nil || !strings.HasPrefix(target, "../") {
			t.Errorf("%s: %q, %v", link, target, err)
		}
	}
	for _, name := range []string{"redirect", "hsts"} {
		must(t, a.Enhance(during(t.Context(), "b.test", name), "b.test", name, r))
	}
	_, err := a.Save(during(t.Context(), "b.test", "enhance"), sdk.SaveRequest{Title: "enhanced"}, r)
	must(t, err)
	must(t, a.Restart(during(t.Context(), "b.test", "restart-2"), r))
	if !s.until(func() bool {
		return s.get(s.addr4(s.http), "b.test", "/x?y=z") == fmt.Sprintf("301 https://b.test:%d/x?y=z", s.https)
	}) {
		t.Error("httpd ended")
	}
	must(t, a.Rollback(during(t.Context(), "b.test", "rollback"), 2, r))
	must(t, a.Restart(during(t.Context(), "b.test", "restart-3"), r))
	equal(t, before, s.look())
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
