package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

func TestSettings(t *testing.T) {
	dir, _ := scripted(t, "", "")
	put(t, dir, "dns_other.sh", "")
	empty := t.TempDir()
	_ = os.Chmod(empty, 0o700)
	for name, c := range map[string]struct {
		change  func(*settings)
		subject string // none: it is right
		says    string
		hint    string
	}{
		"right":                 {change: func(*settings) {}},
		"by its file":           {change: func(s *settings) { s.Script = "dns_x.sh" }},
		"by its whole name":     {change: func(s *settings) { s.Script = "dns_x" }},
		"another shell":         {change: func(s *settings) { s.Shell = "busybox sh" }},
		"variables":             {change: func(s *settings) { s.Env = of("A_b1", "x", "PATH", "/bin:/usr/bin") }},
		"no script of the name": {func(s *settings) { s.Script = "y" }, "script", "there is no dns_y.sh in " + dir, "dns_other, dns_x"},
		"almost the name":       {func(s *settings) { s.Script = "xx" }, "script", "there is no dns_xx.sh", "there: dns_x"},
		"a path":                {func(s *settings) { s.Script = "../x" }, "script", "is not the name", "dns_nsupdate"},
		"no name":               {func(s *settings) { s.Script = "" }, "script", "is not the name", "dns_nsupdate"},
		"an empty directory":    {func(s *settings) { s.Dir = empty }, "dir", "there is no dns_*.sh in " + empty, "directory"},
		"no directory":          {func(s *settings) { s.Dir += "/none" }, "dir", "no such file", "correct the path"},
		"a file":                {func(s *settings) { s.Dir += "/dns_x.sh" }, "dir", "is no directory", "correct the path"},
		"relative":              {func(s *settings) { s.Dir = "scripts" }, "dir", "not an absolute path", "whole path"},
		"relative account":      {func(s *settings) { s.AccountConf = "account.conf" }, "account_conf", "not an absolute path", "whole path"},
		"no shell":              {func(s *settings) { s.Shell = " " }, "shell", "is empty", "sh"},
		"an unknown shell":      {func(s *settings) { s.Shell = "no-such-shell" }, "shell", "not in PATH", "full path"},
		"a bad variable":        {func(s *settings) { s.Env = of("A-B", "x") }, "env.A-B", "cannot be the name of a variable", "script"},
		"our variable":          {func(s *settings) { s.Env = of("HTTP_HEADER", "x") }, "env.HTTP_HEADER", "set by this plugin", "leave it out"},
		"no time":               {func(s *settings) { s.CallTimeout = -1 }, "call_timeout", "no script ends", "5m"},
		"a wait in the past":    {func(s *settings) { s.Wait = -time.Second }, "wait", "in the past", "30s"},
	} {
		with := given(settings{Dir: dir, Script: "x"})
		c.change(&with)
		d := &dnsapi{settings: with}
		p := sdk.ProblemOf(d.Configure(t.Context(), sdk.Instance{StateDir: "/no/such/directory", ValidateOnly: true}))
		switch {
		case c.subject == "" && p == nil:
		case c.subject == "" || p == nil:
			t.Errorf("%s: %v", name, p)
		case p.Code != sdk.InvalidConfig || p.Subject != c.subject || !strings.Contains(p.Error(), c.says) || !strings.Contains(p.Hint, c.hint):
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// A script is run with all that the user may do, so nobody else may write it.
func TestScriptsOfOthersAreRefused(t *testing.T) {
	for name, change := range map[string]func(dir, file string) error{
		"a script that the world may write":    func(_, file string) error { return os.Chmod(file, 0o602) },
		"a directory that the world may write": func(dir, _ string) error { return os.Chmod(dir, 0o777) },
		"a script of another user": func(_, file string) error {
			if os.Geteuid() != 0 {
				return os.Chmod(file, 0o606) // only root can give it away
			}
			return os.Chown(file, 4242, 4242)
		},
	} {
		dir, _ := scripted(t, "", "")
		if err := change(dir, filepath.Join(dir, "dns_x.sh")); err != nil {
			t.Fatal(err)
		}
		d := &dnsapi{settings: given(settings{Dir: dir, Script: "x"})}
		p := sdk.ProblemOf(d.Configure(t.Context(), sdk.Instance{}))
		if p == nil || !strings.HasPrefix(p.Hint, "run chmod go-w "+dir) && !strings.Contains(p.Hint, "chown") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestOptionsOf(t *testing.T) {
	for text, want := range map[string][]option{
		"": nil, "dns_x_info='no options'\n": nil,
		`#!/bin/sh
dns_x_info='A provider
Site: x.example
Options:
 X_User User name
 X_Key: The key. E.g. "abc"
OptionsAlt:
 X_Token Token, which
  may be long
 lower not a name
Issues: github.com/x
Author: Somebody X_Author nobody
'
X_Other=1
`: {{"X_User", "User name"}, {"X_Key", `The key. E.g. "abc"`}, {"X_Token", "instead: Token, which may be long lower not a name"}},
		"dns_x_info=\"Options:\nX_URL Of the API\nX_KEY\n\"": {{"X_URL", "Of the API"}, {"X_KEY", ""}},
	} {
		if diff := cmp.Diff(want, optionsOf(text), cmp.AllowUnexported(option{})); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", text, diff)
		}
	}
}
