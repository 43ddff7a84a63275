package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

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

// defaults are what the SDK fills in.
func defaults() settings {
	return settings{Mode: jsonMode, Variant: "out", SelfCheck: true, HandlerTimeout: time.Minute}
}

func configured(t *testing.T, s settings, instance sdk.Instance) *external {
	t.Helper()
	e := newExternal(time.Now())
	e.settings = s
	must(t, e.Configure(t.Context(), instance))
	// Nothing of a test can be seen from anywhere.
	e.seen = seer{
		txt: func(context.Context, string) ([]string, error) { return nil, io.EOF },
		get: func(context.Context, string) (string, error) { return "", io.EOF },
	}
	return e
}

// byHandler is an instance with a handler of these lines.
func byHandler(t *testing.T, change func(*settings), lines string) *external {
	t.Helper()
	s := defaults()
	s.Mode, s.Handler = handlerMode, executable(t, lines)
	if change != nil {
		change(&s)
	}
	return configured(t, s, sdk.Instance{Name: "external"})
}

func executable(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "handler.sh")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700))
	return path
}

func dns(name string) sdk.Challenge {
	return sdk.Challenge{
		ID: "i/dns/" + name, Type: sdk.DNS01, Identifier: sdk.Identifier{Type: "dns", Value: name},
		Token: "token-" + name, KeyAuthorization: "token-" + name + ".thumb",
		DNS:     &sdk.DNSChallenge{Name: "_acme-challenge." + name, Value: "digest-" + name},
		RawJSON: []byte(`{"type":"dns-01","status":"pending"}`),
	}
}

func http01(name string) sdk.Challenge {
	c := sdk.Challenge{
		ID: "i/http/" + name, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name},
		Token: "token-" + name, KeyAuthorization: "token-" + name + ".thumb",
		RawJSON: []byte(`{"type":"http-01","status":"pending"}`),
	}
	c.HTTP = &sdk.HTTPChallenge{Path: "/.well-known/acme-challenge/" + c.Token, Body: []byte(c.KeyAuthorization)}
	return c
}

// recorder keeps what a plugin says and asks, in one story, and answers.
type recorder struct {
	results []sdk.Result
	story   []string
	said    map[sdk.Stream]string
	// answers are how many lines there are to read; less than 0: nobody can be asked.
	answers int
}

func (r *recorder) Progress(_, message string) { r.story = append(r.story, "progress "+message) }

func (r *recorder) Say(to sdk.Stream, text string) {
	if r.said == nil {
		r.said = map[sdk.Stream]string{}
	}
	r.said[to] += text
	r.story = append(r.story, text)
}

func (r *recorder) Ask(_ context.Context, text string) (string, error) {
	r.story = append(r.story, "ask "+text)
	if r.answers < 0 {
		return "", sdk.ErrNotInteractive
	}
	if r.answers == 0 {
		return "", io.EOF
	}
	r.answers--
	return "anything", nil
}

func (r *recorder) Result(result sdk.Result) { r.results = append(r.results, result) }

func (r *recorder) failures() (out []string) {
	for _, result := range r.results {
		if result.Err != nil {
			out = append(out, result.Subject+": "+result.Err.Error())
		}
	}
	return out
}

// cmds are the objects of a stdout by their command.
func cmds(stdout string) (out []string) {
	for line := range strings.Lines(stdout) {
		out = append(out, regexp.MustCompile(`^\{"cmd": "([a-z_]+)"`).FindStringSubmatch(line)[1])
	}
	return out
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
