package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// onDisk is a configuration without a server.
type onDisk struct {
	t     *testing.T
	dir   string
	ws    *workspace
	facts facts
	a     *apache
}

func configuration(t *testing.T, files ...string) *onDisk {
	t.Helper()
	o := &onDisk{t: t, dir: workDir(t), a: &apache{settings: settings{Config: standardConfig, HTTPPort: 80, HTTPSPort: 443}}}
	for i := 0; i+1 < len(files); i += 2 {
		path := filepath.Join(o.dir, files[i])
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		put(t, path, strings.ReplaceAll(files[i+1], "{dir}", o.dir), 0o644)
	}
	o.ws = newWorkspace(nil)
	o.facts = facts{
		version: [3]int{2, 4, 66}, serverRoot: o.dir, configFile: filepath.Join(o.dir, "httpd.conf"),
		modules: map[string]bool{"ssl_module": true, "rewrite_module": true, "headers_module": true},
		defines: map[string]string{},
	}
	return o
}

var somePaths = sdk.Paths{Cert: "/c/cert.pem", Chain: "/c/chain.pem", Fullchain: "/c/fullchain.pem", Privkey: "/c/privkey.pem"}

func (o *onDisk) install(name string, r *recorder) error {
	o.t.Helper()
	_, err := o.a.apply(o.t.Context(), o.ws, o.facts, &intent{name: name, paths: somePaths}, r)
	return err
}

// text is a file as it is to be.
func (o *onDisk) text(name string) string {
	o.t.Helper()
	text, err := o.ws.read(filepath.Join(o.dir, name))
	must(o.t, err)
	return strings.ReplaceAll(text, o.dir, "{dir}")
}

func TestCopyForTLS(t *testing.T) {
	o := configuration(t, "httpd.conf", "Listen 80\r\nServerRoot {dir}\r\n<VirtualHost *:80 [::1]:8080>\r\n"+
		"\tServerName a.test\r\n\tRewriteEngine on\r\n\tRewriteCond %{HTTPS} off\r\n\t# why\r\n\tRewriteCond %{REQUEST_URI} !^/x\r\n"+
		"\tRewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} \\\r\n\t\t[R]\r\n\tRewriteCond %{HTTPS} off\r\n\tRewriteRule ^/y https://b.test/ [P]\r\n"+
		"\tRedirect / https://A.test/\r\n\tRedirect / https://elsewhere.test/\r\n</VirtualHost>")
	must(t, o.install("a.test", &recorder{}))
	equal(t, "<IfModule mod_ssl.c>\r\n<VirtualHost *:443>\r\n"+
		"\tServerName a.test\r\n\tRewriteEngine on\r\n\t"+redirectNote+"\r\n\t# RewriteCond %{HTTPS} off\r\n\t# why\r\n\t# RewriteCond %{REQUEST_URI} !^/x\r\n"+
		"\t# RewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} \\\r\n\t\t# [R]\r\n\tRewriteCond %{HTTPS} off\r\n\tRewriteRule ^/y https://b.test/ [P]\r\n\t"+
		redirectNote+"\r\n\t# Redirect / https://A.test/\r\n\tRedirect / https://elsewhere.test/\r\n"+
		"\tSSLEngine on\r\n\tSSLCertificateFile /c/fullchain.pem\r\n\tSSLCertificateKeyFile /c/privkey.pem\r\n</VirtualHost>\r\n</IfModule>\r\n",
		o.text("httpd-le-ssl.conf"))
	main := o.text("httpd.conf")
	for _, part := range []string{"Listen 80\r\n<IfModule mod_ssl.c>\r\n    Listen 443\r\n</IfModule>\r\nServerRoot", "</VirtualHost>\r\nInclude {dir}/httpd-le-ssl.conf\r\n"} {
		if !strings.Contains(main, part) {
			t.Errorf("%q is not in\n%s", part, main)
		}
	}
	// The same again is no change.
	before := o.text("httpd-le-ssl.conf") + main
	must(t, o.install("a.test", &recorder{}))
	equal(t, before, o.text("httpd-le-ssl.conf")+o.text("httpd.conf"))
}

func TestOldServersGetTheChainApart(t *testing.T) {
	o := configuration(t, "httpd.conf", "Listen 443\n<VirtualHost *:443>\nServerName a.test\nSSLEngine on\n</VirtualHost>\n")
	o.facts.version = [3]int{2, 4, 6}
	must(t, o.install("a.test", &recorder{}))
	equal(t, "Listen 443\n<VirtualHost *:443>\nServerName a.test\nSSLEngine on\nSSLCertificateFile /c/cert.pem\n"+
		"SSLCertificateKeyFile /c/privkey.pem\nSSLCertificateChainFile /c/chain.pem\n</VirtualHost>\n", o.text("httpd.conf"))
}

func TestWhichVirtualHost(t *testing.T) {
	const tls = "SSLEngine on\n</VirtualHost>\n"
	const names = "Listen 80\nListen 443\n" +
		"<VirtualHost *:80>\nServerName www.a.test\n</VirtualHost>\n" +
		"<VirtualHost *:443>\nServerName one.test\nServerAlias *.a.test\n" + tls +
		"<VirtualHost *:443>\nServerName two.test\nServerAlias a.test\n" + tls +
		"<VirtualHost *:443>\nServerName x.deep.a.test\n" + tls +
		"<VirtualHost *:443>\nServerName y.deep.a.test\nServerAlias z.deep.a.test\n" + tls
	for name, want := range map[string][]int{
		"a.test": {2}, "www.a.test": {1}, "b.a.test": {1}, "one.test": {1}, "*.a.test": {1}, "x.deep.a.test": {3},
		"*.deep.a.test": {1, 3, 4},
	} {
		if name == "*.deep.a.test" {
			want = []int{1} // the alias *.a.test covers it as well, as httpd matches
		}
		o := configuration(t, "httpd.conf", names)
		must(t, o.install(name, &recorder{}))
		c, err := load(o.ws, o.facts)
		must(t, err)
		var got []int
		for n, v := range c.vhosts {
			if c.uses(v, somePaths.Fullchain) {
				got = append(got, n)
			}
		}
		equal(t, want, got)
	}
	o := configuration(t, "httpd.conf", strings.ReplaceAll(names, "ServerAlias *.a.test\n", ""))
	must(t, o.install("*.deep.a.test", &recorder{}))
	equal(t, 2, strings.Count(o.text("httpd.conf"), "SSLCertificateFile /c/fullchain.pem"))
}

func TestNameThatNobodyHas(t *testing.T) {
	const one = "Listen 80\n<VirtualHost *:80>\nServerName first.test\n</VirtualHost>\n"
	o := configuration(t, "httpd.conf", one+"<VirtualHost _default_:80>\nServerName second.test\n</VirtualHost>\n")
	must(t, o.install("new.test", &recorder{}))
	if got := o.text("httpd-le-ssl.conf"); !strings.Contains(got, "ServerName first.test") || !strings.Contains(got, "ServerAlias new.test\n") {
		t.Errorf("the copy is\n%s", got)
	}
	must(t, o.install("new.test", &recorder{}))
	equal(t, 1, strings.Count(o.text("httpd-le-ssl.conf"), "<VirtualHost"))

	two := one + "<VirtualHost *:80>\nDocumentRoot /srv\n</VirtualHost>\n"
	o = configuration(t, "httpd.conf", two)
	wantProblem(t, o.install("new.test", &recorder{}), sdk.NotFound, "there are 2", "add ServerName new.test")
	r := &recorder{answer: "2"}
	must(t, o.install("new.test", r))
	if len(r.asked) != 1 || !strings.Contains(r.asked[0], "httpd.conf:2 (first.test, <VirtualHost *:80>)") {
		t.Errorf("asked %q", r.asked)
	}
	if got := o.text("httpd-le-ssl.conf"); !strings.Contains(got, "DocumentRoot /srv") || !strings.Contains(got, "ServerName new.test\n") {
		t.Errorf("the copy is\n%s", got)
	}
	wantProblem(t, configuration(t, "httpd.conf", "Listen 80\n").install("a.test", &recorder{}), sdk.NotFound, "a.test")
	wantProblem(t, o.install("*.none.test", &recorder{}), sdk.NotFound, "*.none.test")
}

func TestConflicts(t *testing.T) {
	o := configuration(t, "httpd.conf", "Listen 80\nListen 443\n<VirtualHost *:80 *:443>\nServerName a.test\n</VirtualHost>\n")
	wantProblem(t, o.install("a.test", &recorder{}), sdk.Conflict, "httpd.conf:3", "make two of it")

	shared := "Listen 443\n<VirtualHost *:443>\nServerName a.test\nSSLEngine on\nInclude tls.inc\n</VirtualHost>\n"
	o = configuration(t, "httpd.conf", shared, "tls.inc", "SSLCertificateFile /old.pem\nSSLCertificateKeyFile /old.key\n")
	must(t, o.install("a.test", &recorder{}))
	equal(t, "SSLCertificateFile /c/fullchain.pem\nSSLCertificateKeyFile /c/privkey.pem\n", o.text("tls.inc"))
	equal(t, strings.ReplaceAll(shared, "{dir}", o.dir), o.text("httpd.conf"))

	o = configuration(t, "httpd.conf", shared+strings.ReplaceAll(shared[11:], "a.test", "b.test"), "tls.inc", "SSLCertificateFile /old.pem\nSSLCertificateKeyFile /old.key\n")
	wantProblem(t, o.install("a.test", &recorder{}), sdk.Conflict, "tls.inc:1", "share")

	o = configuration(t, "httpd.conf", "Listen 80\n<VirtualHost *:80>\nServerName a.test\n</VirtualHost>\nInclude broken.conf\n", "broken.conf", "# x\n<IfModule x>\n")
	wantProblem(t, o.install("a.test", &recorder{}), sdk.InvalidConfig, "broken.conf:2", "not closed")
	o = configuration(t, "httpd.conf", "Listen 80\n<VirtualHost *:80>\nInclude broken.conf\n</VirtualHost>\n", "broken.conf", "</Files>\n")
	wantProblem(t, o.install("a.test", &recorder{}), sdk.InvalidConfig, "broken.conf:1")
	o = configuration(t, "httpd.conf", "Include httpd.conf\n")
	wantProblem(t, o.install("a.test", &recorder{}), sdk.InvalidConfig, "nested too deep")
}

func TestListens(t *testing.T) {
	for name, c := range map[string]struct{ have, want string }{
		"any":          {"Listen 80\n", "Listen 80\n<IfModule mod_ssl.c>\n    Listen 443\n</IfModule>\n"},
		"there":        {"Listen 80\nListen 443\n", "Listen 80\nListen 443\n"},
		"single":       {"Listen 192.0.2.1:80\nListen [2001:db8::1]:80\n", "Listen 192.0.2.1:80\nListen [2001:db8::1]:80\n<IfModule mod_ssl.c>\n    Listen 192.0.2.1:443\n    Listen [2001:db8::1]:443\n</IfModule>\n"},
		"one is there": {"Listen 192.0.2.1:80\nListen 192.0.2.2:80\nListen 192.0.2.2:443\n", "Listen 192.0.2.1:80\nListen 192.0.2.2:80\n<IfModule mod_ssl.c>\n    Listen 192.0.2.1:443\n</IfModule>\nListen 192.0.2.2:443\n"},
		"would clash":  {"Listen 80\nListen 192.0.2.2:443\n", "Listen 80\nListen 192.0.2.2:443\n"},
		"no plain one": {"Listen 8080\n", "Listen 8080\n<IfModule mod_ssl.c>\n    Listen 443\n</IfModule>\n"},
	} {
		o := configuration(t, "httpd.conf", c.have)
		config, err := load(o.ws, o.facts)
		must(t, err)
		config.ensureListen("443", "80", true)
		if got := o.text("httpd.conf"); got != c.want {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
}

// Conditions on mod_ssl are met behind what loads it only.
func TestListensBehindTheModule(t *testing.T) {
	const (
		load  = "LoadModule ssl_module mods/mod_ssl.so\n"
		block = "<IfModule mod_ssl.c>\n    Listen 443\n</IfModule>\n"
		host  = "<VirtualHost *:80>\nServerName a.test\n</VirtualHost>\n"
		site  = host + "Include {dir}/httpd-le-ssl.conf\n"
	)
	for name, c := range map[string]struct {
		have, want string
		others     []string
	}{
		"stock order": {
			have: "Listen 80\nLoadModule a_module mods/mod_a.so\n" + load + "#LoadModule b_module mods/mod_b.so\nLoadModule c_module mods/mod_c.so\n# more\n" + host,
			want: "Listen 80\nLoadModule a_module mods/mod_a.so\n" + load + "#LoadModule b_module mods/mod_b.so\nLoadModule c_module mods/mod_c.so\n" + block + "# more\n" + site,
		},
		"loaded before": {have: load + "Listen 80\n" + host, want: load + "Listen 80\n" + block + site},
		"loaded between": {
			have: "Listen 192.0.2.1:80\n" + load + "Listen 80\n" + host,
			want: "Listen 192.0.2.1:80\n" + load + "Listen 80\n" + strings.Replace(block, "    Listen 443\n", "    Listen 192.0.2.1:443\n", 1) + site,
		},
		"in an included file": {
			have: "Listen 80\nInclude mods.d/*.conf\nTimeout 60\n" + host, others: []string{"mods.d/00-ssl.conf", load},
			want: "Listen 80\nInclude mods.d/*.conf\n" + block + "Timeout 60\n" + site,
		},
		"below an included file": {
			have: "Include a.conf\nTimeout 60\n" + host, others: []string{"a.conf", "Listen 80\nInclude mods.d/*.conf\n", "mods.d/00-ssl.conf", load},
			want: "Include a.conf\n" + block + "Timeout 60\n" + site,
		},
		"both included": {
			have: "Include mods.d/*.conf\nInclude ports.conf\n" + host, others: []string{"mods.d/ssl.conf", load, "ports.conf", "Listen 80\n"},
			want: "Include mods.d/*.conf\nInclude ports.conf\n" + site,
		},
		"if it is not there": {
			have: "Listen 80\n<IfModule !ssl_module>\n" + load + "</IfModule>\n" + host,
			want: "Listen 80\n<IfModule !ssl_module>\n" + load + "</IfModule>\n" + block + site,
		},
		"if wanted": {
			have: "Listen 80\n<IfDefine !NOTLS>\n" + load + "</IfDefine>\n" + host,
			want: "Listen 80\n<IfDefine !NOTLS>\n" + load + block + "</IfDefine>\n" + site,
		},
		"loaded by us": {
			have: "Listen 80\nLoadModule a_module mods/mod_a.so\n" + host, others: []string{"mods/mod_ssl.so", "", "mods/mod_socache_shmcb.so", ""},
			want: "Listen 80\nLoadModule a_module mods/mod_a.so\n" + load + "LoadModule socache_shmcb_module mods/mod_socache_shmcb.so\n" + block + site,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := configuration(t, append([]string{"httpd.conf", c.have}, c.others...)...)
			o.facts.modules["ssl_module"] = name != "loaded by us"
			for range 2 { // the same again is no change
				must(t, o.install("a.test", &recorder{}))
				equal(t, c.want, o.text("httpd.conf"))
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	const tls = "<VirtualHost *:443>\nServerName a.test\nServerAlias www.a.test *.w.test\nSSLEngine on\n</VirtualHost>\n"
	enhance := func(o *onDisk, what, name string) string {
		t.Helper()
		e, err := o.a.apply(t.Context(), o.ws, o.facts, &intent{name: name, enhancement: what}, &recorder{})
		must(t, err)
		return e.note
	}
	o := configuration(t, "httpd.conf", "Listen 80\nListen 443\n<VirtualHost *:80>\n  ServerName a.test\n  ServerAlias www.a.test *.w.test\n</VirtualHost>\n"+tls)
	for _, name := range []string{"a.test", "www.a.test", "*.w.test"} {
		equal(t, "", enhance(o, redirect, name))
		equal(t, "the redirect to https is already present", enhance(o, redirect, name))
	}
	equal(t, "Listen 80\nListen 443\n<VirtualHost *:80>\n  RewriteEngine on\n  RewriteCond %{SERVER_NAME} \"^[^.]+\\\\.w\\\\.test$\" [OR]\n"+
		"  RewriteCond %{SERVER_NAME} =www.a.test [OR]\n  RewriteCond %{SERVER_NAME} =a.test\n"+
		"  RewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} [END,NE,R=permanent]\n  ServerName a.test\n  ServerAlias www.a.test *.w.test\n</VirtualHost>\n"+tls,
		o.text("httpd.conf"))

	for _, own := range []string{
		"Redirect permanent / https://a.test/", "RedirectMatch 301 ^/(.*)$ https://a.test/$1",
		"RewriteEngine on\nRewriteRule ^(.*)$ https://%{HTTP_HOST}$1 [R,L]",
	} {
		o = configuration(t, "httpd.conf", "Listen 80\nListen 443\n<VirtualHost *:80>\nServerName a.test\n"+own+"\n</VirtualHost>\n"+tls)
		before := o.text("httpd.conf")
		equal(t, "the redirect to https is already present", enhance(o, redirect, "a.test"))
		equal(t, before, o.text("httpd.conf"))
	}

	o = configuration(t, "httpd.conf", "Listen 80\nListen 443\n"+tls)
	enhance(o, redirect, "a.test")
	if got := o.text("le-redirect-a.test.conf"); !strings.Contains(got, "<VirtualHost *:80>\n    ServerName a.test\n    RewriteEngine on\n    RewriteCond %{SERVER_NAME} =a.test\n") {
		t.Errorf("got\n%s", got)
	}
	equal(t, "the redirect to https is already present", enhance(o, redirect, "a.test"))

	equal(t, "", enhance(o, hsts, "a.test"))
	equal(t, "the header Strict-Transport-Security is already present", enhance(o, hsts, "www.a.test"))
	if got := o.text("httpd.conf"); !strings.Contains(got, "SSLEngine on\nHeader always set Strict-Transport-Security max-age=31536000\n</VirtualHost>") {
		t.Errorf("got\n%s", got)
	}

	o = configuration(t, "httpd.conf", "Listen 80\nListen 443\n<VirtualHost *:80>\nServerName a.test\nRewriteEngine off\nRewriteRule ^/x /y\n</VirtualHost>\n"+tls)
	_, err := o.a.apply(t.Context(), o.ws, o.facts, &intent{name: "a.test", enhancement: redirect}, &recorder{})
	wantProblem(t, err, sdk.Conflict, "httpd.conf:3", "switched off")
	_, err = o.a.apply(t.Context(), o.ws, o.facts, &intent{name: "plain.test", enhancement: hsts}, &recorder{})
	wantProblem(t, err, sdk.NotFound, "by TLS")
	_, err = o.a.apply(t.Context(), o.ws, o.facts, &intent{name: "a.test", enhancement: "staple"}, &recorder{})
	wantProblem(t, err, sdk.Unsupported, "staple")
}

func TestModules(t *testing.T) {
	o := configuration(t, "httpd.conf", "Listen 80\nLoadModule a_module mods/mod_a.so\n<VirtualHost *:80>\nServerName a.test\n</VirtualHost>\n", "mods/mod_a.so", "")
	o.facts.modules = map[string]bool{}
	wantProblem(t, o.install("a.test", &recorder{}), sdk.NotInstalled, "mod_s", "install mod_s")
	put(t, filepath.Join(o.dir, "mods", "mod_ssl.so"), "", 0o644)
	put(t, filepath.Join(o.dir, "mods", "mod_socache_shmcb.so"), "", 0o644)
	must(t, o.install("a.test", &recorder{}))
	for _, part := range []string{"LoadModule ssl_module mods/mod_ssl.so\n", "LoadModule socache_shmcb_module mods/mod_socache_shmcb.so\n"} {
		equal(t, 1, strings.Count(o.text("httpd.conf"), part))
	}

	o = configuration(t, "httpd.conf", "Listen 80\nInclude mods-enabled/*.load\n<VirtualHost *:80>\nServerName a.test\n</VirtualHost>\n",
		"mods-enabled/x.load", "", "mods-available/ssl.load", "# Depends: mime socache_shmcb\nLoadModule ssl_module /m/mod_ssl.so\n",
		"mods-available/ssl.conf", "", "mods-available/mime.load", "# Depends: ssl\n", "mods-available/socache_shmcb.load", "")
	o.facts.modules = map[string]bool{}
	must(t, o.install("a.test", &recorder{}))
	var got []string
	for _, path := range o.ws.newLinks() {
		got = append(got, filepath.Base(path)+" "+o.ws.links[path])
	}
	equal(t, []string{
		"mime.load ../mods-available/mime.load", "socache_shmcb.load ../mods-available/socache_shmcb.load",
		"ssl.conf ../mods-available/ssl.conf", "ssl.load ../mods-available/ssl.load",
	}, got)
}

func TestPairs(t *testing.T) {
	_, certPEM, keyPEM := selfSigned(t, "a.test")
	_, _, other := selfSigned(t, "a.test")
	o := configuration(t, "httpd.conf", "Listen 443\n<VirtualHost *:443>\nServerName a.test\nSSLEngine on\nSSLCertificateFile cert.pem\nSSLCertificateKeyFile {dir}/key.pem\n</VirtualHost>\n",
		"cert.pem", string(certPEM), "key.pem", string(keyPEM))
	c, err := load(o.ws, o.facts)
	must(t, err)
	must(t, c.pairs())
	put(t, filepath.Join(o.dir, "key.pem"), string(other), 0o600)
	wantProblem(t, c.pairs(), sdk.ConfigTestFailed, "httpd.conf:2", "does not belong")
	put(t, filepath.Join(o.dir, "cert.pem"), "nothing", 0o600)
	wantProblem(t, c.pairs(), sdk.ConfigTestFailed, "holds no certificate")
}

// Where a virtual host is to be asked from this machine.
func TestContacts(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		want   []string
	}{
		"single addresses":      {"Listen 127.0.0.1:80\nListen [::1]:80\n<VirtualHost *:80>\n</VirtualHost>\n", []string{"127.0.0.1:80", "[::1]:80"}},
		"of another machine":    {"Listen 80\n<VirtualHost 192.0.2.77:80>\n</VirtualHost>\n", nil},
		"one of two":            {"Listen 127.0.0.1:80\nListen [::1]:80\n<VirtualHost [::1]:80>\n</VirtualHost>\n", []string{"[::1]:80"}},
		"any port":              {"Listen 127.0.0.1:80\n<VirtualHost 127.0.0.1>\n</VirtualHost>\n", []string{"127.0.0.1:80"}},
		"another port":          {"Listen 127.0.0.1:80\n<VirtualHost *:8080>\n</VirtualHost>\n", nil},
		"taken by another":      {"Listen 127.0.0.1:80\n<VirtualHost *:80>\n</VirtualHost>\n<VirtualHost 127.0.0.1:80>\n</VirtualHost>\n", nil},
		"behind a proxy":        {"Listen 127.0.0.1:80\nRemoteIPProxyProtocol On\n<VirtualHost *:80>\n</VirtualHost>\n", nil},
		"behind one, in a site": {"Listen 127.0.0.1:80\n<VirtualHost *:80>\nRemoteIPProxyProtocol On\n</VirtualHost>\n", nil},
		"with exceptions": {"Listen 127.0.0.1:80\nRemoteIPProxyProtocol On\nRemoteIPProxyProtocolExceptions 127.0.0.0/8\n<VirtualHost *:80>\n</VirtualHost>\n",
			[]string{"127.0.0.1:80"}},
	} {
		o := configuration(t, "httpd.conf", c.config)
		config, err := load(o.ws, o.facts)
		must(t, err)
		if got := config.contacts(config.vhosts[0], "80"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// A socket for any address is asked on the loopback of each family that it has.
	for listen, want := range map[string]string{"80": "127.0.0.1:80", "0.0.0.0:80": "127.0.0.1:80"} {
		o := configuration(t, "httpd.conf", "Listen "+listen+"\n<VirtualHost *:80>\n</VirtualHost>\n")
		config, err := load(o.ws, o.facts)
		must(t, err)
		got := config.contacts(config.vhosts[0], "80")
		if !slices.Contains(got, want) || listen == "0.0.0.0:80" && len(got) != 1 {
			t.Errorf("Listen %s: %q", listen, got)
		}
	}
}
