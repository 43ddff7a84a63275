package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
)

// hookCase is one line of acme2certifier's rules: which hook fails, whether that
// is allowed ("" is the default), and whether the CA issues.
type hookCase struct {
	fails, rule string
	refused     bool
}

func (c hookCase) String() string {
	text := "ok"
	if c.fails != "" {
		text = c.fails + "-fails-" + strings.ReplaceAll("by-default-"+c.rule, "by-default-a", "a")
		text = strings.TrimSuffix(strings.ReplaceAll(text, "by-default-d", "d"), "-")
	}
	if c.refused {
		text += "-refused"
	}
	return text
}

// hookOutcome is what comes of it.
type hookOutcome struct {
	calls  string
	exit   int
	issued bool
}

// want is what acme2certifier's documentation says, and for certbot's commands
// what certbot does where nothing is said.
func (c hookCase) want(kind string) hookOutcome {
	allowed := c.rule == "allow" || c.rule == "" && (c.fails == "post" || kind == "shell")
	if c.fails == "pre" && !allowed {
		return hookOutcome{"pre", 1, false}
	}
	if c.refused {
		return hookOutcome{"pre post", 1, false}
	}
	out := hookOutcome{"pre success post", 0, true}
	if c.fails != "" && !allowed {
		out.exit = 3 // the certificate is there
		if c.fails == "success" && kind != "shell" {
			out.calls = "pre success" // certbot's post is about the run, and always comes
		}
	}
	return out
}

// hookCases is the whole matrix.
func hookCases() []hookCase {
	var out []hookCase
	for _, refused := range []bool{false, true} {
		out = append(out, hookCase{refused: refused})
		for _, fails := range []string{"pre", "success", "post"} {
			for _, rule := range []string{"", "allow", "deny"} {
				out = append(out, hookCase{fails, rule, refused})
			}
		}
	}
	return out
}

// hookWorld is a CA with a web server that it asks, and the Python plugin.
type hookWorld struct {
	ca      *testca.CA
	web     string
	plugins string
	// request is told of every request to the CA; nil: nobody is.
	request atomic.Pointer[func(path string)]
}

func newHookWorld(t *testing.T) *hookWorld {
	t.Helper()
	w := &hookWorld{web: t.TempDir(), plugins: t.TempDir()}
	site := httptest.NewServer(http.FileServer(http.Dir(w.web)))
	t.Cleanup(site.Close)
	var err error
	if w.ca, err = testca.Start(t.Context(), testca.Options{HTTPPort: site.Listener.Addr().(*net.TCPAddr).Port, NonceReject: 5, OnRequest: func(_, path string) {
		if f := w.request.Load(); f != nil {
			(*f)(path)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.ca.Close() })
	for name, from := range map[string]string{
		"certwright-plugin-python-hooks": "../../examples/python-hooks/certwright-plugin-python-hooks",
		"skeleton_hooks.py":              "../../examples/python-hooks/skeleton_hooks.py",
		"plugin.binpb":                   "../../sdk/proto/certwright/plugin/v1/plugin.binpb",
	} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(w.plugins, name), string(data), 0o755)
	}
	write(t, filepath.Join(w.plugins, "ca.pem"), string(w.ca.TLSRoots()), 0o644)
	return w
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// note is a command that writes down what acme2certifier's hooks get.
const note = `#!/bin/sh
jq -nc --arg hook "${hook-$1}" --arg certificate_name "$certificate_name" --arg order_name "$order_name" --arg csr "$csr" \
  --arg certificate "$certificate" --arg certificate_raw "$certificate_raw" --arg poll_identifier "$poll_identifier" --arg error "$error" \
  '$ARGS.named' >>"$HOOKS_LOG"
test "${hook-$1}" != "$HOOKS_FAIL"
`

// hookFile is one of acme2certifier's.
const hookFile = `import os
from skeleton_hooks import Hooks as Skeleton

class Hooks(Skeleton):
    def note(self, **values):
        super().note(**values)
        if values["hook"] == os.environ["HOOKS_FAIL"]:
            raise RuntimeError("told to")
`

// call is one line that a hook has noted.
type call struct {
	Hook        string `json:"hook"`
	Certificate string `json:"certificate"`
	Name        string `json:"certificate_name"`
	Order       string `json:"order_name"`
	CSR         string `json:"csr"`
	Raw         string `json:"certificate_raw"`
	Poll        string `json:"poll_identifier"`
	Error       string `json:"error"`
}

// run obtains a certificate with the hooks of one kind.
func (w *hookWorld) run(t *testing.T, kind string, c hookCase) {
	t.Helper()
	dir := t.TempDir()
	etc, log := filepath.Join(dir, "etc"), filepath.Join(dir, "log")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	notes := filepath.Join(dir, "note")
	write(t, notes, note, 0o755)
	write(t, filepath.Join(dir, "hooks.py"), hookFile, 0o644)
	instance, hooks := "{name: spare}", "[told]"
	switch kind {
	case "shell":
		hooks = fmt.Sprintf("[{pre: %[1]s pre, success: %[1]s success, post: %[1]s post}]", notes)
	case "exec":
		instance = fmt.Sprintf("{name: told, plugin: exec, settings: {pre: %[1]s, success: %[1]s, post: %[1]s}}", notes)
	case "python":
		instance = fmt.Sprintf("{name: told, plugin: python-hooks, settings: {hooks_file: %s/hooks.py, path: [%s]}}", dir, w.plugins)
	}
	web, rule := w.web, ""
	if c.refused {
		web = dir
	}
	if c.rule != "" {
		word := "allow"
		if kind == "python" {
			word = "ignore" // the other name
		}
		rule = fmt.Sprintf("%s_%s_hook_failure: %v", word, c.fails, c.rule == "allow")
	}
	global, own := "", rule
	if kind == "exec" { // for every certificate, or for one
		global, own = rule, ""
	}
	write(t, filepath.Join(etc, "certwright.yaml"), fmt.Sprintf(`
server: %s
ca_bundle: %s/ca.pem
agree_tos: true
%s
instances:
  - {name: webroot, settings: {path: %s}}
  - %s
certificates:
  - name: site
    names: [a.test, b.test]
    authenticate: [{with: [webroot]}]
    hooks: %s
    %s
`, w.ca.DirectoryURL(), w.plugins, global, web, instance, hooks, own), 0o600)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(prefix, "bin", "certwright"), "run", "-n", "--plugin-dir", w.plugins)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CERTWRIGHT_CONFIG_DIR="+etc, "CERTWRIGHT_STATE_DIR="+filepath.Join(dir, "state"), "HOOKS_LOG="+log, "HOOKS_FAIL="+c.fails)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := hookOutcome{exit: cmd.ProcessState.ExitCode()}
	calls := readCalls(t, log)
	for _, one := range calls {
		got.calls = strings.TrimSpace(got.calls + " " + one.Hook)
	}
	live := filepath.Join(dir, "state", "live", "site")
	chain, err := os.ReadFile(filepath.Join(live, "fullchain.pem"))
	got.issued = err == nil
	if want := c.want(kind); got != want {
		t.Errorf("%+v, want %+v\n%s", got, want, out)
	}
	if c.fails != "" && strings.Contains(got.calls, c.fails) && !bytes.Contains(out, []byte("hook ")) {
		t.Errorf("the failure is not told:\n%s", out)
	}
	if kind != "shell" {
		checkCalls(t, calls, chain)
	}
}

func readCalls(t *testing.T, log string) []call {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []call
	for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n") {
		var one call
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		out = append(out, one)
	}
	return out
}

// checkCalls looks at the six values.
func checkCalls(t *testing.T, calls []call, chain []byte) {
	t.Helper()
	for _, c := range calls {
		der, err := base64.StdEncoding.DecodeString(c.CSR)
		if err != nil {
			t.Fatal(err)
		}
		request, err := x509.ParseCertificateRequest(der)
		if err != nil || !slices.Equal(request.DNSNames, []string{"a.test", "b.test"}) {
			t.Errorf("%s: the request is %v, %v", c.Hook, request, err)
		}
		if c.Name != "site" || !strings.HasPrefix(c.Order, "https://") || c.CSR != calls[0].CSR || c.Order != calls[0].Order {
			t.Errorf("%s: %+v", c.Hook, c)
		}
		switch c.Hook {
		case "success":
			leaf, _ := pem.Decode([]byte(c.Certificate))
			// A shell takes the last end of line away.
			if strings.TrimSpace(c.Certificate) != strings.TrimSpace(string(chain)) || leaf == nil || c.Raw != base64.StdEncoding.EncodeToString(leaf.Bytes) {
				t.Errorf("success got another certificate than %s: %+v", chain, c)
			}
		case "post":
			if failed := chain == nil; failed != (c.Error != "") {
				t.Errorf("post was told %q", c.Error)
			}
		}
	}
}

// TestHooks runs what decides most; the whole matrix is a slow test.
func TestHooks(t *testing.T) {
	w := newHookWorld(t)
	for kind, cases := range map[string][]hookCase{
		"exec":   {{}, {refused: true}, {fails: "pre"}, {fails: "success"}, {fails: "success", rule: "allow"}, {fails: "post", rule: "deny"}},
		"shell":  {{}, {fails: "success"}, {fails: "success", rule: "deny"}},
		"python": {{}, {fails: "success"}},
	} {
		for _, c := range cases {
			t.Run(kind+"/"+c.String(), func(t *testing.T) {
				t.Parallel()
				w.run(t, kind, c)
			})
		}
	}
}
