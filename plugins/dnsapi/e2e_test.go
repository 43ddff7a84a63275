package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// The whole program, installed as a user would have it, against BIND, PowerDNS and a
// CA that asks them.
func TestCertificates(t *testing.T) {
	prefix := install(t)
	dir := scripts(t)
	named, power := startServer(t, bind), startServer(t, powerDNS)
	ca, err := testca.Start(t.Context(), testca.Options{
		NonceReject: 5, Zones: map[string]string{zoneOne: named.addr, zoneTwo: power.addr},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	// Two accounts of one script, and another script: three instances in one
	// certificate. BIND's script removes all values of a name, which the base name
	// and the wildcard share.
	t.Run("two accounts", func(t *testing.T) {
		p := newProgram(t, prefix, ca)
		p.obtain(t, nil,
			"--set", "dns-a.plugin=dnsapi", "--set", "dns-a.dir="+dir, "--set", "dns-a.script=bindzone", "--set", "dns-a.wait=0s",
			"--set", "dns-a.env.BINDZONE_SERVER="+named.host(), "--set", "dns-a.env.BINDZONE_PORT="+named.port(),
			"--set", "dns-a.env.BINDZONE_KEY="+named.keyFile(zoneOne),
			"--set", "dns-b.plugin=dnsapi", "--set", "dns-b.dir="+dir, "--set", "dns-b.script=pdnsrest", "--set", "dns-b.wait=0s",
			"--set", "dns-b.env.PDNSREST_URL="+power.api, "--set", "dns-b.env.PDNSREST_KEY=@"+put(t, p.dir, "key", power.apiKey+"\n"),
			"--set", "dns-c.plugin=dnsapi", "--set", "dns-c.dir="+dir, "--set", "dns-c.script=bindzone", "--set", "dns-c.wait=0s",
			"--set", "dns-c.env.BINDZONE_SERVER="+named.host(), "--set", "dns-c.env.BINDZONE_PORT="+named.port(),
			"--set", "dns-c.env.BINDZONE_KEY="+named.keyFile(zoneOne),
			"-a", "dns-a", "-d", zoneOne, "-d", "*."+zoneOne, "-a", "dns-b", "-d", zoneTwo, "-d", "*."+zoneTwo, "-a", "dns-c", "-d", "www."+zoneOne)
		p.has(t, "*."+zoneOne, "*."+zoneTwo, zoneOne, zoneTwo, "www."+zoneOne)
		for _, name := range []string{zoneOne, "www." + zoneOne} {
			named.holds(t, "_acme-challenge."+name)
		}
		power.holds(t, "_acme-challenge."+zoneTwo)
		for instance, word := range map[string]string{"dns-a": "BINDZONE_KEY", "dns-b": "PDNSREST_KEY", "dns-c": "BINDZONE_KEY"} {
			if text := p.read(t, "state/plugins/"+instance+"/account.conf"); !strings.Contains(text, word) {
				t.Errorf("%s keeps %q", instance, text)
			}
		}
	})
	// A secret given as it is is shown nowhere, and kept in the account's file alone.
	// That is enough to renew without it.
	t.Run("a literal", func(t *testing.T) {
		p := newProgram(t, prefix, ca)
		out := p.obtain(t, nil, "-a", "dnsapi", "--set", "dnsapi.dir="+dir, "--set", "dnsapi.script=pdnsrest", "--set", "dnsapi.wait=0s",
			"--set", "dnsapi.env.PDNSREST_URL="+power.api, "--set", "dnsapi.env.PDNSREST_KEY="+power.apiKey,
			"--set", "dnsapi.env.DEBUG=3", "--verbose", "-d", zoneTwo, "-d", "*."+zoneTwo)
		if strings.Contains(out, power.apiKey) || !strings.Contains(out, "asked for the zones") {
			t.Errorf("the secret is shown, or nothing:\n%s", out)
		}
		first := p.has(t, "*."+zoneTwo, zoneTwo)
		p.keeps(t, power.apiKey)
		if out, err := p.run(t, nil, "renew", "-n", "--force-renewal"); err != nil || strings.Contains(out, power.apiKey) {
			t.Errorf("renew: %v\n%s", err, out)
		}
		if second := p.has(t, "*."+zoneTwo, zoneTwo); second.SerialNumber.Cmp(first.SerialNumber) == 0 {
			t.Error("nothing was renewed")
		}
		power.holds(t, "_acme-challenge."+zoneTwo)
	})
	// acme.sh's way: variables of the shell, which the script keeps for later.
	t.Run("exported variables", func(t *testing.T) {
		p := newProgram(t, prefix, ca)
		exported := []string{"BINDZONE_SERVER=" + named.host(), "BINDZONE_PORT=" + named.port(), "BINDZONE_KEY=" + named.keyFile(zoneOne)}
		p.obtain(t, exported, "-a", "dnsapi", "--set", "dnsapi.dir="+dir, "--set", "dnsapi.script=dns_bindzone", "--set", "dnsapi.wait=0s", "-d", zoneOne)
		if out, err := p.run(t, nil, "renew", "-n", "--force-renewal"); err != nil {
			t.Errorf("renew: %v\n%s", err, out)
		}
		named.holds(t, "_acme-challenge."+zoneOne)
	})
	t.Run("configuration", func(t *testing.T) {
		p := newProgram(t, prefix, ca)
		p.configure(t, `
instances:
  - name: dns-b
    plugin: dnsapi
    settings:
      dir: `+dir+`
      script: dns_pdnsrest
      wait: 0s
      env: {PDNSREST_URL: "`+power.api+`", PDNSREST_KEY: {env: THE_KEY}}
certificates:
  - {name: cert, names: [two.test], authenticate: [{with: [dns-b]}]}
`)
		key := []string{"THE_KEY=" + power.apiKey}
		for _, args := range [][]string{{"config", "check"}, {"run", "-n"}} {
			if out, err := p.run(t, key, args...); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
		p.has(t, zoneTwo)
	})
	t.Run("wrong settings", func(t *testing.T) {
		p := newProgram(t, prefix, ca)
		out, err := p.run(t, nil, "certonly", "-n", "-a", "dnsapi", "--set", "dnsapi.dir="+dir, "--set", "dnsapi.script=bindzone",
			"--set", "dnsapi.env.BINDZONE_SERVER=127.0.0.1", "-d", zoneOne)
		for _, words := range []string{"dns_bindzone could not add the TXT record of _acme-challenge.one.test", "You did not set BINDZONE_KEY.", "hint: "} {
			if err == nil || !strings.Contains(out, words) {
				t.Errorf("%v, and does not say %q:\n%s", err, words, out)
			}
		}
	})
	// What was added by a run that is killed, the next run removes: by the settings
	// that were given as they are, which it is not given again.
	t.Run("killed", func(t *testing.T) {
		p := newProgram(t, prefix, ca)
		own := scripts(t)
		put(t, own, "dns_slow.sh", `. "`+own+`/dns_bindzone.sh"
dns_slow_add() { dns_bindzone_add "$@" && : >"$SLOW_MARK" && sleep 600; }
dns_slow_rm() { dns_bindzone_rm "$@"; }
`)
		mark := filepath.Join(p.dir, "mark")
		p.configure(t, "")
		cmd := p.command(t, nil, "certonly", "-n", "-a", "dnsapi", "--set", "dnsapi.dir="+own, "--set", "dnsapi.script=slow",
			"--set", "dnsapi.env.BINDZONE_SERVER="+named.host(), "--set", "dnsapi.env.BINDZONE_PORT="+named.port(),
			"--set", "dnsapi.env.BINDZONE_KEY="+named.keyFile(zoneOne), "--set", "dnsapi.env.SLOW_MARK="+mark, "-d", zoneOne)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		deadline, again := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
		defer deadline.Stop()
		defer again.Stop()
		for {
			if _, err := os.Stat(mark); err == nil {
				break
			}
			select {
			case <-again.C:
			case <-deadline.C:
				t.Error("the script does not get there")
			}
			if t.Failed() {
				break
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if got := named.ask(t, "tcp", "_acme-challenge."+zoneOne); len(got) != 1 {
			t.Errorf("it was killed too early or too late: %q", got)
		}
		out, err := p.run(t, nil, "renew", "-n")
		if err != nil || !strings.Contains(out, "cleaning up after an interrupted run") {
			t.Errorf("%v\n%s", err, out)
		}
		named.holds(t, "_acme-challenge."+zoneOne)
		if left, _ := filepath.Glob(filepath.Join(p.dir, "state", "journal", "*")); len(left) > 0 {
			t.Errorf("unfinished: %v\n%s", left, out)
		}
	})
	t.Run("describe", func(t *testing.T) {
		p := newProgram(t, prefix, ca)
		out, err := p.run(t, nil, "plugins", "describe", "dnsapi", "--set", "dnsapi.dir="+dir, "--set", "dnsapi.script=dns_bindzone", "--json")
		var description struct {
			Settings []struct{ Name, Doc string }
		}
		if err != nil || json.Unmarshal([]byte(out), &description) != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var names []string
		for _, s := range description.Settings {
			if strings.HasPrefix(s.Name, "env.") {
				names = append(names, s.Name)
			}
		}
		if want := []string{"env.BINDZONE_SERVER", "env.BINDZONE_PORT", "env.BINDZONE_KEY", "env.BINDZONE_OPT"}; !slices.Equal(names, want) {
			t.Errorf("the variables are %q, want %q", names, want)
		}
		out, err = p.run(t, nil, "plugins", "describe", "dnsapi", "--set", "dnsapi.dir="+dir, "--set", "dnsapi.script=dns_bindzon")
		if err == nil || !strings.Contains(out, "there is no dns_bindzon.sh in "+dir) || !strings.Contains(out, "dns_bindzone") {
			t.Errorf("%v\n%s", err, out)
		}
		if left, _ := os.ReadDir(filepath.Join(p.dir, "state")); len(left) > 0 {
			t.Errorf("describe leaves %v", left)
		}
	})
}

// install builds what these tests run, as it is released, into the layout of an
// installed tree.
func install(t *testing.T) string {
	t.Helper()
	// Plugins that others may write to are not run. The mask is that of the
	// whole process, and no test of this package runs beside this one.
	defer syscall.Umask(syscall.Umask(0o022))
	prefix := t.TempDir()
	build(t, filepath.Join(prefix, "libexec/certwright/plugins/certwright-plugin-dnsapi"), ".")
	build(t, filepath.Join(prefix, "bin/certwright"), "../../cmd/certwright")
	return prefix
}

func build(t *testing.T, binary, of string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, of)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// program is certwright with a state of its own.
type program struct {
	prefix, dir string
	ca          *testca.CA
}

func newProgram(t *testing.T, prefix string, ca *testca.CA) program {
	t.Helper()
	p := program{prefix: prefix, dir: t.TempDir(), ca: ca}
	plugintest.Left(t, p.dir, "key", "state/plugins/*/account.conf")
	return p
}

// configure writes the configuration with what all of them have.
func (p program) configure(t *testing.T, text string) {
	t.Helper()
	etc := filepath.Join(p.dir, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	roots := put(t, p.dir, "ca.pem", string(p.ca.TLSRoots()))
	put(t, etc, "certwright.yaml", "server: "+p.ca.DirectoryURL()+"\nca_bundle: "+roots+"\nagree_tos: true\n"+text)
}

// run runs certwright and gives all that it printed.
func (p program) run(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(p.dir, "etc")); err != nil {
		p.configure(t, "")
	}
	out, err := p.command(t, env, args...).CombinedOutput()
	return plugintest.Printed(t, out), err
}

func (p program) command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(p.prefix, "bin", "certwright"),
		append(args, "--config-dir", filepath.Join(p.dir, "etc"), "--state-dir", filepath.Join(p.dir, "state"))...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// obtain runs certonly to its good end.
func (p program) obtain(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, err := p.run(t, env, append([]string{"certonly", "-n", "--cert-name", "cert"}, args...)...)
	if err != nil {
		t.Fatalf("certonly: %v\n%s", err, out)
	}
	return out
}

func (p program) read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, path))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// keeps fails the test if the state holds a secret elsewhere than in the account's
// file, or there where others could read it, or has left anything unfinished.
func (p program) keeps(t *testing.T, secret string) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(p.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		encoded := base64.StdEncoding.EncodeToString([]byte(secret))
		if err == nil && (strings.Contains(string(text), secret) || strings.Contains(string(text), encoded)) {
			info, err := d.Info()
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v (%v)", path, info.Mode(), err)
			}
			files = append(files, filepath.Base(path))
		}
		return err
	})
	if err != nil || !slices.Equal(files, []string{"account.conf"}) {
		t.Errorf("the secret is in %q (%v)", files, err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "state", "journal", "*")); len(left) > 0 {
		t.Errorf("unfinished: %v", left)
	}
}

// has gives the leaf, which is for these names and of the CA.
func (p program) has(t *testing.T, names ...string) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode([]byte(p.read(t, "state/live/cert/fullchain.pem")))
	if block == nil {
		t.Fatal("there is no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.ca.IssuerRoots()) || !intermediates.AppendCertsFromPEM(rest) {
		t.Fatal("no chain")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		t.Error(err)
	}
	if got := slices.Sorted(slices.Values(leaf.DNSNames)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("the certificate is for %q, want %q", got, names)
	}
	return leaf
}
