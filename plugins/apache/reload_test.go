package main

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestWhichProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	started := func(name string) int {
		path := filepath.Join(dir, name)
		must(t, exec.CommandContext(t.Context(), "cp", "/bin/sleep", path).Run())
		cmd := exec.CommandContext(t.Context(), path, "600")
		must(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return cmd.Process.Pid
	}
	for content, want := range map[string]bool{
		"": false, "x\n": false, "0\n": false, "1\n": false, "-5\n": false, "2147483646\n": false,
		// The number belongs to somebody else by now.
		fmt.Sprintln(started("other")):     false,
		fmt.Sprintln(started("httpd.own")): true,
	} {
		path := filepath.Join(dir, "pid")
		put(t, path, content, 0o644)
		if _, running := process(path); running != want {
			t.Errorf("%q is running: %v", content, running)
		}
	}
	if _, running := process(filepath.Join(dir, "none")); running {
		t.Error("a file that is not there")
	}
}

// httpd would end if it were told to take a port that somebody has.
func TestPortThatIsTaken(t *testing.T) {
	t.Parallel()
	s := plain(t, sites, "conf.d/b.conf", otherSite)
	l, err := net.Listen("tcp", s.addr4(s.https))
	must(t, err)
	defer func() { _ = l.Close() }()
	before := s.look()
	a := instance(t, s.settings(), t.TempDir())
	_, err = stage(t.Context(), a, newCertificate(t, "b.test"), "", &recorder{})
	wantProblem(t, err, sdk.Conflict, s.addr4(s.https), "another program")
	equal(t, before, s.look())
}

// A key that does not belong to its certificate ends httpd, so it is not told.
func TestPairThatWouldEndTheServer(t *testing.T) {
	t.Parallel()
	s, old := mixedServer(t, otherSite)
	a := instance(t, s.settings(), t.TempDir())
	c := newCertificate(t, "a.test")
	saved, err := stage(t.Context(), a, c, "", &recorder{})
	must(t, err)
	if saved.ID == "" {
		t.Fatal("nothing was changed")
	}
	_, _, keyPEM := selfSigned(t, "a.test")
	put(t, filepath.Join(c.dir, "0001", "privkey.pem"), string(keyPEM), 0o600)
	if ok, words := accepts(t, s.settings()); !ok {
		t.Fatalf("httpd sees it by itself: %s", words)
	}
	for _, err := range []error{
		a.ConfigTest(during(t.Context(), "a.test", "test"), &recorder{}), a.Restart(during(t.Context(), "a.test", "restart"), &recorder{}),
	} {
		wantProblem(t, err, sdk.ConfigTestFailed, "does not belong", "httpd.conf:")
	}
	s.serves("a.test", old)
	must(t, a.Rollback(during(t.Context(), "a.test", "rollback"), 1, &recorder{}))
	must(t, a.Restart(during(t.Context(), "a.test", "restart-back"), &recorder{}))
	s.serves("a.test", old)
}

func TestSettingsAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "httpd.conf")
	put(t, file, "", 0o644)
	good := settings{Ctl: file, Config: file, ServerRoot: dir, HTTPPort: 80, HTTPSPort: 443}
	must(t, good.parse())
	for setting, change := range map[string]func(*settings){
		"ctl":         func(s *settings) { s.Ctl = dir },
		"config":      func(s *settings) { s.Config = "httpd.conf" },
		"server_root": func(s *settings) { s.ServerRoot = file },
		"http_port":   func(s *settings) { s.HTTPPort = 0 },
		"https_port":  func(s *settings) { s.HTTPSPort = 80 },
	} {
		s := good
		change(&s)
		err := s.parse()
		wantProblem(t, err, sdk.InvalidConfig, "setting "+setting)
		if p := sdk.ProblemOf(err); p.Subject != setting {
			t.Errorf("%s: the subject is %q", setting, p.Subject)
		}
	}
	gone := good
	gone.Ctl = filepath.Join(dir, "none")
	wantProblem(t, gone.parse(), sdk.InvalidConfig, "does not exist", "apache2ctl")
}

func TestWhatHTTPDSays(t *testing.T) {
	const built = "Server version: Apache/2.4.57 (Red Hat)\nServer built:   x\n -D HTTPD_ROOT=\"/etc/httpd\"\n -D SERVER_CONFIG_FILE=\"conf/httpd.conf\"\n"
	const dump = "ServerRoot: \"/etc/httpd\"\nMain DocumentRoot: \"/var/www/html\"\nPidFile: \"/run/httpd/httpd.pid\"\n" +
		"Define: DUMP_RUN_CFG\nDefine: A\nDefine: B=two words=x\nUser: name=\"apache\" id=48\nLoaded Modules:\n core_module (static)\n ssl_module (shared)\n"
	f, err := settings{Config: standardConfig}.understand(built, dump)
	must(t, err)
	equal(t, []any{[3]int{2, 4, 57}, "/etc/httpd", "/etc/httpd/conf/httpd.conf", "/run/httpd/httpd.pid"}, []any{f.version, f.serverRoot, f.configFile, f.pidFile})
	equal(t, map[string]string{"A": "", "B": "two words=x"}, f.defines)
	equal(t, map[string]bool{"core_module": true, "ssl_module": true}, f.modules)
	_, err = settings{}.understand(strings.Replace(built, "2.4.57", "2.2.34", 1), dump)
	wantProblem(t, err, sdk.Unsupported, "2.2.34")
	_, err = settings{}.understand("what?", dump)
	wantProblem(t, err, sdk.Unsupported, "what?")
}
