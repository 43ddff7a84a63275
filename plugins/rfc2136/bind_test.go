package main

import (
	"fmt"
	"strings"
	"testing"
)

// bind writes a configuration of BIND 9.18.
func bind(t *testing.T, s *realServer) []string {
	var conf, grants strings.Builder
	fmt.Fprintf(&conf, `options {
	directory %[1]q; pid-file %[2]q; session-keyfile %[3]q; managed-keys-directory %[1]q; lock-file none;
	listen-on port %[4]s { %[5]s; }; listen-on-v6 { none; };
	recursion no; dnssec-validation no; empty-zones-enable no; notify no;
};
controls { };
`, s.dir, s.dir+"/pid", s.dir+"/session.key", s.port(), s.host())
	for _, name := range s.keyNames() {
		fmt.Fprintf(&conf, "key %q { algorithm %s; secret %q; };\n", name, algorithmOf(name), s.keys[name])
		if name != otherKey {
			fmt.Fprintf(&grants, "grant %s zonesub TXT; ", name)
		}
	}
	for zone, policy := range map[string]string{
		zoneOne:  "update-policy { " + grants.String() + "}",
		zoneTwo:  "update-policy { grant " + otherKey + " name _acme-challenge." + zoneTwo + ". TXT; }",
		zoneOpen: "allow-update { 127.0.0.1; }",
	} {
		s.write(t, zone+".zone", s.zoneFile(zone))
		fmt.Fprintf(&conf, "zone %q { type primary; file \"%s.zone\"; %s; };\n", zone, zone, policy)
	}
	return []string{"/usr/sbin/named", "-n", "1", "-g", "-c", s.write(t, "named.conf", conf.String())}
}
