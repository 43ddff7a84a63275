package run

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
)

// host is a run of its own process that stops at a step until it is let go.
type host struct {
	s     *state
	cmd   *exec.Cmd
	stdin io.Closer
	story lockedBuffer
	ended chan error
}

// begin starts a host and waits until it has come to the step.
func (s *state) begin(c command) *host {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	h := &host{s: s, cmd: s.prepare(ctx, c), ended: make(chan error, 1)}
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	h.stdin, h.cmd.Stderr = stdin, &h.story
	if err := h.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "paused\n" {
		s.t.Fatalf("it has not come to %q: %q, %v\n%s", c.Pause, line, err, h.story.String())
	}
	go func() { h.ended <- h.cmd.Wait() }()
	s.t.Cleanup(func() { _ = h.stdin.Close() })
	return h
}

func (h *host) end() {
	h.s.t.Helper()
	_ = h.stdin.Close()
	if err := <-h.ended; err != nil {
		h.s.fail("the host failed: %v\n%s", err, h.story.String())
	}
}

func (h *host) kill() {
	_ = h.cmd.Process.Kill()
	<-h.ended
}

// follow starts another host, and waits until it has said something.
func (s *state) follow(c command, says string) *host {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	h := &host{s: s, cmd: s.prepare(ctx, c), stdin: io.NopCloser(nil), ended: make(chan error, 1)}
	h.cmd.Stderr = &h.story
	if err := h.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { h.ended <- h.cmd.Wait() }()
	deadline := time.Now().Add(patience)
	for !strings.Contains(h.story.String(), says) {
		if time.Now().After(deadline) {
			s.t.Fatalf("it does not say %q:\n%s", says, h.story.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return h
}

// Two hosts on one state directory: another certificate is obtained side by
// side, what the other host works on is left alone, and who wants the same
// certificate waits, is told for whom, and finds it done.
func TestTwoHosts(t *testing.T) {
	s := newRig(t, testca.Options{}).state(t)
	first := s.begin(command{Names: []string{"site"}, Pause: "after Perform by webroot"})
	s.mustRun(command{Names: []string{"other"}})
	s.live("other", "c.test")
	if s.read("state/lineages/site.json") != "" {
		t.Error("the first host was not kept")
	}
	second := s.follow(command{Names: []string{"site"}}, "held by process "+pid(first.cmd))
	first.end()
	second.end()
	s.finished(1)
	if n := strings.Count(first.story.String()+second.story.String(), "/order-plz: 201"); n != 1 {
		t.Errorf("%d orders were made for one certificate", n)
	}
}

// A host that waits for one that is killed then ends what that had begun.
func TestHostKilledWhileAnotherWaits(t *testing.T) {
	s := newRig(t, testca.Options{}).state(t)
	first := s.begin(command{Names: []string{"site"}, Pause: "after Perform by webroot"})
	second := s.follow(command{Names: []string{"site"}}, "held by process "+pid(first.cmd))
	first.kill()
	second.end()
	for _, want := range []string{"cleaning up after an interrupted run: challenges of certificate site", "going on with the order of an interrupted run"} {
		if !strings.Contains(second.story.String(), want) {
			t.Errorf("the story lacks %q:\n%s", want, second.story.String())
		}
	}
	s.finished(1)
}

// A dead run's leftovers of a certificate that a live one works on are left
// until that has ended; others are cleaned up.
func TestLeftoversOfAHeldLineage(t *testing.T) {
	s := newRig(t, testca.Options{}).state(t)
	if trace, killed, err := s.run(command{Names: []string{"site"}, KillOn: "after Save with a title by files"}); !killed {
		t.Fatalf("not killed: %v, %q", err, trace)
	}
	s.quiet()
	unlock, err := testStore(t, s.dir+"/state").TryLock("lineage-site", true)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	s.mustRun(command{Names: []string{"other"}})
	if !strings.Contains(s.story.String(), "site: the lock lineage-site is held by process "+pid(nil)) {
		s.fail("nobody was told who holds the certificate")
	}
	unlock()
	s.mustRun(command{Names: []string{"other"}})
	s.clean()
	if got := s.whole(); got != 0 {
		t.Errorf("version %d is served", got)
	}
	s.mustRun(command{Names: []string{"site"}})
	s.finished(1)
}

// A dry run neither takes an order that a real one can go on with, nor drops it.
func TestDryRunLeavesTheOrder(t *testing.T) {
	s := newRig(t, testca.Options{}).state(t)
	if trace, killed, err := s.run(command{Names: []string{"site"}, KillOn: "after Perform by webroot"}); !killed {
		t.Fatalf("not killed: %v, %q", err, trace)
	}
	s.quiet()
	s.mustRun(command{Names: []string{"site"}, Dry: true})
	if s.read("state/lineages/site.json") != "" {
		t.Error("the dry run has kept something")
	}
	before := s.orders()
	s.mustRun(command{Names: []string{"site"}})
	if s.orders() != before || !strings.Contains(s.story.String(), "going on with the order of an interrupted run") {
		s.fail("the order was lost")
	}
	s.finished(1)
}

// The order of a certificate request made elsewhere has no key here: it is known
// by the request, and gone on with for no other one, nor for a key.
func TestOrderOfARequest(t *testing.T) {
	r := newRig(t, testca.Options{})
	mine, key := certificateRequest(t)
	other, _ := certificateRequest(t)
	for name, c := range map[string]struct {
		killed, again []byte
		goesOn        bool
	}{
		"the same request":            {mine, mine, true},
		"another request":             {other, mine, false},
		"a request, and a key before": {nil, mine, false},
		"a key, and a request before": {mine, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := r.state(t)
			if trace, killed, err := s.run(command{Names: []string{"site"}, CSR: c.killed, KillOn: "after Perform by webroot"}); !killed {
				t.Fatalf("not killed: %v, %q", err, trace)
			}
			s.quiet()
			before := s.orders()
			s.mustRun(command{Names: []string{"site"}, CSR: c.again})
			if goesOn := s.orders() == before; goesOn != c.goesOn {
				s.fail("went on with the order: %v", goesOn)
			}
			s.clean()
			if c.again == nil {
				s.finished(1)
				return
			}
			block, _ := pem.Decode([]byte(s.read("state/live/site/cert.pem")))
			if block == nil {
				s.fail("there is no certificate")
			}
			if leaf, err := x509.ParseCertificate(block.Bytes); err != nil || !key.PublicKey.Equal(leaf.PublicKey) {
				s.fail("the certificate is not for the key of the request: %v", err)
			}
			for _, name := range []string{"privkey.pem", "csr.pem"} {
				if there := s.read("state/live/site/"+name) != ""; there != (name == "csr.pem") {
					s.fail("%s is there: %v", name, there)
				}
			}
		})
	}
}

// certificateRequest is of the names of site.
func certificateRequest(t *testing.T) (der []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.test", "b.test"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func pid(cmd *exec.Cmd) string {
	if cmd == nil {
		return strconv.Itoa(syscall.Getpid())
	}
	return strconv.Itoa(cmd.Process.Pid)
}

// lockedBuffer is read while a process still writes.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// An order that could not be finished in time, because another one was, is
// given up: its certificate would take the place of a newer one.
func TestOvertakenOrder(t *testing.T) {
	s := newRig(t, testca.Options{}).state(t)
	if trace, killed, err := s.run(command{Names: []string{"site"}, KillOn: "answer: POST finalize-order"}); !killed {
		t.Fatalf("not killed: %v, %q", err, trace)
	}
	s.quiet()
	// The CA could not be reached, say: the order stays for later.
	left, err := filepath.Glob(filepath.Join(s.dir, "state", "archive", "site", ".order-*"))
	if err != nil || len(left) != 1 {
		t.Fatalf("%q, %v", left, err)
	}
	move := func(from, to string) {
		if err := os.Rename(filepath.Join(s.dir, from), filepath.Join(s.dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	order := "state/archive/site/" + filepath.Base(left[0])
	move("state/journal", "journal")
	move(order, "order")
	s.mustRun(command{Names: []string{"site"}})
	s.finished(1)
	if err := os.Remove(filepath.Join(s.dir, "state", "journal")); err != nil { // it is empty
		t.Fatal(err)
	}
	move("journal", "state/journal")
	move("order", order)
	s.mustRun(command{Names: []string{"site"}})
	s.finished(1)
}
