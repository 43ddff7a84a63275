package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// logging is a hook that writes down how it was called: arguments, and what of
// the environment is not the invoker's; and that sets records.
const logging = `#!/bin/bash
{
  printf 'CALL'
  for a in "$@"; do
    case $a in /*.pem|/*.csr) [ -s "$a" ] || a="EMPTY $a";; esac
    printf ' <%s>' "$a"
  done
  echo
  env -0 | while IFS='=' read -r -d '' name value; do
    case " $INVOKER PWD OLDPWD SHLVL _ " in *" $name "*) ;; *) echo "ENV $name=$value";; esac
  done | LC_ALL=C sort
} >> "$LOG"
case $1 in
deploy_challenge|clean_challenge)
  [ "$FAIL" != "$1" ] || exit 0
  verb=$1; shift
  while [ $# -ge 3 ]; do
    curl -fsS -G "$CONTROL/$verb" -d "name=_acme-challenge.$1" -d "value=$3" || exit 1
    shift 3
  done;;
esac
exit 0
`

// scene is one certificate that both programs obtain with the same hook, of a CA
// of its own.
type scene struct {
	dir, control string
	ca           *testca.CA
}

func newScene(t *testing.T, config string) *scene {
	t.Helper()
	ca, err := testca.Start(t.Context(), testca.Options{Blocked: []string{"refused.test"}}) // dehydrated does not repeat a request after a bad nonce
	must(t, err)
	t.Cleanup(func() { must(t, ca.Close()) })
	control := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		change := ca.DNS().AddTXT
		if r.URL.Path == "/clean_challenge" {
			change = func(name, value string) { ca.DNS().DeleteTXT(name, value) }
		}
		change(r.FormValue("name"), r.FormValue("value"))
	}))
	t.Cleanup(control.Close)
	s := &scene{dir: t.TempDir(), control: control.URL, ca: ca}
	plugintest.Left(t, s.dir, "certs/*/privkey-*.pem", "accounts/*/account_key.pem")
	must(t, os.Mkdir(filepath.Join(s.dir, "etc"), 0o755))
	must(t, os.Mkdir(filepath.Join(s.dir, "well-known"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.dir, "ca.pem"), ca.TLSRoots(), 0o600))
	must(t, os.WriteFile(filepath.Join(s.dir, "hook.sh"), []byte(logging), 0o700))
	must(t, os.WriteFile(filepath.Join(s.dir, "config"), []byte(
		"CA="+ca.DirectoryURL()+"\nKEYSIZE=2048\nCURL_OPTS=\"--cacert ${BASEDIR}/ca.pem\"\nHOOK=\"${BASEDIR}/hook.sh\"\nWELLKNOWN=${BASEDIR}/well-known\n"+config), 0o600))
	return s
}

// run gives the log of the hook's calls.
func (s *scene) run(t *testing.T, fail string, program string, args ...string) string {
	t.Helper()
	log := filepath.Join(s.dir, "log")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = s.dir
	var invoker []string
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); name != "LOG" && name != "alias" && name != "altnames" {
			cmd.Env = append(cmd.Env, entry)
			invoker = append(invoker, name)
		}
	}
	cmd.Env = append(cmd.Env, "LOG="+log, "CONTROL="+s.control, "FAIL="+fail, "INVOKER="+strings.Join(append(invoker, "LOG", "CONTROL", "FAIL", "INVOKER"), " "))
	out, err := cmd.CombinedOutput()
	plugintest.Printed(t, out)
	if (err != nil) != (fail != "") {
		t.Fatalf("%s %s: %v\n%s", program, args, err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatalf("no call of the hook: %v\n%s", err, out)
	}
	must(t, os.Remove(log))
	return string(text)
}

// canonical is a log with everything mapped that is different in every run. A CA
// gives authorizations in any order: calls of one kind that follow each other, and
// the triples of one call, are put in the order of their names first.
func canonical(log, dir, certDir string) string {
	log = strings.NewReplacer(certDir, "CERTDIR", probe, "PROBE").Replace(log)
	log = strings.ReplaceAll(log, dir, "/DIR")
	for _, change := range []struct{ pattern, with string }{
		{`<CERTDIR/[^<>]*/(privkey|cert|fullchain|chain)-\d+\.pem>|</DIR/state/archive/[^<>]*/(privkey|cert|fullchain|chain)\.pem>`, `<NEW/$1$2.pem>`},
		{`<[^<>]*\.csr>`, `<NEW/request.csr>`},
		{`<\d{10}>`, `<TIMESTAMP>`},
		{`https://127\.0\.0\.1:\d+/[A-Za-z/-]*`, `URL/`},
		{`\d{4}-\d\d-\d\dT[0-9:.]+Z`, `TIME`},
		{`(?s)<post> <HTTP/.*?>\nENV`, "<post> <HEADERS>\nENV"},
		{`(?s)CALL <exit_hook> <.*?>\n`, "CALL <exit_hook> <ERROR>\n"},
	} {
		log = regexp.MustCompile(change.pattern).ReplaceAllString(log, change.with)
	}
	calls := strings.Split(log, "CALL")[1:]
	triple := regexp.MustCompile(`<([^<>]*)> <([A-Za-z0-9_-]{20,})> <([A-Za-z0-9_.-]{43,})>`)
	for i, call := range calls {
		found := triple.FindAllString(call, -1)
		sorted := slices.Clone(found)
		slices.SortStableFunc(sorted, byName)
		calls[i] = triple.ReplaceAllStringFunc(call, func(string) string {
			next := sorted[0]
			sorted = sorted[1:]
			return next
		})
	}
	for from := 0; from < len(calls); {
		to := from + 1
		for to < len(calls) && kind(calls[to]) == kind(calls[from]) {
			to++
		}
		if strings.HasSuffix(kind(calls[from]), "_challenge>") {
			slices.SortStableFunc(calls[from:to], byName)
		}
		from = to
	}
	seen := map[string]string{}
	return regexp.MustCompile(`[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}|[A-Za-z0-9_-]{43}|URL/[A-Za-z0-9_-]{20,}`).ReplaceAllStringFunc("CALL"+strings.Join(calls, "CALL"), func(found string) string {
		if seen[found] == "" {
			seen[found] = "SECRET" + string(rune('A'+len(seen)))
		}
		return seen[found]
	})
}

func kind(call string) string { name, _, _ := strings.Cut(strings.TrimSpace(call), " "); return name }

// byName compares the first argument that is a name.
func byName(a, b string) int {
	name := regexp.MustCompile(`<([a-z0-9.-]+\.test)>`)
	return strings.Compare(name.FindString(a), name.FindString(b))
}

// comparison is a certificate that both programs obtain.
type comparison struct {
	config string
	names  []string
	// fail names the call at which the hook does nothing, or why else it fails.
	fail string
	// twice compares what is called when there is a certificate already.
	twice bool
	// want are calls that have to be there, in this order.
	want []string
}

// What the packaged dehydrated and this plugin call is the same.
func TestTheSameCallsAsDehydrated(t *testing.T) {
	t.Run("one name", func(t *testing.T) {
		comparison{dns01, []string{"one.test"}, "", false, []string{
			"startup_hook", "generate_csr", "deploy_challenge", "clean_challenge", "sync_cert", "deploy_cert", "exit_hook",
		}}.run(t)
	})
	t.Run("a failing challenge", func(t *testing.T) {
		comparison{dns01, []string{"fail.test"}, "deploy_challenge", false, []string{
			"startup_hook", "generate_csr", "deploy_challenge", "invalid_challenge", "clean_challenge", "exit_hook",
		}}.run(t)
	})
}

const dns01 = "CHALLENGETYPE=dns-01\n"

func (c comparison) run(t *testing.T) {
	t.Helper()
	bin := build(t)
	s := newScene(t, c.config)
	config := filepath.Join(s.dir, "config")
	s.prepare(t, config)
	args := []string{"certonly", "-n", "--agree-tos", "--server", s.ca.DirectoryURL(), "--ca-bundle", filepath.Join(s.dir, "ca.pem"),
		"--config-dir", filepath.Join(s.dir, "etc"), "--state-dir", filepath.Join(s.dir, "state"),
		"--key-type", "p384", "-a", "dehydrated", "--set", "dehydrated.config=" + config}
	for _, n := range c.names {
		args = append(args, "-d", n)
	}
	rounds := 1
	if c.twice {
		rounds = 2
	}
	theirs, ours := "", ""
	for range rounds {
		theirs = s.run(t, c.fail, "dehydrated", "--cron", "--config", config, "--domain", strings.Join(c.names, " "))
		ours = s.run(t, c.fail, bin, args...)
	}
	theirs, ours = canonical(theirs, s.dir, filepath.Join(s.dir, "certs")), canonical(ours, s.dir, filepath.Join(s.dir, "state", "live"))
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("(-dehydrated +certwright):\n%s", diff)
	}
	if !strings.HasPrefix(theirs, "CALL <PROBE>\n") {
		t.Errorf("dehydrated did not probe first:\n%s", theirs)
	}
	rest := theirs
	for _, call := range c.want {
		_, after, ok := strings.Cut(rest, "CALL <"+call+">")
		if !ok {
			t.Fatalf("no %s, in that order, in\n%s", call, theirs)
		}
		rest = after
	}
}

// prepare registers dehydrated's account.
func (s *scene) prepare(t *testing.T, config string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "dehydrated", "--register", "--accept-terms", "--config", config)
	cmd.Env = append(os.Environ(), "LOG=/dev/null", "INVOKER=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("dehydrated --register: %v\n%s", err, out)
	}
}

// built is the program, once it is; TestMain removes it.
var built string

// build gives the program in its installed layout, with the plugin.
func build(t *testing.T) string {
	t.Helper()
	if built != "" {
		return built
	}
	// Plugins that others may write to are not run. The mask is that of the whole
	// process, and no test of this package runs beside this one.
	defer syscall.Umask(syscall.Umask(0o022))
	prefix, err := os.MkdirTemp(os.TempDir(), "certwright-dehydrated-") //nolint:usetesting // it is for all tests
	must(t, err)
	for out, from := range map[string]string{
		"bin/certwright": "../../cmd/certwright", "libexec/certwright/plugins/certwright-plugin-dehydrated": ".",
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(prefix, out), ".")
		cmd.Dir = from
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build in %s: %v\n%s", from, err, text)
		}
	}
	built = filepath.Join(prefix, "bin", "certwright")
	return built
}
