package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// configurers write the configuration of each server and give its command line.
var configurers = map[string]func(*testing.T, *realServer) []string{
	"BIND": bind, "Knot": knot, "PowerDNS": powerDNS,
}

func TestRealServers(t *testing.T) {
	binary := build(t)
	for name, configure := range configurers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startReal(t, configure)
			for _, algorithm := range algorithms {
				t.Run(algorithm, func(t *testing.T) { oneValueAtATime(t, s, s.with(algorithm)) })
			}
			t.Run("tcp", func(t *testing.T) {
				over := s.with("hmac-sha256")
				over.Protocol = "tcp"
				oneValueAtATime(t, s, over)
			})
			t.Run("large", func(t *testing.T) { longValue(t, s) })
			t.Run("least privilege", func(t *testing.T) { leastPrivilege(t, s, name != "PowerDNS") })
			t.Run("mistakes", func(t *testing.T) { mistakes(t, s) })
			t.Run("conformance", func(t *testing.T) { conforms(t, s, binary) })
		})
	}
}

// with gives the settings of an instance that uses the key of this name.
func (s *realServer) with(keyName string) settings {
	return settings{
		Server: s.addr, TSIGName: keyName, TSIGSecret: sdk.Secret(s.keys[keyName]),
		TSIGAlgorithm: algorithmOf(keyName), TTL: time.Minute, Timeout: patience,
	}
}

func oneValueAtATime(t *testing.T, s *realServer, with settings) {
	r := configured(t, with)
	record := func(value string) sdk.TXT {
		return sdk.TXT{Zone: zoneOne, Name: "_acme-challenge.Www." + zoneOne, Value: value}
	}
	name := record("").Name
	set := func(value string) {
		t.Helper()
		if _, err := r.SetTXT(t.Context(), record(value)); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(value string) {
		t.Helper()
		if err := r.DeleteTXT(t.Context(), record(value)); err != nil {
			t.Fatal(err)
		}
	}
	remove("a") // of a name that does not exist
	set("a")
	set("b")
	s.holds(t, name, "a", "b")
	set("a")
	s.holds(t, name, "a", "b")
	remove("a")
	s.holds(t, name, "b")
	remove("a")
	remove("A") // values have a case
	s.holds(t, name, "b")
	remove("b")
	s.holds(t, name)
}

func longValue(t *testing.T, s *realServer) {
	r := configured(t, s.with("hmac-sha512"))
	long := sdk.TXT{Zone: zoneOne, Name: "long." + zoneOne, Value: strings.Repeat(`abc;\`, 150)}
	if _, err := r.SetTXT(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	if got := s.ask(t, "tcp", long.Name); len(got) != 1 || len(strings.ReplaceAll(got[0], `\\`, `\`)) != len(long.Value) {
		t.Errorf("the value is %q", got)
	}
	if err := r.DeleteTXT(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	s.holds(t, long.Name)
}

// leastPrivilege uses a key that may do what README.md grants and no more;
// limited tells whether the server can limit a key to one name.
func leastPrivilege(t *testing.T, s *realServer, limited bool) {
	r := configured(t, s.with(otherKey))
	record := sdk.TXT{Zone: zoneTwo, Name: "_acme-challenge." + zoneTwo, Value: "v"}
	if _, err := r.SetTXT(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	s.holds(t, record.Name, "v")
	if err := r.DeleteTXT(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	s.holds(t, record.Name)
	record.Name = "www." + zoneTwo
	if _, err := r.SetTXT(t.Context(), record); limited && err == nil {
		t.Errorf("the key may change %s", record.Name)
	}
}

func mistakes(t *testing.T, s *realServer) {
	right := s.with("hmac-sha256")
	record := sdk.TXT{Zone: zoneOne, Name: "_acme-challenge.mistake." + zoneOne, Value: "v"}
	for name, c := range map[string]struct {
		change func(*rfc2136, *sdk.TXT)
		codes  []sdk.Code // servers differ; none: it is right
		hint   string
	}{
		"nothing wrong": {change: func(*rfc2136, *sdk.TXT) {}},
		"wrong secret": {func(r *rfc2136, _ *sdk.TXT) { r.client.key.secret = otherSecret },
			[]sdk.Code{sdk.Credentials}, "tsig_secret"},
		"unknown key": {func(r *rfc2136, _ *sdk.TXT) { r.client.key.name = "stranger." },
			[]sdk.Code{sdk.Credentials}, "tsig_name"},
		"wrong algorithm": {func(r *rfc2136, _ *sdk.TXT) { r.client.key.algorithm = "hmac-sha512." },
			[]sdk.Code{sdk.Credentials}, "tsig_algorithm"},
		"a clock that is late": {func(r *rfc2136, _ *sdk.TXT) {
			r.client.now = func() time.Time { return time.Now().Add(-24 * time.Hour) }
		}, []sdk.Code{sdk.Credentials}, "clock"},
		"a key of another zone": {func(_ *rfc2136, record *sdk.TXT) {
			record.Zone, record.Name = zoneTwo, "_acme-challenge."+zoneTwo
		}, []sdk.Code{sdk.PermissionDenied, sdk.Credentials}, zoneTwo}, // Knot: BADKEY
		"a zone that is not there": {func(_ *rfc2136, record *sdk.TXT) {
			record.Zone, record.Name = "three.test", "_acme-challenge.three.test"
		}, []sdk.Code{sdk.NotFound}, "three.test"},
		"a name outside of the zone": {func(_ *rfc2136, record *sdk.TXT) {
			record.Name = "_acme-challenge." + zoneTwo
		}, []sdk.Code{sdk.NotFound}, zoneOne},
		"no key": {func(r *rfc2136, _ *sdk.TXT) { r.client.key = key{} },
			[]sdk.Code{sdk.PermissionDenied, sdk.NotFound}, "tsig_name"}, // Knot: NOTAUTH
		"no key where none is wanted": {change: func(r *rfc2136, record *sdk.TXT) {
			r.client.key = key{}
			record.Zone, record.Name = zoneOpen, "_acme-challenge."+zoneOpen
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r, record := configured(t, right), record
			c.change(r, &record)
			_, err := r.SetTXT(t.Context(), record)
			undo := r.DeleteTXT(t.Context(), record)
			if len(c.codes) == 0 {
				if err := errors.Join(err, undo); err != nil {
					t.Error(err)
				}
				return
			}
			for _, p := range []*sdk.Problem{sdk.ProblemOf(err), sdk.ProblemOf(undo)} {
				ok := false
				for _, code := range c.codes {
					ok = ok || p != nil && p.Code == code
				}
				if !ok || !strings.Contains(p.Hint, c.hint) {
					t.Errorf("the problem is %+v", p)
				}
			}
			t.Logf("%v", err)
			s.holds(t, record.Name)
		})
	}
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "certwright-plugin-rfc2136")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// conforms runs the suite on the real binary, as it is released.
func conforms(t *testing.T, s *realServer, binary string) {
	plugintest.Run(t, plugintest.Suite{
		Binary:     binary,
		Settings:   map[string]any{"server": s.addr, "tsig_name": "hmac-sha256"},
		Secrets:    map[string][]byte{"tsig_secret": []byte(s.keys["hmac-sha256"])},
		Domain:     zoneOne,
		DNSAddress: s.addr,
	})
	s.holds(t, "_acme-challenge.a."+zoneOne)
}
