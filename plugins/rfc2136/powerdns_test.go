package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const powerDNSSchema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"

// powerDNS fills a database and writes a configuration of PowerDNS 4.7.
func powerDNS(t *testing.T, s *realServer) []string {
	var sql strings.Builder
	fmt.Fprintf(&sql, ".bail on\n.read %s\nBEGIN;\n", powerDNSSchema)
	for _, name := range s.keyNames() {
		fmt.Fprintf(&sql, "INSERT INTO tsigkeys (name, algorithm, secret) VALUES ('%s', '%s', '%s');\n", name, algorithmOf(name), s.keys[name])
	}
	for i, zone := range zones {
		id := i + 1
		fmt.Fprintf(&sql, "INSERT INTO domains (id, name, type) VALUES (%d, '%s', 'NATIVE');\n", id, zone)
		for _, record := range [][3]string{
			{zone, "SOA", "ns." + zone + " hostmaster." + zone + " 1 3600 600 86400 60"},
			{zone, "NS", "ns." + zone},
			{"ns." + zone, "A", s.host()},
			{"mark." + zone, "TXT", `"` + s.mark + `"`},
		} {
			fmt.Fprintf(&sql, "INSERT INTO records (domain_id, name, type, content, ttl, disabled, auth) VALUES (%d, '%s', '%s', '%s', 60, 0, 1);\n",
				id, record[0], record[1], record[2])
		}
		for _, key := range map[string][]string{zoneOne: algorithms, zoneTwo: {otherKey}}[zone] {
			fmt.Fprintf(&sql, "INSERT INTO domainmetadata (domain_id, kind, content) VALUES (%d, 'TSIG-ALLOW-DNSUPDATE', '%s');\n", id, key)
		}
	}
	sql.WriteString("COMMIT;\n")
	database := filepath.Join(s.dir, "db")
	fill := exec.CommandContext(t.Context(), "sqlite3", database)
	fill.Stdin = strings.NewReader(sql.String())
	if out, err := fill.CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v\n%s", err, out)
	}
	s.write(t, "pdns.conf", fmt.Sprintf(`launch=gsqlite3
gsqlite3-database=%s
socket-dir=%s
setuid=
setgid=
local-address=%s
local-port=%s
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
security-poll-suffix=
daemon=no
guardian=no
`, database, s.dir, s.host(), s.port()))
	return []string{"/usr/sbin/pdns_server", "--config-dir=" + s.dir}
}
