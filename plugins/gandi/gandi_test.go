package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) {
	mortal()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

func TestDeclaration(t *testing.T) {
	d, err := declaration(newGandi()).Description()
	must(t, err)
	if d.DNS != sdk.HostDNS || len(d.ChallengeTypes) != 3 || d.Permissions.Key != sdk.KeyBytes {
		t.Errorf("%+v", d)
	}
	if p := d.Permissions; p.Children || p.Unconfined || len(p.Write)+len(p.Execute)+len(p.BindTCP) > 0 {
		t.Errorf("the permissions are %+v", p)
	}
	secrets := map[string]bool{"token": true, "api_key": true, "sftp_key": true, "sftp_password": true}
	for _, s := range d.Settings {
		if s.Secret != secrets[s.Name] || s.Doc == "" {
			t.Errorf("setting %+v", s)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	files := settings{SFTPKey: "x", SFTPServer: "h", SFTPUser: "u", InstanceType: "php", HostKey: "SHA256:" + strings.Repeat("a", 43)}
	with := func(change func(*settings)) settings {
		s := files
		change(&s)
		return s
	}
	for _, c := range []struct {
		s       settings
		setting string
		say     string
	}{
		{settings{}, "token", "no credentials"},
		{settings{Token: "a b"}, "token", "that is no token"},
		{settings{APIKey: "pat_x"}, "api_key", "24 letters and digits"},
		{settings{Token: "x", TTL: 60e9}, "ttl", "1m0s"},
		{settings{Token: "x", Challenges: []string{"tls-alpn-01"}}, "challenges", "not answered"},
		{settings{Token: "x", Endpoints: []string{"host"}}, "endpoints", "not host:port"},
		{settings{Token: "x", Endpoint: "ftp://x"}, "endpoint", "no http or https URL"},
		{settings{Token: "x", RPCEndpoint: "x"}, "rpc_endpoint", "no http or https URL"},
		{settings{Token: "x", Challenges: []string{sdk.HTTP01}, HostKey: files.HostKey, SFTPServer: "h", SFTPUser: "u", InstanceType: "php"}, "sftp_key", "no login"},
		{with(func(s *settings) { s.HostKey = "" }), "host_key", "could be anybody"},
		{with(func(s *settings) { s.HostKey = "SHA256:short" }), "host_key", "no SHA256 fingerprint"},
		{with(func(s *settings) { s.HostKey = "nonsense" }), "host_key", "neither a fingerprint nor a public key"},
		{with(func(s *settings) { s.KnownHosts = "known_hosts" }), "known_hosts", "absolute"},
		{with(func(s *settings) { s.SFTPServer = "" }), "instance", "where the files go"},
		{with(func(s *settings) { s.InstanceType = "perl" }), "instance_type", "none that is known"},
		{with(func(s *settings) { s.VHost = "../x" }), "vhost", "not the name"},
	} {
		g := newGandi()
		g.settings = defaults(c.s)
		err := g.Configure(t.Context(), sdk.Instance{StateDir: t.TempDir(), ValidateOnly: true})
		if p := wantProblem(t, err, sdk.InvalidConfig, c.say); p.Subject != c.setting {
			t.Errorf("%+v: the problem is with %q, want %q", c.s, p.Subject, c.setting)
		}
	}
	g := newGandi()
	g.settings = defaults(files)
	must(t, g.Configure(t.Context(), sdk.Instance{ValidateOnly: true}))
}

func TestPreferences(t *testing.T) {
	login := settings{SFTPKey: "x", HostKey: "SHA256:" + strings.Repeat("a", 43), SFTPServer: "h", SFTPUser: "u", InstanceType: "php"}
	both := login
	both.Token = "x"
	turned := both
	turned.Challenges = []string{sdk.HTTP01, sdk.DNS01}
	key := settings{APIKey: goodKey}
	name, wildcard := sdk.Identifier{Type: "dns", Value: "a.test"}, sdk.Identifier{Type: "dns", Value: "a.test", Wildcard: true}
	for _, c := range []struct {
		s    settings
		id   sdk.Identifier
		want string
	}{
		{settings{Token: "x"}, name, "dns-01 dns-account-01"},
		{key, wildcard, "dns-01 dns-account-01"},
		{login, name, "http-01"},
		{login, wildcard, ""},
		{both, name, "dns-01 dns-account-01 http-01"},
		{both, wildcard, "dns-01 dns-account-01"},
		{turned, name, "http-01 dns-01 dns-account-01"},
	} {
		got, err := configured(t, c.s, t.TempDir()).Prefer(t.Context(), []sdk.Identifier{c.id})
		must(t, err)
		if strings.Join(got[0].ChallengeTypes, " ") != c.want || (got[0].Err != nil) != (c.want == "") {
			t.Errorf("%+v: %+v, want %q", c.s, got[0], c.want)
		}
	}
}
