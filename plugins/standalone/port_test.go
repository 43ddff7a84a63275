package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// refusing gives a listen function in which some networks fail.
func refusing(p *port, errs map[string]error) {
	listen := p.listen
	p.listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		if err := errs[network]; err != nil {
			return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", err)}
		}
		return listen(ctx, network, address)
	}
}

// performFails gives the problem of the one challenge.
func performFails(t *testing.T, s *standalone, r *recorder, c sdk.Challenge) *sdk.Problem {
	t.Helper()
	if err := s.Perform(t.Context(), []sdk.Challenge{c}, r); err != nil {
		t.Fatal(err)
	}
	err := r.result(t, c.ID).Err
	if err == nil {
		t.Fatal("Perform succeeds")
	}
	return sdk.ProblemOf(err)
}

func TestWithoutPrivilegesTheErrorSaysWhatToDo(t *testing.T) {
	for _, test := range []struct {
		number int
		hints  []string
	}{
		{80, []string{"setcap cap_net_bind_service", "http_port", "redirect", "root"}},
		{8080, []string{"http_port", "allow"}},
	} {
		s := newStandalone()
		s.settings = settings{HTTPPort: test.number, TLSPort: 443}
		if err := s.Configure(t.Context(), sdk.Instance{}); err != nil {
			t.Fatal(err)
		}
		refusing(s.web, map[string]error{"tcp4": syscall.EACCES, "tcp6": syscall.EACCES})
		p := performFails(t, s, &recorder{}, httpChallenge("a"))
		if p.Code != sdk.PermissionDenied || p.Retry != sdk.RetryNever || !errors.Is(p, syscall.EACCES) {
			t.Errorf("the problem is %+v", p)
		}
		for _, word := range []string{fmt.Sprintf("port %d", test.number), "privilege", "http-01"} {
			if !strings.Contains(p.Error(), word) {
				t.Errorf("error %q does not say %q", p.Error(), word)
			}
		}
		for _, word := range test.hints {
			if !strings.Contains(p.Hint, word) {
				t.Errorf("hint %q does not say %q", p.Hint, word)
			}
		}
	}
}

func TestAPortInUseWithoutAPersonIsAnErrorThatNamesIt(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(string) (string, error)
	}{
		{"not interactive", nil},
		{"end of input", func(string) (string, error) { return "", io.EOF }},
		{"no", func(string) (string, error) { return "n", nil }},
		{"yes for ever", func(string) (string, error) { return "y", nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := onLoopback(t)
			other := occupy(t, s.web)
			defer func() { _ = other.Close() }()
			p := performFails(t, s, &recorder{answer: test.answer}, httpChallenge("a"))
			port := fmt.Sprintf("port %d", s.web.number)
			if p.Code != sdk.Conflict || p.Retry != sdk.RetryLater || !errors.Is(p, syscall.EADDRINUSE) {
				t.Errorf("the problem is %+v", p)
			}
			if !strings.Contains(p.Error(), port) || !strings.Contains(p.Hint, port) || !strings.Contains(p.Hint, "http_port") {
				t.Errorf("error %q with hint %q does not say what to do about %s", p.Error(), p.Hint, port)
			}
			cleaned(t, s, "", httpChallenge("a"))
		})
	}
}

func TestAPortInUseIsTriedAgainWhenAPersonSaysSo(t *testing.T) {
	for _, line := range []string{"", "y", "YES "} {
		s := onLoopback(t)
		other := occupy(t, s.web)
		r := &recorder{answer: func(text string) (string, error) {
			if !strings.Contains(text, fmt.Sprint(s.web.number)) {
				t.Errorf("question %q does not name the port", text)
			}
			return line, other.Close()
		}}
		c := httpChallenge("a")
		if err := s.Perform(t.Context(), []sdk.Challenge{c}, r); err != nil {
			t.Fatal(err)
		}
		if err := r.result(t, c.ID).Err; err != nil || r.asked != 1 {
			t.Errorf("after %d questions: %v", r.asked, err)
		}
		if got := get(t, s, c.HTTP.Path); got != c.KeyAuthorization {
			t.Errorf("gives %q", got)
		}
		cleaned(t, s, "", c)
	}
}

func TestCancelWhileAskingClosesWhatWasOpened(t *testing.T) {
	s := onLoopback(t)
	other := occupy(t, s.alpn)
	defer func() { _ = other.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{answer: func(string) (string, error) {
		cancel()
		return "", ctx.Err()
	}}
	batch := []sdk.Challenge{httpChallenge("a"), alpnChallenge(t, "dns", "a.example", "")}
	if err := s.Perform(ctx, batch, r); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	closed(t, s.web)
}

func TestOneAddressFamilyIsEnough(t *testing.T) {
	for _, test := range []struct {
		name   string
		errs   map[string]error
		silent bool
	}{
		{"no IPv6", map[string]error{"tcp6": syscall.EAFNOSUPPORT}, true},
		{"IPv6 switched off", map[string]error{"tcp6": syscall.EADDRNOTAVAIL}, true},
		{"IPv6 out of memory", map[string]error{"tcp6": syscall.ENOBUFS}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := onLoopback(t)
			s.web.address = ""
			refusing(s.web, test.errs)
			r := &recorder{}
			c := httpChallenge("a")
			if err := s.Perform(t.Context(), []sdk.Challenge{c}, r); err != nil {
				t.Fatal(err)
			}
			if err := r.result(t, c.ID).Err; err != nil {
				t.Fatal(err)
			}
			if got := get(t, s, c.HTTP.Path); got != c.KeyAuthorization {
				t.Errorf("gives %q", got)
			}
			if test.silent != (len(r.progress) == 0) {
				t.Errorf("the story is %q", r.progress)
			}
			if !test.silent && !strings.HasPrefix(r.progress[0], "warning: port ") {
				t.Errorf("the story is %q", r.progress)
			}
			cleaned(t, s, "", c)
			closed(t, s.web)
		})
	}
}

// The CA would come to the other program.
func TestAPortInUseInOneFamilyIsNotHad(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		s := onLoopback(t)
		s.web.address = ""
		refusing(s.web, map[string]error{network: syscall.EADDRINUSE})
		p := performFails(t, s, &recorder{}, httpChallenge("a"))
		if p.Code != sdk.Conflict || !strings.Contains(p.Hint, "set address") {
			t.Errorf("the problem is %+v", p)
		}
		closed(t, s.web)
		cleaned(t, s, "", httpChallenge("a"))
	}
}

func TestBothAddressFamiliesAreAnswered(t *testing.T) {
	probe, err := net.Listen("tcp6", "[::1]:0")
	addresses := []string{"127.0.0.1"}
	if err == nil { // a machine without IPv6 has only the one
		_ = probe.Close()
		addresses = append(addresses, "::1")
	}
	s := onLoopback(t)
	s.web.address, s.alpn.address = "", ""
	c := httpChallenge("a")
	performed(t, s, "", c)
	for _, a := range addresses {
		at := netip.AddrPortFrom(netip.MustParseAddr(a), uint16(s.web.number))
		if _, got := requestAt(t, at, "GET", c.HTTP.Path); got != c.KeyAuthorization {
			t.Errorf("%s gives %q", at, got)
		}
	}
	cleaned(t, s, "", c)
}

func TestTheErrorThatCountsIsThatOfAFamilyTheMachineHas(t *testing.T) {
	for _, errs := range []map[string]error{
		{"tcp6": syscall.EAFNOSUPPORT, "tcp4": syscall.EACCES},
		{"tcp6": syscall.EACCES, "tcp4": syscall.EAFNOSUPPORT},
	} {
		s := onLoopback(t)
		s.web.address = ""
		refusing(s.web, errs)
		if p := performFails(t, s, &recorder{}, httpChallenge("a")); !errors.Is(p, syscall.EACCES) {
			t.Errorf("the error is %v", p)
		}
	}
}

func TestOtherErrorsAreToldAsTheyAre(t *testing.T) {
	s := onLoopback(t)
	refusing(s.web, map[string]error{"tcp4": syscall.ENOBUFS})
	p := performFails(t, s, &recorder{}, httpChallenge("a"))
	if !errors.Is(p, syscall.ENOBUFS) || !strings.Contains(p.Error(), "no buffer space") {
		t.Errorf("the error is %v", p)
	}
	s.web.address = "192.0.2.1"
	refusing(s.web, map[string]error{"tcp4": syscall.EADDRNOTAVAIL})
	p = performFails(t, s, &recorder{}, httpChallenge("a"))
	if !strings.Contains(p.Hint, "192.0.2.1") {
		t.Errorf("the hint is %q", p.Hint)
	}
}

func TestTheAddressSettingIsTheOnlyOneBound(t *testing.T) {
	for address, want := range map[string][]string{
		"":          {"tcp6 [::]:81", "tcp4 0.0.0.0:81"},
		"127.0.0.1": {"tcp4 127.0.0.1:81"},
		"::1":       {"tcp6 [::1]:81"},
	} {
		p := newPort(sdk.HTTP01, "http_port", webServer)
		p.number, p.address = 81, address
		var got []string
		p.listen = func(_ context.Context, network, address string) (net.Listener, error) {
			got = append(got, network+" "+address)
			return nil, syscall.EACCES
		}
		if _, err := p.bind(t.Context(), &recorder{}); !errors.Is(err, syscall.EACCES) {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("address %q binds %q, want %q", address, got, want)
		}
	}
}

// occupy is the other program that has the port.
func occupy(t *testing.T, p *port) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", fmt.Sprint("127.0.0.1:", p.number))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Two instances stand for two processes: they share nothing but the port.
func TestAnotherProcessOnThePort(t *testing.T) {
	first := onLoopback(t)
	second := newStandalone()
	second.settings = first.settings
	if err := second.Configure(t.Context(), sdk.Instance{}); err != nil {
		t.Fatal(err)
	}
	c := httpChallenge("a")
	performed(t, first, "", c)
	cleaned(t, second, "", c) // knows nothing of it: success, and nothing happens
	if p := performFails(t, second, &recorder{}, c); p.Code != sdk.Conflict {
		t.Errorf("the problem is %+v", p)
	}
	if got := get(t, first, c.HTTP.Path); got != c.KeyAuthorization {
		t.Errorf("gives %q", got)
	}
	cleaned(t, first, "", c)
	performed(t, second, "", c)
	if got := get(t, first, c.HTTP.Path); got != c.KeyAuthorization {
		t.Errorf("the next process gives %q", got)
	}
	cleaned(t, second, "", c)
}
