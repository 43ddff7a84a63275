package main

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// preview gives the diff of a dry run, which must not touch anything.
func preview(t *testing.T, dir string, s settings, d sdk.Deployment) sdk.Result {
	t.Helper()
	before := look(t, dir)
	f := configured(t, s, t.TempDir())
	d.DryRun = true
	r := &recorder{}
	must(t, f.Deploy(during(t.Context(), d.Lineage, "dry"), d, r))
	c, err := f.Save(during(t.Context(), d.Lineage, "save"), sdk.SaveRequest{Title: "nothing"}, r)
	must(t, err)
	equal(t, sdk.Checkpoint{}, c)
	equal(t, before, look(t, dir))
	equal(t, 1, len(r.results))
	return r.results[0]
}

func TestDryRun(t *testing.T) {
	dir := t.TempDir()
	s := allIn(dir)
	first, second := certificate(t, "a.test"), certificate(t, "a.test")

	result := preview(t, dir, s, first)
	equal(t, true, result.Changed)
	for _, want := range []string{
		"--- /dev/null\n+++ " + s.Cert + "\n@@ -0,0 +1,",
		"\n+-----BEGIN CERTIFICATE-----\n",
		"+++ " + s.Key + "\nprivate key: added\n",
	} {
		if !strings.Contains(result.Diff, want) {
			t.Errorf("no %q in\n%s", want, result.Diff)
		}
	}
	deployed(t, configured(t, s, t.TempDir()), first)
	result = preview(t, dir, s, first)
	equal(t, sdk.Result{Subject: "a.test"}, result)

	s.KeyMode = "0640"
	result = preview(t, dir, s, second)
	for _, want := range []string{
		"--- " + s.Key + "\n+++ " + s.Key + "\nprivate key: changed\nmode: 0600 to 0640\n",
		"--- " + s.Chain + "\n+++ " + s.Chain + "\n@@ ",
	} {
		if !strings.Contains(result.Diff, want) {
			t.Errorf("no %q in\n%s", want, result.Diff)
		}
	}
	noSecrets(t, result.Diff, first.KeyPEM, second.KeyPEM)
}

// Whatever is in a file that is to be replaced, only certificates are shown.
func TestDiffNeverShowsKeys(t *testing.T) {
	dir := t.TempDir()
	s := settings{Cert: filepath.Join(dir, "cert.pem"), Combined: filepath.Join(dir, "combined.pem")}
	d, old := certificate(t, "a.test"), certificate(t, "a.test")
	block, _ := pem.Decode(old.KeyPEM)
	for name, was := range map[string]string{
		"a key where a certificate is to be": string(old.KeyPEM) + string(old.LeafPEM),
		"a key of another kind":              string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: block.Bytes})),
		"a key in a broken file":             "-----BEGIN CERTIFICATE-----\n" + strings.SplitAfterN(string(old.KeyPEM), "\n", 2)[1],
		"text":                               "secret\n" + strings.SplitN(string(old.KeyPEM), "\n", 3)[1],
	} {
		t.Run(name, func(t *testing.T) {
			put(t, s.Cert, was, 0o644)
			put(t, s.Combined, was, 0o600)
			noSecrets(t, preview(t, dir, s, d).Diff, d.KeyPEM, old.KeyPEM)
		})
	}
	put(t, s.Combined, string(d.LeafPEM)+string(d.ChainPEM)+string(d.KeyPEM)+"# a note\n", 0o600)
	must(t, os.Remove(s.Cert))
	if diff := preview(t, dir, s, d).Diff; !strings.Contains(diff, "content: changed outside of certificates and keys") {
		t.Error(diff)
	}
}

func noSecrets(t *testing.T, text string, keys ...[]byte) {
	t.Helper()
	for _, k := range keys {
		for line := range strings.SplitSeq(string(k), "\n") {
			if len(line) > 8 && !strings.HasPrefix(line, "-----") && strings.Contains(text, line) {
				t.Fatalf("a line of a private key is in\n%s", text)
			}
		}
	}
	if strings.Contains(text, "secret") {
		t.Errorf("other content is in\n%s", text)
	}
}
