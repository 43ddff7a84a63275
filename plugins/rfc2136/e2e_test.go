package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// The whole program, installed as a user would have it, against BIND and a CA
// that asks BIND.
func TestCertificates(t *testing.T) {
	prefix := install(t)
	s := startReal(t, bind)
	ca, err := testca.Start(t.Context(), testca.Options{
		NonceReject: 5, Zones: map[string]string{zoneOne: s.addr, zoneTwo: s.addr},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("wildcard and base name", func(t *testing.T) {
		p := newProgram(t, prefix, t.TempDir(), ca, s)
		got := p.certificate(t, zoneOne,
			"-a", "rfc2136", "--set", "rfc2136.sandbox=required", "--set", "rfc2136.server="+s.addr, "--set", "rfc2136.tsig_name=hmac-sha384",
			"--set", "rfc2136.tsig_algorithm=hmac-sha384", "--set", "rfc2136.tsig_secret=@"+p.secret(t, "hmac-sha384"),
			"-d", zoneOne, "-d", "*."+zoneOne)
		want(t, got, "*."+zoneOne, zoneOne)
		s.holds(t, "_acme-challenge."+zoneOne)
	})
	// The record has a label of the account's own. It is chosen only if the user
	// says so.
	t.Run("dns-account-01", func(t *testing.T) {
		p := newProgram(t, prefix, t.TempDir(), ca, s)
		args := []string{
			"-a", "rfc2136", "--set", "rfc2136.sandbox=required", "--set", "rfc2136.server=" + s.addr,
			"--set", "rfc2136.tsig_name=hmac-sha256", "--set", "rfc2136.tsig_secret=@" + p.secret(t, "hmac-sha256"),
			"-d", "account." + zoneOne, "-d", "*.account." + zoneOne,
		}
		for _, c := range []struct{ preferred, puts string }{
			{"dns-account-01", "rfc2136 puts dns-account-01 for "},
			{"dns-account,dns", "rfc2136 puts dns-account-01 for "},
			{"", "rfc2136 puts dns-01 for "},
		} {
			asked := slices.Clone(args)
			if c.preferred != "" {
				asked = append(asked, "--preferred-challenges", c.preferred)
			}
			out, err := p.run(t, append(asked, "--cert-name", "account"+strings.ReplaceAll(c.preferred, ",", "-"))...)
			if err != nil || !strings.Contains(out, c.puts) {
				t.Errorf("%q: %v, and this is not said: %s\n%s", c.preferred, err, c.puts, out)
			}
		}
		s.holds(t, "_acme-challenge.account."+zoneOne)
	})
	// Two instances with a key and a zone each; one name of the first zone is
	// delegated to the second, where it shares a record set with the zone itself.
	t.Run("two zones and a delegated name", func(t *testing.T) {
		p := newProgram(t, prefix, t.TempDir(), ca, s)
		got := p.certificate(t, zoneTwo,
			"--set", "dns-a.plugin=rfc2136", "--set", "dns-a.sandbox=required", "--set", "dns-a.server="+s.addr,
			"--set", "dns-a.tsig_name=hmac-sha256", "--set", "dns-a.tsig_secret=@"+p.secret(t, "hmac-sha256"),
			"--set", "dns-b.plugin=rfc2136", "--set", "dns-b.sandbox=required", "--set", "dns-b.server="+s.addr, "--set", "dns-b.protocol=tcp",
			"--set", "dns-b.tsig_name="+otherKey, "--set", "dns-b.tsig_secret=@"+p.secret(t, otherKey),
			"-a", "dns-b", "-d", zoneTwo, "-d", delegated, "-a", "dns-a", "-d", zoneOne, "-d", "*."+zoneOne)
		want(t, got, "*."+zoneOne, delegated, zoneOne, zoneTwo)
		for _, zone := range []string{zoneOne, zoneTwo} {
			s.holds(t, "_acme-challenge."+zone)
		}
	})
	t.Run("a key that may not", func(t *testing.T) {
		p := newProgram(t, prefix, t.TempDir(), ca, s)
		out, err := p.run(t, "-a", "rfc2136", "--set", "rfc2136.sandbox=required", "--set", "rfc2136.server="+s.addr,
			"--set", "rfc2136.tsig_name="+otherKey, "--set", "rfc2136.tsig_secret=@"+p.secret(t, otherKey), "-d", zoneOne)
		if err == nil || !strings.Contains(out, "REFUSED") || !strings.Contains(out, "hint: allow the key "+otherKey) {
			t.Errorf("%v\n%s", err, out)
		}
		if strings.Contains(out, s.keys[otherKey]) {
			t.Error("the secret is shown")
		}
		s.holds(t, "_acme-challenge."+zoneOne)
	})
}

// install gives the directory that the built tree is installed in.
func install(t *testing.T) string {
	t.Helper()
	// Plugins that others may write to are not run. The mask is that of the
	// whole process, and no test of this package runs beside this one.
	defer syscall.Umask(syscall.Umask(0o022))
	prefix := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", "../..", "install", "DESTDIR="+prefix, "PREFIX=")
	for _, entry := range os.Environ() { // those of the make that runs this
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	return prefix
}

// program is certwright with a state of its own.
type program struct {
	prefix, dir string
	ca          *testca.CA
	server      *realServer
}

func newProgram(t *testing.T, prefix, dir string, ca *testca.CA, s *realServer) program {
	t.Helper()
	plugintest.Left(t, dir, "*.tsig")
	return program{prefix: prefix, dir: dir, ca: ca, server: s}
}

// secret writes a key's secret into a file, as a user does.
func (p program) secret(t *testing.T, keyName string) string {
	t.Helper()
	path := filepath.Join(p.dir, keyName+".tsig")
	if err := os.WriteFile(path, []byte(p.server.keys[keyName]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs certonly and gives all that it printed.
func (p program) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	bundle, etc := filepath.Join(p.dir, "ca.pem"), filepath.Join(p.dir, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundle, p.ca.TLSRoots(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(p.prefix, "bin", "certwright"), append([]string{
		"certonly", "-n", "--agree-tos", "--server", p.ca.DirectoryURL(), "--ca-bundle", bundle,
		"--config-dir", etc, "--state-dir", filepath.Join(p.dir, "state"),
		"--set", "dns.resolvers=[" + p.ca.DNS().Addr() + "]", "--set", "dns.port=" + p.server.port(),
	}, args...)...)
	out, err := cmd.CombinedOutput()
	return plugintest.Printed(t, out), err
}

// certificate gives the leaf that certonly obtains.
func (p program) certificate(t *testing.T, lineage string, args ...string) *x509.Certificate {
	t.Helper()
	out, err := p.run(t, append([]string{"--cert-name", lineage}, args...)...)
	if err != nil {
		t.Fatalf("certonly: %v\n%s", err, out)
	}
	chain, err := os.ReadFile(filepath.Join(p.dir, "state", "live", lineage, "fullchain.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(chain)
	if block == nil {
		t.Fatalf("no certificate in %s", chain)
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
	return leaf
}

func want(t *testing.T, leaf *x509.Certificate, names ...string) {
	t.Helper()
	if got := slices.Sorted(slices.Values(leaf.DNSNames)); !slices.Equal(got, names) {
		t.Errorf("the certificate is for %q, want %q", got, names)
	}
}
