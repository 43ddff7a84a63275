package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

// recorder keeps the story.
type recorder struct {
	mu    sync.Mutex
	story []string
}

func (r *recorder) Progress(_, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.story = append(r.story, message)
}

func (r *recorder) Result(sdk.Result)                           {}
func (r *recorder) Say(sdk.Stream, string)                      {}
func (r *recorder) Ask(context.Context, string) (string, error) { return "", io.EOF }

// configured is an instance as the SDK and the host make it.
func configured(t *testing.T, s settings) *hooks {
	t.Helper()
	s.Validate = true
	if s.Limit == 0 {
		s.Limit = time.Minute
	}
	h := &hooks{settings: s}
	if err := h.Configure(t.Context(), sdk.Instance{Name: "exec", StateDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	return h
}

// certificate is what the host tells of one.
func certificate(event string) sdk.HookEvent {
	return sdk.HookEvent{
		Event: event, Lineage: "a.test", Verb: "renew", OrderURL: "https://ca.test/order/1", CSR: []byte("request"),
		Identifiers: []sdk.Identifier{{Type: "dns", Value: "a.test"}, {Type: "dns", Value: "a.test", Wildcard: true}},
		Paths:       sdk.Paths{Cert: "/state/live/a.test/cert.pem"}, FullchainPEM: []byte("PEM\nchain\n"), CertificateRaw: []byte("der"),
	}
}

// logging gives a command that notes variables in a file.
func logging(path string, variables ...string) string {
	var b strings.Builder
	for _, v := range variables {
		fmt.Fprintf(&b, `printf '%%s=%%s\n' %s "${%s-unset}" >>%s; `, v, v, path)
	}
	return b.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Variables are those of certbot at each moment, and none is left from a run
// that this one was started from.
func TestCertbotVariables(t *testing.T) {
	for _, v := range certbotVariables {
		t.Setenv(v, "stale")
	}
	t.Setenv("OPERATORS_OWN", "kept")
	log := filepath.Join(t.TempDir(), "log")
	all := logging(log, append(certbotVariables, "OPERATORS_OWN", "EXTRA")...)
	h := configured(t, settings{PreHook: all, DeployHook: all, PostHook: all, Env: map[string]string{"EXTRA": "e"}})
	post := sdk.HookEvent{
		Event: sdk.EventPost, Verb: "renew", RenewedIdentifiers: certificate("").Identifiers,
		FailedIdentifiers: []sdk.Identifier{{Type: "dns", Value: "b.test"}, {Type: "ip", Value: "192.0.2.1"}},
	}
	other := post
	other.Verb = "certonly"
	for _, e := range []sdk.HookEvent{{Event: sdk.EventPre}, certificate(sdk.EventSuccess), post, other} {
		result, err := h.Run(t.Context(), e, &recorder{})
		if err != nil || len(result.Warnings) > 0 {
			t.Fatalf("%s: %v, %v", e.Event, result.Warnings, err)
		}
	}
	const own = "OPERATORS_OWN=kept\nEXTRA=e\n"
	equal(t, "RENEWED_DOMAINS=unset\nFAILED_DOMAINS=unset\nRENEWED_LINEAGE=unset\n"+own+
		"RENEWED_DOMAINS=a.test *.a.test\nFAILED_DOMAINS=unset\nRENEWED_LINEAGE=/state/live/a.test\n"+own+
		"RENEWED_DOMAINS=a.test *.a.test\nFAILED_DOMAINS=b.test 192.0.2.1\nRENEWED_LINEAGE=unset\n"+own+
		"RENEWED_DOMAINS=a.test *.a.test\nFAILED_DOMAINS=\nRENEWED_LINEAGE=unset\n"+own, read(t, log))
}

func TestVariablesAreCutAsCertbotCutsThem(t *testing.T) {
	var many []sdk.Identifier
	for i := range 3000 {
		many = append(many, sdk.Identifier{Type: "dns", Value: fmt.Sprintf("name-%05d.test", i)})
	}
	for verb, want := range map[string][2]int{"renew": {16000, 16000}, "certonly": {32000, 0}} {
		got := postVariables(sdk.HookEvent{Verb: verb, RenewedIdentifiers: many, FailedIdentifiers: many}, &recorder{})
		equal(t, want, [2]int{len(got["RENEWED_DOMAINS"]), len(got["FAILED_DOMAINS"])})
	}
}

// The executables of a directory run before the command, in the order of their
// names; a command that is one of them does not run twice, and what failed holds
// up nothing.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(t.TempDir(), "log")
	for name, mode := range map[string]os.FileMode{"20-b": 0o755, "10-a": 0o755, "30-fails": 0o755, "40-plain": 0o644, "50-backup~": 0o755} {
		for _, moment := range []string{"pre", "deploy", "post"} {
			path := filepath.Join(dir, moment, name)
			text := fmt.Sprintf("#!/bin/sh\necho %s %s >>%s\ncase $0 in *fails) echo no good; exit 7; esac\n", moment, name, log)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "pre", "60-directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(s settings, event string) []*sdk.Problem {
		t.Helper()
		result, err := configured(t, s).Run(t.Context(), certificate(event), &recorder{})
		if err != nil {
			t.Fatal(err)
		}
		return result.Warnings
	}
	both := settings{Directory: dir, PreHook: "echo command >>" + log, DeployHook: filepath.Join(dir, "deploy", "10-a")}
	for event, want := range map[string]string{
		sdk.EventPre:     "pre 10-a\npre 20-b\npre 30-fails\ncommand\n",
		sdk.EventSuccess: "deploy 10-a\ndeploy 20-b\ndeploy 30-fails\n",
		sdk.EventPost:    "post 10-a\npost 20-b\npost 30-fails\n",
	} {
		_ = os.Remove(log)
		warnings := run(both, event)
		equal(t, want, read(t, log))
		if len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "30-fails ended with exit status 7: no good") {
			t.Errorf("%s: %v", event, warnings)
		}
	}
	_ = os.Remove(log)
	if w := run(settings{Beside: dir, DeployHook: filepath.Join(dir, "deploy", "10-a")}, sdk.EventSuccess); len(w) > 0 {
		t.Error(w)
	}
	equal(t, "", read(t, log))
}

func TestValues(t *testing.T) {
	for _, name := range valueNames() {
		t.Setenv(name, "stale")
	}
	dir := t.TempDir()
	command := func(moment string) string {
		log := filepath.Join(dir, moment)
		files := ""
		for _, name := range inFiles {
			files += fmt.Sprintf(`if [ -n "${%s_file-}" ]; then printf '%s_file: ' >>%s; cat "$%s_file" >>%s; echo >>%s; fi; `, name, name, log, name, log, log)
		}
		return logging(log, "hook", "certificate_name", "order_name", "names", "csr", "certificate", "certificate_raw", "poll_identifier", "error") + files
	}
	h := configured(t, settings{Pre: command("pre"), Success: command("success"), Post: command("post")})
	csr, raw := base64.StdEncoding.EncodeToString([]byte("request")), base64.StdEncoding.EncodeToString([]byte("der"))
	tell := func(e sdk.HookEvent) {
		t.Helper()
		if _, err := h.Run(t.Context(), e, &recorder{}); err != nil {
			t.Fatal(err)
		}
	}
	tell(certificate(sdk.EventAttempt))
	tell(certificate(sdk.EventSuccess))
	failed := certificate(sdk.EventAttempted)
	failed.Problem, failed.PollIdentifier = sdk.Problemf(sdk.Unavailable, "the CA is down"), "https://ca.test/order/1"
	tell(failed)
	common := func(moment string) string {
		return "hook=" + moment + "\ncertificate_name=a.test\norder_name=https://ca.test/order/1\nnames=a.test *.a.test\ncsr=" + csr + "\n"
	}
	equal(t, common("pre")+"certificate=unset\ncertificate_raw=unset\npoll_identifier=unset\nerror=unset\ncsr_file: "+csr+"\n",
		read(t, filepath.Join(dir, "pre")))
	equal(t, common("success")+"certificate=PEM\nchain\n\ncertificate_raw="+raw+"\npoll_identifier=\nerror=unset\n"+
		"csr_file: "+csr+"\ncertificate_file: PEM\nchain\n\ncertificate_raw_file: "+raw+"\n", read(t, filepath.Join(dir, "success")))
	equal(t, common("post")+"certificate=unset\ncertificate_raw=unset\npoll_identifier=https://ca.test/order/1\nerror=the CA is down\n"+
		"csr_file: "+csr+"\nerror_file: the CA is down\n", read(t, filepath.Join(dir, "post")))

	// Without a failure the error is there, and empty.
	_ = os.Remove(filepath.Join(dir, "post"))
	tell(certificate(sdk.EventAttempted))
	if got := read(t, filepath.Join(dir, "post")); !strings.Contains(got, "\nerror=\n") {
		t.Errorf("the error of a success: %s", got)
	}
	// A long value is in its file only.
	_ = os.Remove(filepath.Join(dir, "success"))
	long := certificate(sdk.EventSuccess)
	long.FullchainPEM = []byte(strings.Repeat("x", 200<<10))
	tell(long)
	if got := read(t, filepath.Join(dir, "success")); !strings.Contains(got, "certificate=unset") || !strings.Contains(got, "certificate_file: "+string(long.FullchainPEM)+"\n") {
		t.Errorf("a long chain: %d bytes were noted", len(got))
	}
	if left, _ := filepath.Glob(filepath.Join(h.stateDir, "values-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A failure of certbot's commands is a warning, one of acme2certifier's the
// hook's own.
func TestFailures(t *testing.T) {
	h := configured(t, settings{
		PreHook: "exit 3", DeployHook: "exit 3", PostHook: "exit 3",
		Pre: "echo because; exit 3", Success: "echo because; exit 3", Post: "echo because; exit 3",
	})
	for event, want := range map[string]string{
		sdk.EventPre: "", sdk.EventPost: "", sdk.EventDryRun: "",
		sdk.EventAttempt:   "the pre command ended with exit status 3: because",
		sdk.EventSuccess:   "the success command ended with exit status 3: because",
		sdk.EventAttempted: "the post command ended with exit status 3: because",
	} {
		result, err := h.Run(t.Context(), certificate(event), &recorder{})
		if got := fmt.Sprint(err); got != want && (want != "" || err != nil) {
			t.Errorf("%s: %v; want %s", event, err, want)
		}
		warned := event == sdk.EventPre || event == sdk.EventPost || event == sdk.EventSuccess
		if warned != (len(result.Warnings) == 1) {
			t.Errorf("%s: warnings %v", event, result.Warnings)
		}
	}
}

func TestDryRun(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	s := settings{PreHook: "echo pre >>" + log, DeployHook: "echo deploy >>" + log, Success: "echo success >>" + log, PostHook: "echo post >>" + log}
	for _, asked := range []bool{false, true} {
		s.RunDeployHooks = asked
		h := configured(t, s)
		for _, event := range []string{sdk.EventPre, sdk.EventDryRun, sdk.EventPost} {
			e := certificate(event)
			e.DryRun = true
			if result, err := h.Run(t.Context(), e, &recorder{}); err != nil || len(result.Warnings) > 0 {
				t.Fatalf("%v, %v", err, result.Warnings)
			}
		}
	}
	equal(t, "pre\npost\npre\ndeploy\nsuccess\npost\n", read(t, log))
}

// What goes wrong with a command is told in words.
func TestTrouble(t *testing.T) {
	for name, tt := range map[string]struct {
		command string
		limit   time.Duration
		want    string
	}{
		"hangs":  {"sleep 600", 500 * time.Millisecond, `the success command did not end within 500ms and was stopped`},
		"floods": {"yes", 0, `the success command printed more than \d+ MiB and was stopped`},
		"dies":   {"kill -SEGV $$", 0, `the success command was ended by the signal SIGSEGV`},
		"absent": {"true; /nowhere/hook", 0, `the success command ended with exit status 127`},
	} {
		t.Run(name, func(t *testing.T) {
			h := configured(t, settings{Success: tt.command, Limit: tt.limit})
			_, err := h.Run(t.Context(), certificate(sdk.EventSuccess), &recorder{})
			if err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
				t.Fatalf("%v; want %s", err, tt.want)
			}
			if p := sdk.ProblemOf(err); p.Hint == "" {
				t.Error("there is no advice")
			}
		})
	}
}

// What a command leaves in the background with its output is a warning, and fails
// nothing.
func TestLeftInTheBackground(t *testing.T) {
	line := "sleep 600 & echo $! >>$PIDS"
	for event, s := range map[string]settings{
		sdk.EventPre:     {PreHook: line},
		sdk.EventAttempt: {Pre: line},
		sdk.EventSuccess: {DeployHook: line, Success: line},
	} {
		pids := filepath.Join(t.TempDir(), "pids")
		s.Env = map[string]string{"PIDS": pids}
		result, err := configured(t, s).Run(t.Context(), certificate(event), &recorder{})
		left := strings.Fields(read(t, pids))
		for _, pid := range left {
			kill(t, pid)
		}
		if err != nil || len(result.Warnings) != len(left) {
			t.Fatalf("%s: %+v, %v", event, result, err)
		}
		for _, p := range result.Warnings {
			if !strings.Contains(p.Error(), " ended, and left a process in the background") || p.Hint == "" {
				t.Errorf("%s: %+v", event, p)
			}
		}
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	good := settings{Validate: true, Limit: time.Minute}
	for want, change := range map[string]func(*settings){
		"plain is not executable":                          func(s *settings) { s.PreHook = plain + " now" },
		"no-such-hook is not in PATH":                      func(s *settings) { s.DeployHook = "no-such-hook --now" },
		"/nowhere/hook does not exist":                     func(s *settings) { s.Post = "/nowhere/hook" },
		"there is nothing to run":                          func(*settings) {},
		"setting limit: wants a time above 0":              func(s *settings) { s.Pre, s.Limit = "true", -1 },
		"setting directory: hooks is not absolute":         func(s *settings) { s.Directory = "hooks" },
		"/nowhere is no directory that can be read":        func(s *settings) { s.Directory = "/nowhere" },
		`setting env: "a=b" cannot be the name of a varia`: func(s *settings) { s.Pre, s.Env = "true", map[string]string{"a=b": ""} },
	} {
		s := good
		change(&s)
		h := &hooks{settings: s}
		if err := h.Configure(t.Context(), sdk.Instance{StateDir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %s", s, err, want)
		}
	}
	off := settings{PreHook: "no-such-hook", Limit: time.Minute}
	if err := off.check(t.Context()); err != nil {
		t.Errorf("validation is off: %v", err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old, fresh, other := filepath.Join(dir, "values-1"), filepath.Join(dir, "values-2"), filepath.Join(dir, "other")
	for _, path := range []string{old, fresh, other} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * abandoned)
	if err := errors.Join(os.Chtimes(old, past, past), os.Chtimes(other, past, past)); err != nil {
		t.Fatal(err)
	}
	sweep(dir)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, []string{other, fresh}, left)
}

// kill ends what a command of a test has left.
func kill(t *testing.T, pid string) {
	t.Helper()
	if n, err := strconv.Atoi(strings.TrimSpace(pid)); err == nil {
		_ = syscall.Kill(n, syscall.SIGKILL)
	}
}
