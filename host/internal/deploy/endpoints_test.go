package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Every endpoint is proven once, with a name to ask for.
func TestEndpoints(t *testing.T) {
	f := newTarget(t)
	same := sdk.Endpoint{Address: "127.0.0.1:1", ServerName: "own.test", Kind: sdk.SMTP}
	f.report["deploy *.a.test"] = func(r sdk.Reporter) {
		r.Result(sdk.Result{Endpoints: []sdk.Endpoint{{Address: "127.0.0.1:1"}, same, same}})
	}
	f.endpoint("deploy b.test", "127.0.0.1:1")
	f.report["restart"] = func(r sdk.Reporter) {
		r.Result(sdk.Result{Endpoints: []sdk.Endpoint{same, {Address: "127.0.0.1:2"}}})
	}
	var mu sync.Mutex
	var got []string
	prove := func(_ context.Context, e model.Endpoint, leaf []byte) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf("%s %s %s %s", e.Address, e.ServerName, e.Kind, leaf))
		return nil, nil
	}
	after, err := f.run(t.Context(), prove, model.Target{})
	if err != nil || after.Proven != 4 || len(after.Endpoints) != 4 {
		t.Errorf("%+v, %v", after, err)
	}
	slices.Sort(got)
	want := []string{
		"127.0.0.1:1 b.test  leaf", "127.0.0.1:1 certwright.a.test  leaf",
		"127.0.0.1:1 own.test smtp leaf", "127.0.0.1:2 b.test  leaf",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// All proofs that fail are told, not only the first.
func TestSeveralProofsFail(t *testing.T) {
	f := newTarget(t)
	f.endpoint("deploy b.test", "127.0.0.1:1")
	f.endpoint("restart", "127.0.0.1:2")
	_, err := f.run(t.Context(), func(context.Context, model.Endpoint, []byte) ([]string, error) {
		return nil, errors.New("it serves another certificate")
	}, model.Target{})
	for _, want := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
		if want = "prove that " + want + " serves the new certificate: it serves another certificate"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// dialled is what a connection to an address comes to.
func dialled(ip string, number syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 443}, Err: os.NewSyscallError("connect", number)}
}

// Where IPv6 is switched off a server listens at [::] all the same.
func TestNoIPv6(t *testing.T) {
	for name, tt := range map[string]struct {
		ip     string
		number syscall.Errno
		alone  bool // no other endpoint is proven
		ok     bool
	}{
		"no such address":             {ip: "::1", number: syscall.EADDRNOTAVAIL, ok: true},
		"no such address, a global":   {ip: "2001:db8::1", number: syscall.EADDRNOTAVAIL, ok: true},
		"not in the kernel":           {ip: "::1", number: syscall.EAFNOSUPPORT, ok: true},
		"no route to the own machine": {ip: "::1", number: syscall.ENETUNREACH, ok: true},
		"no route":                    {ip: "2001:db8::1", number: syscall.ENETUNREACH},
		"nobody listens":              {ip: "::1", number: syscall.ECONNREFUSED},
		"no port is free":             {ip: "127.0.0.1", number: syscall.EADDRNOTAVAIL},
		"nothing is proven":           {ip: "::1", number: syscall.EADDRNOTAVAIL, alone: true},
	} {
		f := newTarget(t)
		f.pointer = 3
		f.endpoint("deploy b.test", net.JoinHostPort(tt.ip, "443"))
		if !tt.alone {
			f.endpoint("restart", "127.0.0.1:8443")
		}
		after, err := f.run(t.Context(), func(_ context.Context, e model.Endpoint, _ []byte) ([]string, error) {
			if e.Address == "127.0.0.1:8443" {
				return nil, nil
			}
			return nil, dialled(tt.ip, tt.number)
		}, model.Target{Deployed: 3})
		if told := strings.Join(f.warnings, "\n"); (err == nil) != tt.ok || (after.Proven == 4) != tt.ok || strings.Contains(told, "443 is not proven, there is no way to it from here: dial tcp") != tt.ok {
			t.Errorf("%s: %v, %+v, warned %q", name, err, after, told)
		}
	}
}

// Nor is it waited for: one try is enough.
func TestNoIPv6IsNotWaitedFor(t *testing.T) {
	_, leaf := newPair(t)
	tries := 0
	_, err := patiently(t.Context(), model.Endpoint{Address: "[::1]:443"}, leaf, func(context.Context, string) ([]string, error) {
		tries++
		return nil, dialled("::1", syscall.EADDRNOTAVAIL)
	})
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || tries != 1 {
		t.Errorf("%v after %d tries", err, tries)
	}
}
