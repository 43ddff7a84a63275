package main

import (
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// server is one kind of name server with the script for it.
type server struct {
	configure func(*testing.T, *nameServer) []string
	script    string
	// env gives the script's variables for a zone.
	env func(s *nameServer, zone string) []string
	// removesAll says that the script removes all values of a name.
	removesAll bool
}

var servers = map[string]server{
	"BIND": {bind, "dns_bindzone", func(s *nameServer, zone string) []string {
		return []string{"BINDZONE_SERVER", s.host(), "BINDZONE_PORT", s.port(), "BINDZONE_KEY", s.keyFile(zone)}
	}, true},
	"PowerDNS": {powerDNS, "dns_pdnsrest", func(s *nameServer, _ string) []string {
		return []string{"PDNSREST_URL", s.api, "PDNSREST_KEY", s.apiKey}
	}, false},
	"Knot": {knot, "dns_knotzone", func(s *nameServer, zone string) []string {
		return []string{"KNOTZONE_SERVER", s.host() + " " + s.port(), "KNOTZONE_KEY", "hmac-sha256:" + keyOf(zone) + ":" + s.secrets[zone]}
	}, false},
}

// Wildcard and base name share a record set: both values are there at once, and both
// are gone afterwards, also if a new process cleans up, and if it does so again.
func TestRealServers(t *testing.T) {
	dir := scripts(t)
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, server.configure)
			for _, shell := range shellsFor(server.script) {
				t.Run(shell, func(t *testing.T) {
					state := t.TempDir()
					with := settings{Dir: dir, Script: server.script, Shell: shell, Env: of(server.env(s, zoneOne)...)}
					first, second := challenge("_acme-challenge."+zoneOne, "aaa"), challenge("_acme-challenge."+zoneOne, "bbb")
					third := challenge("_acme-challenge.www."+zoneOne, "ccc")
					d := configured(t, with, state)
					performed(t, d, first, second, third)
					s.holds(t, first.DNS.Name, "aaa", "bbb")
					s.holds(t, third.DNS.Name, "ccc")
					performed(t, d, first) // the same operation again
					s.holds(t, first.DNS.Name, "aaa", "bbb")
					cleaned(t, d, first, second)
					s.holds(t, first.DNS.Name)
					s.holds(t, third.DNS.Name, "ccc")
					again := configured(t, with, state)
					cleaned(t, again, third, first, second)
					s.holds(t, third.DNS.Name)
				})
			}
		})
	}
}

// The suite wants other values of a name to be left alone, which not every script
// does.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-dnsapi")
	build(t, binary, ".")
	s := startServer(t, bind)
	plugintest.Run(t, plugintest.Suite{
		Binary: binary,
		Settings: map[string]any{
			"dir": scripts(t), "script": "dns_bindzone", "wait": "0s",
			"env": map[string]string{"BINDZONE_SERVER": s.host(), "BINDZONE_PORT": s.port(), "BINDZONE_ONLY": "this value"},
		},
		Secrets:    map[string][]byte{"env.BINDZONE_KEY": []byte(s.keyFile(zoneOne))},
		Domain:     zoneOne,
		DNSAddress: s.addr,
	})
	s.holds(t, "_acme-challenge.a."+zoneOne)
}
