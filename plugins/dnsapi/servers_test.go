package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk/plugintest"
)

// patience bounds what must happen sooner or later on a busy machine.
const patience = time.Minute

// Zones of every real server. Each has a key of its own, with the name of its first
// label; PowerDNS has one key of the API for all.
const (
	zoneOne   = "one.test"
	zoneTwo   = "two.test"
	zoneThree = "three.test"
)

var zones = []string{zoneOne, zoneTwo, zoneThree}

func keyOf(zone string) string { return strings.TrimSuffix(zone, ".test") }

// nameServer is a name server of others, started for one test.
type nameServer struct {
	addr string
	dir  string
	// secrets are those of the TSIG keys, by zone.
	secrets map[string]string
	// api is the URL of PowerDNS's API, and apiKey its key.
	api, apiKey string
	// mark is a value in zone one that no other server has.
	mark string
}

func (s *nameServer) host() string { return s.addr[:strings.LastIndexByte(s.addr, ':')] }
func (s *nameServer) port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

// keyFile is the path of a zone's key as nsupdate takes it.
func (s *nameServer) keyFile(zone string) string { return filepath.Join(s.dir, keyOf(zone)+".key") }

// zoneFile is the text of a zone of RFC 1035 section 5.
func (s *nameServer) zoneFile(zone string) string {
	return fmt.Sprintf("$ORIGIN %s.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A %s\nmark TXT %q\n",
		zone, s.host(), s.mark)
}

func (s *nameServer) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startServer starts a server by the command that configure gives, and waits until
// it answers. A port that is taken between our choice and the server's start is
// chosen again.
func startServer(t *testing.T, configure func(*testing.T, *nameServer) []string) *nameServer {
	t.Helper()
	var words string
	for range 3 {
		s := newServer(t)
		argv := configure(t, s)
		log, err := os.Create(filepath.Join(s.dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		// The context ends before the cleanup, so the server is told to stop first.
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = patience // then it is killed
		if err := cmd.Start(); err != nil {
			t.Fatalf("%v\ninstall the packages that .ci/packages names", err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait()
			_ = log.Close()
		}()
		t.Cleanup(func() { <-ended })
		if s.ready(t, ended) {
			return s
		}
		_ = cmd.Cancel()
		<-ended
		text, _ := os.ReadFile(log.Name())
		words = string(text)
	}
	t.Fatalf("the server did not start:\n%s", words)
	return nil
}

func newServer(t *testing.T) *nameServer {
	t.Helper()
	addr, release := freePort(t)
	defer release()
	dir, err := os.MkdirTemp("", "cwdns") //nolint:usetesting // t.TempDir is too long for the path of a unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &nameServer{addr: addr, dir: dir, secrets: map[string]string{}, mark: rand.Text(), apiKey: plugintest.Secret("key of PowerDNS")}
	for _, zone := range zones {
		s.secrets[zone] = plugintest.Secret(zone)
		s.write(t, keyOf(zone)+".key", fmt.Sprintf("key %q { algorithm hmac-sha256; secret %q; };\n", keyOf(zone), s.secrets[zone]))
	}
	return s
}

// freePort gives an address whose port is free over UDP and TCP until release.
func freePort(t *testing.T) (addr string, release func()) {
	t.Helper()
	for range 50 {
		stream, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", stream.Addr().String())
		if err != nil {
			_ = stream.Close()
			continue
		}
		return stream.Addr().String(), func() { _, _ = packets.Close(), stream.Close() }
	}
	t.Fatal("no port is free over UDP and TCP")
	return "", nil
}

// ready asks for the mark until it is there, over UDP and TCP, and for the API.
func (s *nameServer) ready(t *testing.T, ended <-chan struct{}) bool {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if slices.Equal(s.ask(t, "udp", "mark."+zoneOne), []string{s.mark}) && slices.Equal(s.ask(t, "tcp", "mark."+zoneOne), []string{s.mark}) &&
			s.answers(t) {
			return true
		}
		select {
		case <-ended:
			return false
		case <-deadline.C:
			return false
		case <-again.C:
		}
	}
}

func (s *nameServer) answers(t *testing.T) bool {
	if s.api == "" {
		return true
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.api+"/api/v1/servers/localhost", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-API-Key", s.apiKey)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// ask gives the sorted TXT values of a name; nil also if there is no answer.
func (s *nameServer) ask(t *testing.T, network, name string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := dns.Client{Net: network, Timeout: patience / 6}
	answer, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeTXT), s.addr)
	if err != nil {
		return nil
	}
	var values []string
	for _, rr := range answer.Answer {
		if record, ok := rr.(*dns.TXT); ok {
			values = append(values, strings.Join(record.Txt, ""))
		}
	}
	slices.Sort(values)
	return values
}

// holds fails the test unless a name has exactly these TXT values, sorted.
func (s *nameServer) holds(t *testing.T, name string, want ...string) {
	t.Helper()
	if got := s.ask(t, "tcp", name); !slices.Equal(got, want) {
		t.Errorf("%s has the values %q, want %q", name, got, want)
	}
}

// bind writes a configuration of BIND 9.18.
func bind(t *testing.T, s *nameServer) []string {
	var conf strings.Builder
	fmt.Fprintf(&conf, `options {
	directory %[1]q; pid-file %[2]q; session-keyfile %[3]q; managed-keys-directory %[1]q; lock-file none;
	listen-on port %[4]s { %[5]s; }; listen-on-v6 { none; };
	recursion no; dnssec-validation no; empty-zones-enable no; notify no;
};
controls { };
`, s.dir, s.dir+"/pid", s.dir+"/session.key", s.port(), s.host())
	for _, zone := range zones {
		s.write(t, zone+".zone", s.zoneFile(zone))
		fmt.Fprintf(&conf, "include %q;\nzone %q { type primary; file \"%s.zone\"; update-policy { grant %s zonesub TXT; }; };\n",
			s.keyFile(zone), zone, zone, keyOf(zone))
	}
	return []string{"/usr/sbin/named", "-n", "1", "-g", "-c", s.write(t, "named.conf", conf.String())}
}

// knot writes a configuration of Knot DNS 3.2.
func knot(t *testing.T, s *nameServer) []string {
	var keys, acls, served strings.Builder
	for _, zone := range zones {
		s.write(t, zone+".zone", s.zoneFile(zone))
		fmt.Fprintf(&keys, "  - id: %s.\n    algorithm: hmac-sha256\n    secret: %s\n", keyOf(zone), s.secrets[zone])
		fmt.Fprintf(&acls, "  - id: %[1]s\n    key: %[1]s.\n    action: update\n    update-type: TXT\n", keyOf(zone))
		fmt.Fprintf(&served, "  - domain: %s\n    acl: %s\n", zone, keyOf(zone))
	}
	return []string{"/usr/sbin/knotd", "-c", s.write(t, "knot.conf", fmt.Sprintf(`server:
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
%[4]sacl:
%[5]stemplate:
  - id: default
    storage: %[3]s
    file: "%%s.zone"
    zonefile-sync: -1
    journal-content: all
zone:
%[6]s`, s.host(), s.port(), s.dir, keys.String(), acls.String(), served.String()))}
}

const powerDNSSchema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"

// powerDNS fills a database and writes a configuration of PowerDNS 4.7 with its API.
func powerDNS(t *testing.T, s *nameServer) []string {
	var sql strings.Builder
	fmt.Fprintf(&sql, ".bail on\n.read %s\nBEGIN;\n", powerDNSSchema)
	for i, zone := range zones {
		fmt.Fprintf(&sql, "INSERT INTO domains (id, name, type) VALUES (%d, '%s', 'NATIVE');\n", i+1, zone)
		for _, record := range [][3]string{
			{zone, "SOA", "ns." + zone + " hostmaster." + zone + " 1 3600 600 86400 60"},
			{zone, "NS", "ns." + zone},
			{"ns." + zone, "A", s.host()},
			{"mark." + zone, "TXT", `"` + s.mark + `"`},
		} {
			fmt.Fprintf(&sql, "INSERT INTO records (domain_id, name, type, content, ttl, disabled, auth) VALUES (%d, '%s', '%s', '%s', 60, 0, 1);\n",
				i+1, record[0], record[1], record[2])
		}
	}
	sql.WriteString("COMMIT;\n")
	database := filepath.Join(s.dir, "db")
	fill := exec.CommandContext(t.Context(), "sqlite3", database)
	fill.Stdin = strings.NewReader(sql.String())
	if out, err := fill.CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v\n%s", err, out)
	}
	web, release := freePort(t)
	defer release()
	s.api = "http://" + web
	s.write(t, "pdns.conf", fmt.Sprintf(`launch=gsqlite3
gsqlite3-database=%s
socket-dir=%s
setuid=
setgid=
local-address=%s
local-port=%s
webserver=yes
webserver-address=127.0.0.1
webserver-port=%s
webserver-allow-from=127.0.0.0/8
api=yes
api-key=%s
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
security-poll-suffix=
daemon=no
guardian=no
`, database, s.dir, s.host(), s.port(), web[strings.LastIndexByte(web, ':')+1:], s.apiKey))
	return []string{"/usr/sbin/pdns_server", "--config-dir=" + s.dir}
}
