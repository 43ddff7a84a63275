package main

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestWrongSettings(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	put(t, filepath.Join(dir, "f"), "", 0o600)
	ok := filepath.Join(dir, "ok.pem")
	for _, tt := range []struct {
		s       settings
		setting string
		say     string
	}{
		{settings{}, "cert", "set one of cert, chain, fullchain, key and combined"},
		{settings{Cert: "relative.pem"}, "cert", "not an absolute path"},
		{settings{Chain: dir + "/none/c.pem"}, "chain", "create " + dir + "/none"},
		{settings{Fullchain: dir + "/f/c.pem"}, "fullchain", "is not a directory"},
		{settings{Key: dir + "/d"}, "key", "is a directory"},
		{settings{Key: dir + "/d/"}, "key", "names a directory"},
		{settings{Key: "/dev/null"}, "key", "not a regular file"},
		{settings{Combined: dir + "/{lineage}"}, "combined", "not {name}"},
		{settings{Cert: ok, Key: dir + "/./ok.pem"}, "cert", "is the path of key already"},
		{settings{Cert: ok, Mode: "644x"}, "mode", "write it in octal"},
		{settings{Cert: ok, Mode: "0"}, "mode", "write it in octal"},
		{settings{Cert: ok, KeyMode: "04755"}, "key_mode", "write it in octal"},
		{settings{Cert: ok, Owner: "no-such-user-here"}, "owner", "not known here"},
		{settings{Cert: ok, Owner: ":no-such-group-here"}, "owner", "write its number"},
		{settings{Cert: ok, Owner: ":"}, "owner", "names nobody"},
		{settings{Cert: ok, CombinedOrder: "cert,certs"}, "combined_order", "none of cert, chain and key"},
		{settings{Cert: ok, CombinedOrder: "cert,key,cert"}, "combined_order", "named twice"},
		{settings{Cert: ok, CombinedOrder: "key"}, "combined_order", "cert is missing"},
		{settings{Cert: ok, Endpoints: []string{"host"}}, "endpoints", "not host:port"},
		{settings{Cert: ok, Endpoints: []string{"h:1", "http://host:80"}}, "endpoints", "none of tls, smtp, imap and pop3"},
		{settings{Cert: ok, Endpoints: []string{"host:https"}}, "endpoints", "not host:port"},
		{settings{Cert: ok, Endpoints: []string{":443"}}, "endpoints", "not host:port"},
		{settings{Cert: ok, Endpoints: []string{"https://h/x:443"}}, "endpoints", "none of tls"},
	} {
		f := newFiles()
		f.settings = defaults(tt.s)
		state := t.TempDir()
		err := f.Configure(t.Context(), sdk.Instance{StateDir: state})
		found := problems(err)
		if len(found) != 1 || found[tt.setting] == nil {
			t.Errorf("%+v: %v", tt.s, err)
			continue
		}
		p := found[tt.setting]
		wantError(t, p, sdk.InvalidConfig, tt.say)
		equal(t, sdk.RetryNever, p.Retry)
		equal(t, 0, len(look(t, state)))
	}
}

func TestOneProblemForEachSetting(t *testing.T) {
	f := newFiles()
	f.settings = settings{Cert: "x", Key: "y", Mode: "z", KeyMode: "z", CombinedOrder: "z", Owner: ":", Endpoints: []string{"a", "b"}}
	found := problems(f.Configure(t.Context(), sdk.Instance{}))
	equal(t, 7, len(found))
	if p := found["endpoints"]; p == nil || !strings.Contains(p.Error(), `"a"`) || !strings.Contains(p.Error(), `"b"`) {
		t.Errorf("%v", p)
	}
}

func TestGoodSettings(t *testing.T) {
	me, err := user.Current()
	must(t, err)
	group, err := user.LookupGroupId(me.Gid)
	must(t, err)
	uid, err := strconv.Atoi(me.Uid)
	must(t, err)
	gid, err := strconv.Atoi(me.Gid)
	must(t, err)
	dir := t.TempDir()
	for owner, want := range map[string][2]*int{
		"":                             {nil, nil},
		me.Username:                    {&uid, nil},
		me.Username + ":" + group.Name: {&uid, &gid},
		":" + group.Name:               {nil, &gid},
		me.Uid + ":" + me.Gid:          {&uid, &gid},
	} {
		s := defaults(settings{Cert: dir + "/{name}/c.pem", Owner: owner, Mode: "0o640", CombinedOrder: "key, cert"})
		c, err := s.parse()
		must(t, err)
		equal(t, want, [2]*int{c.uid, c.gid})
		equal(t, os.FileMode(0o640), c.targets[0].mode)
	}
}

func TestValidateOnlyTouchesNothing(t *testing.T) {
	f := newFiles()
	f.settings = defaults(settings{Cert: filepath.Join(t.TempDir(), "c.pem")})
	state := t.TempDir()
	must(t, f.Configure(t.Context(), sdk.Instance{StateDir: state, ValidateOnly: true}))
	entries, err := os.ReadDir(state)
	must(t, err)
	equal(t, 0, len(entries))
}
