package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"), goleak.Cleanup(func(code int) {
		if built != "" {
			_ = os.RemoveAll(filepath.Dir(filepath.Dir(built)))
		}
		os.Exit(code)
	}))
}

func TestDeclaration(t *testing.T) {
	d, err := declaration(&manual{}).Description()
	if err != nil {
		t.Fatal(err)
	}
	if d.DNS != sdk.SelfDNS || d.Env != sdk.UserEnv || !d.Serial || !slices.Equal(d.HookEvents, []string{sdk.EventPre}) {
		t.Errorf("%+v", d)
	}
}

func TestNobodyCanBeAskedAndThereIsNoHook(t *testing.T) {
	m := configured(t, settings{}, sdk.Instance{Name: "hand", NonInteractive: true})
	_, err := m.Run(t.Context(), sdk.HookEvent{Event: sdk.EventPre}, &recorder{})
	preferences, preferErr := m.Prefer(t.Context(), []sdk.Identifier{{Type: "dns", Value: "a.test"}})
	if preferErr != nil {
		t.Fatal(preferErr)
	}
	r := &recorder{}
	for what, err := range map[string]error{
		"pre": err, "Prefer": preferences[0].Err, "Perform": m.Perform(t.Context(), []sdk.Challenge{dns("a.test", "v")}, r),
	} {
		p := sdk.ProblemOf(err)
		if p == nil || p.Retry != sdk.RetryNever || !strings.Contains(p.Error(), "the instance hand has no auth_hook") ||
			!strings.Contains(p.Hint, "--manual-auth-hook") || !errors.Is(err, sdk.ErrNotInteractive) {
			t.Errorf("%s: %+v", what, p)
		}
	}
	// What an earlier run left is taken away all the same.
	if err := m.Cleanup(t.Context(), []sdk.Challenge{dns("a.test", "v")}, r); err != nil || len(r.asked) > 0 {
		t.Errorf("%v, asked %q", err, r.asked)
	}
}

func TestHooksThatCannotBeRun(t *testing.T) {
	plain := executable(t, "plain", "exit 0", 0o600)
	for line, want := range map[string]string{plain: "is not executable", "/no/such/hook x": "does not exist", "no-such-hook": "is not in PATH"} {
		for setting, s := range map[string]settings{"auth_hook": {AuthHook: line}, "cleanup_hook": {AuthHook: "true", CleanupHook: line}} {
			_, err := configured(t, s, sdk.Instance{}).Run(t.Context(), sdk.HookEvent{Event: sdk.EventPre}, &recorder{})
			p := sdk.ProblemOf(err)
			if p == nil || !strings.Contains(p.Error(), want) || !strings.Contains(p.Error(), setting) || p.Hint == "" {
				t.Errorf("%s: %+v", line, p)
			}
		}
	}
	m := &manual{settings: settings{HookTimeout: -1}}
	if err := m.Configure(t.Context(), sdk.Instance{}); err == nil || sdk.ProblemOf(err).Subject != "hook_timeout" {
		t.Errorf("a negative timeout: %v", err)
	}
}

func TestWhatCanBeProven(t *testing.T) {
	for hook, want := range map[string][]string{"": {sdk.HTTP01, sdk.DNS01}, "true": {sdk.HTTP01, sdk.DNS01, sdk.TLSALPN01}} {
		got, err := configured(t, settings{AuthHook: hook}, sdk.Instance{}).Prefer(t.Context(), []sdk.Identifier{{Type: "dns", Value: "a.test"}})
		if err != nil || !slices.Equal(got[0].ChallengeTypes, want) {
			t.Errorf("%q: %v, %v", hook, got, err)
		}
	}
}

// Every variable of certbot, for each type of challenge; what was left in the
// environment from elsewhere is gone.
func TestEnvironmentOfHooks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range variables {
		t.Setenv(name, "stale")
	}
	t.Setenv("OWN", "the user's own")
	hook := "env | grep -E '^(CERTBOT_|OWN=)' | sort >> " + dir + "/"
	alpn := sdk.Challenge{
		ID: "i/alpn", Type: sdk.TLSALPN01, Identifier: sdk.Identifier{Type: "dns", Value: "c.test"}, Token: "t3", KeyAuthorization: "t3.thumb",
		ALPN: &sdk.ALPNChallenge{ServerName: "c.test", CertPEM: []byte("cert"), KeyPEM: []byte("key")},
	}
	m := configured(t, settings{
		AuthHook:    hook + "auth; printf ' the output of %s \n' $CERTBOT_DOMAIN; [ -z \"$CERTBOT_KEY_PATH\" ] || cat $CERTBOT_CERT_PATH $CERTBOT_KEY_PATH > " + dir + "/pair",
		CleanupHook: hook + "cleanup",
	}, sdk.Instance{StateDir: t.TempDir()})
	wild := dns("b.test", "digest")
	wild.Identifier.Wildcard = true
	challenges := []sdk.Challenge{http("a.test", "t1"), wild, alpn}
	performed := performed(t, m, challenges...)
	pair := m.pair(alpn)
	want := strings.Join([]string{
		"CERTBOT_ALL_DOMAINS=a.test,b.test,c.test", "CERTBOT_ALL_IDENTIFIERS=a.test,b.test,c.test",
		"CERTBOT_DOMAIN=a.test", "CERTBOT_IDENTIFIER=a.test", "CERTBOT_REMAINING_CHALLENGES=2",
		"CERTBOT_TOKEN=t1", "CERTBOT_VALIDATION=t1.thumb", "OWN=the user's own",

		"CERTBOT_ALL_DOMAINS=a.test,b.test,c.test", "CERTBOT_ALL_IDENTIFIERS=a.test,b.test,c.test",
		"CERTBOT_DOMAIN=b.test", "CERTBOT_IDENTIFIER=b.test", "CERTBOT_REMAINING_CHALLENGES=1",
		"CERTBOT_VALIDATION=digest", "OWN=the user's own",

		"CERTBOT_ALL_DOMAINS=a.test,b.test,c.test", "CERTBOT_ALL_IDENTIFIERS=a.test,b.test,c.test",
		"CERTBOT_CERT_PATH=" + pair + "/cert.pem", "CERTBOT_DOMAIN=c.test", "CERTBOT_IDENTIFIER=c.test",
		"CERTBOT_KEY_PATH=" + pair + "/key.pem", "CERTBOT_REMAINING_CHALLENGES=0", "CERTBOT_SNI_DOMAIN=c.test",
		"CERTBOT_VALIDATION=t3.thumb", "OWN=the user's own", "",
	}, "\n")
	if diff := cmp.Diff(want, read(t, dir+"/auth")); diff != "" {
		t.Errorf("the auth hook (-want +got):\n%s", diff)
	}
	if got := read(t, dir+"/pair"); got != "certkey" {
		t.Errorf("certificate and key: %q", got)
	}
	// The same for each, with the output, whether by the receipt in a new
	// process or by the one that performed.
	for what, next := range map[string]*manual{"the same process": m, "another process": configured(t, m.settings, m.instance)} {
		clean(t, next, performed...)
		got := read(t, dir+"/cleanup")
		for _, name := range []string{"a", "b", "c"} {
			output := "CERTBOT_AUTH_OUTPUT=the output of " + name + ".test\n"
			if !strings.Contains(got, output) {
				t.Errorf("%s: no %q in\n%s", what, output, got)
			}
			got = strings.Replace(got, output, "", 1)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, the cleanup hook (-want +got):\n%s", what, diff)
		}
		if _, err := os.Stat(pair); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the pair is still there: %v", err)
		}
		must(t, os.Remove(dir+"/cleanup"))
	}
	// A receipt may be lost: what can be known is given.
	clean(t, configured(t, m.settings, m.instance), wild)
	want = strings.Join([]string{
		"CERTBOT_ALL_DOMAINS=b.test", "CERTBOT_ALL_IDENTIFIERS=b.test", "CERTBOT_AUTH_OUTPUT=",
		"CERTBOT_DOMAIN=b.test", "CERTBOT_IDENTIFIER=b.test", "CERTBOT_REMAINING_CHALLENGES=0",
		"CERTBOT_VALIDATION=digest", "OWN=the user's own", "",
	}, "\n")
	if diff := cmp.Diff(want, read(t, dir+"/cleanup")); diff != "" {
		t.Errorf("without receipt (-want +got):\n%s", diff)
	}
}

func TestOutputThatIsTooLongForAReceipt(t *testing.T) {
	dir := t.TempDir()
	m := configured(t, settings{
		AuthHook:    "head -c 60000 /dev/zero | tr '\\0' x",
		CleanupHook: "printf %s \"$CERTBOT_AUTH_OUTPUT\" | wc -c > " + dir + "/n",
	}, sdk.Instance{})
	c := performed(t, m, http("a.test", "t"))
	if len(c[0].Receipt) > maxReceipt {
		t.Errorf("the receipt has %d bytes", len(c[0].Receipt))
	}
	clean(t, m, c...)
	if got := strings.TrimSpace(read(t, dir+"/n")); got != "60000" {
		t.Errorf("the cleanup hook got %s bytes", got)
	}
}

func TestFailingHooks(t *testing.T) {
	fail := "echo out; echo why >&2; exit 3"
	for _, strict := range []bool{false, true} {
		m := configured(t, settings{AuthHook: fail, CleanupHook: fail, Strict: strict}, sdk.Instance{})
		r := &recorder{}
		challenges := []sdk.Challenge{http("a.test", "t1"), http("b.test", "t2")}
		must(t, m.Perform(t.Context(), challenges, r))
		must(t, m.Cleanup(t.Context(), challenges, r))
		if len(r.results) != 4 {
			t.Fatalf("results %+v", r.results)
		}
		for _, result := range r.results {
			switch p := sdk.ProblemOf(result.Err); {
			case !strict && p != nil:
				t.Errorf("%s: %v", result.Subject, p)
			case strict && (p == nil || p.Subject != result.Subject || !strings.Contains(p.Error(), "ended with exit status 3") || !strings.Contains(p.Error(), "why")):
				t.Errorf("%s: %+v", result.Subject, p)
			}
		}
		said := r.said[sdk.Stderr]
		for _, want := range []string{"the auth_hook for a.test ended with exit status 3", "the cleanup_hook for b.test ended with exit status 3", "why"} {
			if strict == strings.Contains(said, want) {
				t.Errorf("strict %v, said %q", strict, said)
			}
		}
	}
}

// What does not come to its own end has failed, strict or not, and is cleaned up.
func TestHooksThatHangFloodForkOrDie(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "gate")
	must(t, syscall.Mkfifo(fifo, 0o600))
	for line, want := range map[string]string{
		"cat " + fifo:                   "the auth_hook for a.test did not end within 1s and was stopped",
		"yes":                           "the auth_hook for a.test printed more than 64 MiB and was stopped",
		"kill -KILL $$":                 "the auth_hook for a.test was ended by the signal SIGKILL",
		"(cat " + fifo + ") & echo out": "",
	} {
		m := configured(t, settings{AuthHook: line, CleanupHook: "echo cleaned >> " + dir + "/log", HookTimeout: time.Minute}, sdk.Instance{})
		if strings.HasPrefix(line, "cat") {
			m.settings.HookTimeout = time.Second
		}
		r := &recorder{}
		c := http("a.test", "t")
		must(t, m.Perform(t.Context(), []sdk.Challenge{c}, r))
		p := sdk.ProblemOf(r.results[0].Err)
		if want == "" != (p == nil) || p != nil && !strings.HasPrefix(p.Error(), want) {
			t.Errorf("%s: %+v", line, p)
		}
		if said := r.said[sdk.Stderr]; want == "" != strings.Contains(said, "warning: the auth_hook for a.test ended, and left a process in the background") {
			t.Errorf("%s: said %q", line, said)
		}
		m.settings.HookTimeout = time.Minute
		clean(t, m, c)
		if got := read(t, dir+"/log"); got != "cleaned\n" {
			t.Errorf("%s: the cleanup hook: %q", line, got)
		}
		must(t, os.Remove(dir+"/log"))
	}
	must(t, os.WriteFile(fifo, nil, 0o600)) // what was left in the background can end
}

func TestCancelled(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "begun")
	must(t, syscall.Mkfifo(fifo, 0o600))
	line := "echo begun > " + fifo + "; exec cat " + fifo
	m := configured(t, settings{AuthHook: line, CleanupHook: line}, sdk.Instance{})
	for name, call := range map[string]func(context.Context, []sdk.Challenge, sdk.Reporter) error{"Perform": m.Perform, "Cleanup": m.Cleanup} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- call(ctx, []sdk.Challenge{http("a.test", "t"), http("b.test", "u")}, &recorder{}) }()
		if got := read(t, fifo); got != "begun\n" {
			t.Errorf("%q", got)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func configured(t *testing.T, s settings, instance sdk.Instance) *manual {
	t.Helper()
	if s.HookTimeout == 0 {
		s.HookTimeout = time.Minute
	}
	m := &manual{settings: s}
	must(t, m.Configure(t.Context(), instance))
	return m
}

func http(name, token string) sdk.Challenge {
	return sdk.Challenge{
		ID: "i/" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name}, Token: token, KeyAuthorization: token + ".thumb",
		HTTP: &sdk.HTTPChallenge{Path: "/.well-known/acme-challenge/" + token, Body: []byte(token + ".thumb")},
	}
}

func dns(name, value string) sdk.Challenge {
	return sdk.Challenge{
		ID: "i/" + value, Type: sdk.DNS01, Identifier: sdk.Identifier{Type: "dns", Value: name}, Token: "t", KeyAuthorization: "t.thumb",
		DNS: &sdk.DNSChallenge{Name: "_acme-challenge." + name, Value: value},
	}
}

// performed gives the challenges with their receipts.
func performed(t *testing.T, m *manual, challenges ...sdk.Challenge) []sdk.Challenge {
	t.Helper()
	r := &recorder{}
	must(t, m.Perform(t.Context(), challenges, r))
	out := slices.Clone(challenges)
	for i, result := range r.results {
		must(t, result.Err)
		out[i].Receipt = result.Receipt
	}
	return out
}

func clean(t *testing.T, m *manual, challenges ...sdk.Challenge) *recorder {
	t.Helper()
	r := &recorder{}
	must(t, m.Cleanup(t.Context(), challenges, r))
	for _, result := range r.results {
		must(t, result.Err)
	}
	return r
}

// recorder keeps what a plugin says, and answers what it asks.
type recorder struct {
	results  []sdk.Result
	progress []string
	said     map[sdk.Stream]string
	asked    []string
	// answers, then the end of the input; nil: nobody can be asked.
	answers []string
}

func (r *recorder) Progress(_, message string) { r.progress = append(r.progress, message) }

func (r *recorder) Say(to sdk.Stream, text string) {
	if r.said == nil {
		r.said = map[sdk.Stream]string{}
	}
	r.said[to] += text
}

func (r *recorder) Ask(_ context.Context, text string) (string, error) {
	if r.answers == nil {
		return "", sdk.ErrNotInteractive
	}
	r.asked = append(r.asked, text)
	if len(r.asked) > len(r.answers) {
		return "", io.EOF
	}
	return r.answers[len(r.asked)-1], nil
}

func (r *recorder) Result(result sdk.Result) { r.results = append(r.results, result) }

func executable(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), mode))
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
