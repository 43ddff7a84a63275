//go:build slow

package dnswait

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// named starts BIND and waits until it serves a zone. It only listens on
// addresses that an interface has, so what is at the address of the lab passes
// questions on to it.
func (l *lab) named(host string, port int, zones, ready string) {
	t := l.t
	t.Helper()
	dir := t.TempDir()
	conf := fmt.Sprintf(`options {
	directory %[1]q; pid-file "pid"; session-keyfile "session.key"; managed-keys-directory %[1]q; lock-file none;
	listen-on port %[2]d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; empty-zones-enable no;
	notify explicit; notify-delay 0; startup-notify-rate 100; allow-transfer { 127.0.0.1; };
};
controls { };
%[3]s
`, dir, port, zones)
	files := map[string]string{
		"named.conf": conf,
		"a.test.zone": "$ORIGIN a.test.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\n@ NS ns2\nns1 A 127.0.0.2\nns2 A 127.0.0.3\n" +
			"_acme-challenge.own NS ns2\n_acme-challenge.alias CNAME elsewhere\n",
		"own.zone": "$ORIGIN _acme-challenge.own.a.test.\n$TTL 60\n@ SOA ns2.a.test. hostmaster.a.test. 1 3600 600 86400 60\n@ NS ns2.a.test.\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log strings.Builder
	bind := exec.CommandContext(context.WithoutCancel(t.Context()), "/usr/sbin/named", "-n", "1", "-g", "-c", filepath.Join(dir, "named.conf"))
	bind.Stderr = &log
	if err := bind.Start(); err != nil {
		t.Fatalf("start BIND (Debian package bind9): %v", err)
	}
	t.Cleanup(func() {
		_ = bind.Process.Signal(os.Interrupt)
		if err := bind.Wait(); err != nil || t.Failed() {
			t.Logf("BIND at %s: %v\n%s", host, err, log.String())
		}
	})
	s := &server{lab: l, behind: fmt.Sprintf("127.0.0.1:%d", port)}
	s.serve(host)
	f := l.finder(false)
	ctx := l.bounded()
	for ctx.Err() == nil {
		reply, err := f.exchange(ctx, l.at(host), ask(ready, dns.TypeSOA, false))
		if err == nil && reply.Authoritative && len(reply.Answer) == 1 {
			return
		}
		f.clock.pause(ctx, 20*time.Millisecond)
	}
	t.Fatalf("BIND at %s does not serve %s", host, ready)
}

// update adds a TXT value (RFC 2136).
func (l *lab) update(host, zone, record string) {
	l.t.Helper()
	m := new(dns.Msg).SetUpdate(dns.Fqdn(zone))
	m.Insert([]dns.RR{rr(record)})
	reply, _, err := (&dns.Client{Net: "tcp", Timeout: time.Minute}).ExchangeContext(l.bounded(), m, host)
	if err != nil || reply.Rcode != dns.RcodeSuccess {
		l.t.Fatalf("update %s at %s: %v, %v", zone, host, reply, err)
	}
}

// freePort is one that is free for UDP and TCP: of those that no kernel gives of
// itself, so that nobody gets it before BIND has it.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 15000 + rand.IntN(17000)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		stream, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			continue
		}
		packets, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", address)
		_ = stream.Close()
		if err == nil {
			_ = packets.Close()
			return port
		}
	}
	t.Fatal("no port is free for both protocols")
	return 0
}

// A primary and a secondary that gets the zone by NOTIFY and transfer, an alias,
// a delegation of the name itself, and answers that need TCP.
func TestBIND(t *testing.T) {
	l := newLab(t)
	first, second := freePort(t), freePort(t)
	l.named("127.0.0.2", first, fmt.Sprintf(
		`zone "a.test" { type primary; file "a.test.zone"; allow-update { any; }; also-notify { 127.0.0.1 port %d; }; };`, second), "a.test")
	l.named("127.0.0.3", second, fmt.Sprintf(
		`zone "a.test" { type secondary; file "copy"; primaries { 127.0.0.1 port %d; }; };
zone "_acme-challenge.own.a.test" { type primary; file "own.zone"; allow-update { any; }; };`, first), "a.test")
	f := l.finder(true)
	f.resolvers = []string{l.at("127.0.0.2"), l.at("127.0.0.3")}
	f.timeout = time.Minute

	long := strings.Repeat("x", 200)
	var records []Record
	for name, zone := range map[string]string{"a.test": "a.test", "not.yet.a.test": "a.test", "own.a.test": "_acme-challenge.own.a.test", "alias.a.test": "a.test"} {
		r := l.record(f, challenge+name, "value of "+name, "another")
		if r.Place.Zone != zone {
			t.Fatalf("%s: %+v", name, r.Place)
		}
		records = append(records, r)
	}
	for _, r := range records {
		host := fmt.Sprintf("127.0.0.1:%d", first)
		if r.Place.Zone != "a.test" {
			host = fmt.Sprintf("127.0.0.1:%d", second)
		}
		for _, v := range r.Values {
			l.update(host, r.Place.Zone, txt(r.Place.Name, v))
		}
		for i := range 10 {
			l.update(host, r.Place.Zone, txt(r.Place.Name, fmt.Sprint(i)+long))
		}
	}
	if err := f.Wait(l.bounded(), records); err != nil {
		t.Fatal(err)
	}
	if len(l.progress) > 0 {
		t.Errorf("told: %q", l.progress)
	}
	// Both have it now.
	for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
		if seen := f.look(l.bounded(), Server{host, l.at(host)}, records[0]); records[0].Place.Zone == "a.test" && !seen.seen() {
			t.Errorf("%s: %+v", host, seen)
		}
	}
}
