package main

import (
	"context"
	"crypto/rand"
	"fmt"
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

// Zones of every real server.
const (
	zoneOne  = "one.test"  // may be changed by all keys but the other one
	zoneTwo  = "two.test"  // may be changed by the other key only
	zoneOpen = "open.test" // may be changed from this machine without a key
)

var (
	algorithms = []string{"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}
	zones      = []string{zoneOne, zoneTwo, zoneOpen}
)

// otherKey is the name of the key of zone two.
const otherKey = "other"

// realServer is a name server of others, started for one test.
type realServer struct {
	addr string
	dir  string
	// keys are the secrets by the name of the key. A key of zone one is named as
	// its algorithm; the other key has hmac-sha256.
	keys map[string]string
	// mark is a value in zone one that no other server has.
	mark string
}

// host and port of the address, as configurations want them.
func (s *realServer) host() string { return s.addr[:strings.LastIndexByte(s.addr, ':')] }
func (s *realServer) port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

func algorithmOf(keyName string) string {
	if keyName == otherKey {
		return "hmac-sha256"
	}
	return keyName
}

// keyNames gives all, sorted.
func (s *realServer) keyNames() []string { return append(slices.Clone(algorithms), otherKey) }

// delegated is a name of zone one that is proven in zone two.
const delegated = "delegated.sub." + zoneOne

// zoneFile is the text of a zone of RFC 1035 section 5.
func (s *realServer) zoneFile(zone string) string {
	text := fmt.Sprintf("$ORIGIN %s.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A %s\nmark TXT %q\n",
		zone, s.host(), s.mark)
	if zone == zoneOne {
		text += "_acme-challenge." + delegated + ". CNAME _acme-challenge." + zoneTwo + ".\n"
	}
	return text
}

func (s *realServer) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startReal starts a server by the command that configure gives, and waits
// until it answers. A port that is taken between our choice and the server's
// start is chosen again.
func startReal(t *testing.T, configure func(*testing.T, *realServer) []string) *realServer {
	t.Helper()
	var words string
	for range 3 {
		s := newReal(t)
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

func newReal(t *testing.T) *realServer {
	t.Helper()
	packets, stream := listenBoth(t)
	defer func() { _, _ = packets.Close(), stream.Close() }()
	dir, err := os.MkdirTemp("", "cwdns") //nolint:usetesting // t.TempDir is too long for the path of a unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &realServer{addr: stream.Addr().String(), dir: dir, keys: map[string]string{}, mark: rand.Text()}
	for _, name := range s.keyNames() {
		s.keys[name] = plugintest.Secret(name)
	}
	return s
}

// ready asks for the mark until it is there, over UDP and TCP.
func (s *realServer) ready(t *testing.T, ended <-chan struct{}) bool {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if slices.Equal(s.ask(t, "udp", "mark."+zoneOne), []string{s.mark}) && slices.Equal(s.ask(t, "tcp", "mark."+zoneOne), []string{s.mark}) {
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

// ask gives the sorted TXT values of a name; nil also if there is no answer.
func (s *realServer) ask(t *testing.T, network, name string) []string {
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

// holds fails the test unless a name has exactly these TXT values.
func (s *realServer) holds(t *testing.T, name string, want ...string) {
	t.Helper()
	if got := s.ask(t, "tcp", name); !slices.Equal(got, want) {
		t.Errorf("%s has the values %q, want %q", name, got, want)
	}
}
