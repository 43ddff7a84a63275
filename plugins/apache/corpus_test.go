package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// loaded are the modules that the corpus wants, beside those of every server.
var loaded = []string{
	"mime", "env", "setenvif", "headers", "expires", "filter", "deflate", "rewrite", "proxy", "proxy_http", "slotmem_shm", "lbmethod_byrequests",
	"proxy_balancer", "auth_basic", "auth_digest", "authn_core", "authn_file", "authz_user", "authz_groupfile", "access_compat", "negotiation",
	"autoindex", "include", "cgid", "actions", "status", "userdir", "vhost_alias", "reqtimeout", "macro", "lua", "dav", "mime_magic", "substitute",
	"allowmethods", "remoteip", "http2", "session", "cache", "cache_disk", "ext_filter", "ratelimit", "brotli", "speling", "proxy_fcgi",
}

// accepts asks httpd.
func accepts(t *testing.T, s settings) (bool, string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), httpd, "-f", s.Config, "-t").CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err == nil, string(out)
}

// stillAccepted deploys into a file of the corpus, and takes it back.
func stillAccepted(t *testing.T, text string, tls bool) {
	dir := workDir(t)
	s := &server{t: t, dir: dir, http: 8080, https: 8443}
	for _, sub := range []string{"run", "www", "conf", "conf.d"} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	_, certPEM, keyPEM := selfSigned(t, "old.test")
	put(t, filepath.Join(dir, "conf", "cert.pem"), string(certPEM), 0o644)
	put(t, filepath.Join(dir, "conf", "key.pem"), string(keyPEM), 0o600)
	put(t, filepath.Join(dir, "conf", "magic"), "0 string x text/plain\n", 0o644)
	put(t, filepath.Join(dir, "conf.d", "snippet.inc"), "# nothing\n", 0o644)
	var config strings.Builder
	config.WriteString(s.fill(base))
	for _, module := range loaded {
		config.WriteString("LoadModule " + module + "_module " + modules + "/mod_" + module + ".so\n")
	}
	if tls {
		config.WriteString(s.fill("LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so\nLoadModule ssl_module {modules}/mod_ssl.so\nListen 8443\n"))
	}
	config.WriteString("Include corpus.conf\n")
	s.config = filepath.Join(dir, "httpd.conf")
	put(t, s.config, config.String(), 0o644)
	text = strings.NewReplacer("@CERT@", filepath.Join(dir, "conf", "cert.pem"), "@KEY@", filepath.Join(dir, "conf", "key.pem")).Replace(text)
	put(t, filepath.Join(dir, "corpus.conf"), text, 0o640)
	set := settings{Ctl: httpd, Config: s.config, HTTPPort: 8080, HTTPSPort: 8443}
	before := s.look()
	a := instance(t, set, filepath.Join(t.TempDir(), "state"))
	c := newCertificate(t, "a.test")
	r := &recorder{}
	ok, words := accepts(t, set)
	_, err := stage(t.Context(), a, c, "", r)
	if strings.HasPrefix(text, bom) {
		// httpd itself takes the mark for a part of the first word.
		wantProblem(t, err, sdk.ConfigTestFailed, "corpus.conf")
		equal(t, before, s.look())
		return
	}
	if !ok {
		t.Fatalf("httpd does not accept it as it is: %s", words)
	}
	if !strings.Contains(strings.ToLower(text), "<virtualhost") {
		wantProblem(t, err, sdk.NotFound, "a.test", "ServerName")
		equal(t, before, s.look())
		return
	}
	must(t, err)
	if ok, words = accepts(t, set); !ok {
		t.Errorf("httpd does not accept it any more: %s", words)
	}
	config2, err := a.read(t.Context())
	must(t, err)
	if v := config2.best("a.test", "8443"); v == nil || v.engine != "on" || !config2.uses(v, c.deployment("a.test").ConfigPaths.Fullchain) {
		t.Errorf("the certificate is nowhere: %+v", v)
	}
	after := s.look()
	r = &recorder{}
	must(t, a.Deploy(during(t.Context(), "a.test", "again"), c.deployment("a.test"), r))
	if r.result(t, "a.test").Changed {
		t.Error("to deploy again is a change")
	}
	_, err = a.Save(during(t.Context(), "a.test", "save-again"), sdk.SaveRequest{Title: "again"}, r)
	must(t, err)
	equal(t, after, s.look())
	must(t, a.Rollback(during(t.Context(), "a.test", "rollback"), 1, r))
	equal(t, before, s.look())
}

// inCorpus runs for some files of the corpus.
func inCorpus(t *testing.T, wanted func(name string) bool) {
	for name, text := range corpus(t) {
		if !wanted(name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stillAccepted(t, text, strings.Contains(text, "@CERT@"))
		})
	}
}

// A few; the slow tests have them all.
func TestCorpusIsAccepted(t *testing.T) {
	some := []string{"02-comments-only.conf", "08-addresses.conf", "09-ssl-vhost.conf", "10-ssl-duplicates.conf", "12-ifdefine.conf", "22-rewrite-everything.conf", "34-macro.conf", "72-bom-crlf.conf"}
	inCorpus(t, func(name string) bool { return slices.Contains(some, name) })
}
