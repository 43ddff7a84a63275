package main

import (
	"fmt"
	"strings"
	"testing"
)

// knot writes a configuration of Knot DNS 3.2.
func knot(t *testing.T, s *realServer) []string {
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
    listen: %[1]s@%[2]s
    rundir: %[3]s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %[3]s
    journal-db-max-size: 20M
    kasp-db-max-size: 5M
    timer-db-max-size: 5M
    catalog-db-max-size: 5M
log:
  - target: stderr
    any: info
key:
`, s.host(), s.port(), s.dir)
	for _, name := range s.keyNames() {
		fmt.Fprintf(&conf, "  - id: %s.\n    algorithm: %s\n    secret: %s\n", name, algorithmOf(name), s.keys[name])
	}
	fmt.Fprintf(&conf, `acl:
  - id: all
    key: [%s.]
    action: update
  - id: other
    key: other.
    action: update
    update-type: TXT
    update-owner: name
    update-owner-match: equal
    update-owner-name: _acme-challenge
  - id: open
    address: 127.0.0.1
    action: update
template:
  - id: default
    storage: %s
    file: "%%s.zone"
    zonefile-sync: -1
    journal-content: all
zone:
`, strings.Join(algorithms, "., "), s.dir)
	for _, zone := range zones {
		s.write(t, zone+".zone", s.zoneFile(zone))
		acl := map[string]string{zoneOne: "all", zoneTwo: "other", zoneOpen: "open"}[zone]
		fmt.Fprintf(&conf, "  - domain: %s\n    acl: %s\n", zone, acl)
	}
	return []string{"/usr/sbin/knotd", "-c", s.write(t, "knot.conf", conf.String())}
}
