package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

func TestDeclaration(t *testing.T) {
	d, err := declaration(newExternal(time.Now())).Description()
	must(t, err)
	if d.DNS != sdk.SelfDNS || d.Env != sdk.UserEnv || !d.Serial || len(d.ExclusiveResources) != 1 || d.ExclusiveResources[0].Kind != "stdout" {
		t.Errorf("%+v", d)
	}
}

func TestMisconfigurationsAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*settings)
		subject string
		want    string
	}{
		"handler mode":    {func(s *settings) { s.Mode = handlerMode }, "handler", "mode handler needs a handler"},
		"dehydrated mode": {func(s *settings) { s.Mode = dehydratedMode }, "handler", "mode dehydrated needs a handler"},
		"json handler":    {func(s *settings) { s.Handler = "/x" }, "mode", "a handler is set, but mode is json"},
		"text handler":    {func(s *settings) { s.Mode, s.Handler = textMode, "/x" }, "mode", "a handler is set, but mode is text"},
		"marcan json":     {func(s *settings) { s.Variant = "marcan" }, "variant", "variant marcan has no mode json"},
		"marcan dehydrated": {func(s *settings) { s.Variant, s.Mode, s.Handler = "marcan", dehydratedMode, "/x" }, "variant",
			"variant marcan has no mode dehydrated"},
		"no time": {func(s *settings) { s.HandlerTimeout = 0 }, "handler_timeout", "must be more than 0"},
	} {
		e := newExternal(time.Now())
		e.settings = defaults()
		c.change(&e.settings)
		p := sdk.ProblemOf(e.Configure(t.Context(), sdk.Instance{}))
		if p == nil || p.Subject != c.subject || !strings.Contains(p.Error(), c.want) || p.Hint == "" || p.Code != sdk.InvalidConfig {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestRefusedBeforeThereIsAnOrder(t *testing.T) {
	for mode, word := range map[string]string{jsonMode: "mode json waits for lines", textMode: "mode text waits for lines"} {
		s := defaults()
		s.Mode = mode
		e := configured(t, s, sdk.Instance{NonInteractive: true})
		_, err := e.Run(t.Context(), sdk.HookEvent{Event: sdk.EventPre}, &recorder{})
		for _, err := range []error{err, e.Perform(t.Context(), []sdk.Challenge{dns("a.test")}, &recorder{answers: -1})} {
			if p := sdk.ProblemOf(err); p == nil || !strings.Contains(p.Error(), word) || !errors.Is(err, sdk.ErrNotInteractive) || !strings.Contains(p.Hint, "external.mode") {
				t.Errorf("%s: %+v", mode, p)
			}
		}
	}
	e := byHandler(t, nil, "exit 0")
	e.instance.NonInteractive = true
	if _, err := e.Run(t.Context(), sdk.HookEvent{Event: sdk.EventPre}, &recorder{}); err != nil {
		t.Errorf("a handler asks nobody: %v", err)
	}
	must(t, os.Chmod(e.handler, 0o600))
	_, err := e.Run(t.Context(), sdk.HookEvent{Event: sdk.EventPre}, &recorder{})
	if p := sdk.ProblemOf(err); p == nil || !strings.Contains(p.Hint, "chmod +x") {
		t.Errorf("%+v", p)
	}
}

// A line is awaited after each perform_challenge, and after nothing else; nothing
// is in place before the last line has come.
func TestJSONModeWaits(t *testing.T) {
	e := configured(t, defaults(), sdk.Instance{})
	r := &recorder{answers: 2}
	challenges := []sdk.Challenge{dns("a.test"), http01("b.test")}
	must(t, e.Perform(t.Context(), challenges, r))
	must(t, e.Cleanup(t.Context(), challenges, r))
	var order []string
	for _, s := range r.story {
		order = append(order, strings.SplitN(s, ",", 2)[0])
	}
	want := []string{`{"cmd": "perform_challenge"`, "ask ", `{"cmd": "perform_challenge"`, "ask ", `{"cmd": "cleanup"`, `{"cmd": "cleanup"`}
	if diff := cmp.Diff(want, order); diff != "" || len(r.failures()) > 0 || len(r.results) != 4 {
		t.Errorf("%s%+v", diff, r.results)
	}
	r = &recorder{answers: 1}
	p := sdk.ProblemOf(e.Perform(t.Context(), challenges, r))
	if p == nil || p.Code != sdk.Cancelled || !strings.Contains(p.Error(), "http-01 for b.test: wait until the proof for b.test is in place: standard input ended") || len(r.results) > 0 {
		t.Errorf("%+v, %v", p, r.results)
	}
}

func TestTextMode(t *testing.T) {
	s := defaults()
	s.Mode = textMode
	e := configured(t, s, sdk.Instance{})
	r := &recorder{answers: 2}
	challenges := []sdk.Challenge{dns("a.test"), http01("b.test")}
	must(t, e.Perform(t.Context(), challenges, r))
	must(t, e.Cleanup(t.Context(), challenges, r))
	_, err := e.Save(t.Context(), sdk.SaveRequest{Title: "x"}, r)
	must(t, errors.Join(err, e.Restart(t.Context(), r)))
	_, err = e.Run(t.Context(), sdk.HookEvent{Event: sdk.EventFinish, Outcome: "ok"}, r)
	must(t, err)
	said := r.said[sdk.Stdout]
	for _, want := range []string{
		"_acme-challenge.a.test.\n", "\ndigest-a.test\n", "http://b.test/.well-known/acme-challenge/token-b.test\n", "printf \"%s\" token-b.test.thumb > ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if strings.Count(said, "Press ENTER to continue") != 2 || strings.Contains(said, `"cmd"`) {
		t.Errorf("said\n%s", said)
	}
}

func TestObjectsAreWrittenAsPythonDoes(t *testing.T) {
	o := object{
		{"s", "a\"b\\c\n<&>\u00e9\U0001f600\x7f"}, {"n", nil}, {"t", true}, {"i", int64(5)}, {"f", 1.5}, {"whole", 2.0},
		{"l", []string{}}, {"o", []object{{{"k", "v"}}, {}}}, {"command", "c"},
	}
	want := `{"s": "a\"b\\c\n<&>\u00e9\ud83d\ude00` + "\x7f" + `", "n": null, "t": true, "i": 5, "f": 1.5, "whole": 2.0, "l": [], "o": [{"k": "v"}, {}], "command": "c"}`
	if diff := cmp.Diff(want, o.text()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	env := o.environment()
	for name, want := range map[string]string{
		"s": "a\"b\\c\n<&>\u00e9\U0001f600\x7f", "n": "None", "cbot_n": "None", "t": "True", "cbot_t": "True", "i": "5", "f": "2", "cbot_whole": "2", "cbot_json": o.text(),
	} {
		if env[name] != want {
			t.Errorf("%s is %q", name, env[name])
		}
	}
	if _, ok := env["command"]; ok || env["cbot_command"] != "" {
		t.Error("the command is passed on")
	}
}

func TestCleanupShowsTheChallengeAsItWasChosen(t *testing.T) {
	c := dns("a.test")
	c.RawJSON = []byte(`{"status":"processing","validated":"2026-01-02T03:04:05Z","error":{"type":"t"}}`)
	want := `{"cmd": "cleanup", "type": "dns-01", "status": "processing", "domain": "a.test", "token": "token-a.test", "validation": "digest-a.test", ` +
		`"key_auth": "token-a.test.thumb", "validated": "2026-01-02T03:04:05Z", "error": "{\"type\":\"t\"}"}`
	if got := cleanupObject(c).text(); got != want {
		t.Error(got)
	}
}

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		quiet  bool
		events []sdk.HookEvent
		want   string
	}{
		"nothing": {false, []sdk.HookEvent{{Event: sdk.EventFinish, Outcome: "ok"}}, `{"cmd": "report", "messages": []}`},
		"failure": {false, []sdk.HookEvent{{Event: sdk.EventFinish, Outcome: "failed", Messages: []string{"a.test: why\nmore"}}},
			`{"cmd": "report", "messages": [{"priority": 0, "on_crash": true, "lines": ["a.test: why", "more"]}]}`},
		"quiet": {true, []sdk.HookEvent{
			{Event: sdk.EventSuccess, Lineage: "b.test"}, {Event: sdk.EventFinish, Outcome: "partial", Messages: []string{"a.test: why"}},
		}, `{"cmd": "report", "messages": [{"priority": 0, "on_crash": true, "lines": ["a.test: why"]}]}`},
		"quiet success": {true, []sdk.HookEvent{{Event: sdk.EventFinish, Outcome: "ok", Messages: []string{"warned"}, Renewed: []string{"b.test"}}},
			`{"cmd": "report", "messages": []}`},
		"success": {false, []sdk.HookEvent{
			{Event: sdk.EventSuccess, Lineage: "b.test", Paths: sdk.Paths{Fullchain: "/live/b.test/fullchain.pem"}, NotAfter: time.Date(2027, 1, 25, 1, 2, 3, 0, time.UTC)},
			{Event: sdk.EventFinish, Outcome: "ok", Renewed: []string{"b.test", "c.test"}},
		}, `{"cmd": "report", "messages": [{"priority": 1, "on_crash": true, "lines": ["Congratulations! The certificate b.test and its chain are saved at /live/b.test/fullchain.pem. It will expire on 2027-01-25. To obtain a new or changed version of it, run certwright again; \"certwright renew\" renews all certificates that are due."]}, {"priority": 1, "on_crash": true, "lines": ["The certificate c.test has been obtained."]}]}`},
	} {
		e := configured(t, defaults(), sdk.Instance{Quiet: c.quiet})
		r := &recorder{}
		for _, event := range c.events {
			_, err := e.Run(t.Context(), event, r)
			must(t, err)
		}
		if diff := cmp.Diff(c.want+"\n", r.said[sdk.Stdout]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDeployWithoutCertificate(t *testing.T) {
	e := configured(t, defaults(), sdk.Instance{})
	r := &recorder{}
	err := e.Deploy(t.Context(), sdk.Deployment{Name: "a.test", Paths: sdk.Paths{Cert: filepath.Join(t.TempDir(), "none")}}, r)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "a.test") || r.said[sdk.Stdout] != "" {
		t.Errorf("%v", err)
	}
	must(t, e.Deploy(t.Context(), sdk.Deployment{Name: "a.test", DryRun: true}, r))
	if r.said[sdk.Stdout] != "" || len(r.results) != 1 {
		t.Errorf("a dry run says %q, %v", r.said[sdk.Stdout], r.results)
	}
}

func TestCancelled(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "begun")
	must(t, syscall.Mkfifo(fifo, 0o600))
	e := byHandler(t, nil, "echo $1 >"+fifo+"; exec cat "+fifo)
	for stage, call := range map[string]func(context.Context, []sdk.Challenge, sdk.Reporter) error{"pre-perform": e.Perform, "pre-cleanup": e.Cleanup} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- call(ctx, []sdk.Challenge{dns("a.test")}, &recorder{}) }()
		if got := read(t, fifo); got != stage+"\n" {
			t.Errorf("%q", got)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", stage, err)
		}
	}
}
