package sandbox

import (
	"strings"
	"testing"
)

// TestShortfalls: what a kernel lacks is named, and nothing else is.
func TestShortfalls(t *testing.T) {
	tcp := Confinement{Connect: Ports{List: []uint16{443}}, UDP: true}
	whole := Kernel{Landlock: 11, Seccomp: true}
	for _, test := range []struct {
		name string
		k    Kernel
		c    Confinement
		want []string // in this order
	}{
		{"all of it", whole, Confinement{}, nil},
		{"all of it, with ports that the kernel chooses", whole, Confinement{Connect: tcp.Connect, Bind: Ports{List: []uint16{0}}}, nil},
		{"all of it, with network: listen without bind", whole, tcp, []string{"listen at TCP ports"}},
		{"no sockets on ABI 8: connect is refused as a whole", Kernel{8, true}, Confinement{}, nil},
		{"sockets on ABI 8", Kernel{8, true}, tcp, []string{"unix sockets that its user can reach", "listen at TCP"}},
		{"its own sockets on ABI 8", Kernel{8, true}, Confinement{UnixSockets: []string{"/run/x"}}, []string{"unix sockets that its user can reach"}},
		{"ABI 4", Kernel{4, true}, tcp, []string{"control devices", "abstract", "unix sockets that its user can reach", "listen at TCP"}},
		{"ABI 4 with children", Kernel{4, true}, Confinement{Children: true}, []string{"control devices", "send signals"}},
		{"ABI 4 with signals granted", Kernel{4, true}, Confinement{Children: true, Signals: true}, []string{"control devices"}},
		{"ABI 3", Kernel{3, true}, tcp, []string{"TCP ports that it does not name", "control devices", "abstract", "unix sockets that", "listen at TCP"}},
		{"ABI 3, no network", Kernel{3, true}, Confinement{}, []string{"control devices"}},
		{"ABI 3, all ports", Kernel{3, true}, Confinement{Connect: Ports{Any: true}, Bind: Ports{Any: true}}, []string{"control devices", "abstract", "unix sockets that"}},
		{"ABI 2", Kernel{2, true}, Confinement{}, []string{"empty files", "control devices"}},
		{"none", Kernel{0, true}, Confinement{}, []string{"every file", "empty files", "control devices"}},
		{
			"Landlock only", Kernel{11, false}, Confinement{},
			[]string{"listen at TCP ports", "get around the rules for TCP", "use UDP", "start other programs", "change modes and owners", "ways that plugins have no use for"},
		},
		{
			"Landlock only, all granted", Kernel{11, false}, Confinement{UDP: true, Children: true, Attributes: true, UnixSockets: []string{"@x"}},
			[]string{"listen at TCP ports", "get around the rules for TCP", "ways that plugins have no use for"},
		},
		{
			"nothing at all", Kernel{}, Confinement{},
			[]string{
				"every file", "empty files", "control devices", "send signals", "abstract unix sockets", "unix sockets that its user can reach",
				"use the network", "get around", "use UDP", "start other programs", "change modes", "ways that",
			},
		},
	} {
		got := test.k.Shortfalls(test.c)
		for i, s := range got {
			if i >= len(test.want) || !strings.Contains(s.What, test.want[i]) {
				t.Errorf("%s: %v, want %q", test.name, got, test.want)
				break
			}
			if !strings.Contains(s.String(), "needs Landlock ABI ") && !strings.Contains(s.String(), "needs a Landlock that there is not yet") && !strings.Contains(s.String(), "needs seccomp") {
				t.Errorf("%s: %q does not say what it needs", test.name, s)
			}
		}
		if len(got) < len(test.want) {
			t.Errorf("%s: %v, want %q", test.name, got, test.want)
		}
	}
}

// TestMissing: required is Landlock for files and TCP, and seccomp.
func TestMissing(t *testing.T) {
	for _, test := range []struct {
		k    Kernel
		want string
	}{
		{Kernel{4, true}, ""},
		{Kernel{11, true}, ""},
		{Kernel{3, true}, "ABI 3 (it wants 4"},
		{Kernel{0, true}, "not enabled or of ABI 1"},
		{Kernel{4, false}, "no seccomp filter"},
	} {
		got := test.k.Missing()
		if got == "" != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.k, got, test.want)
		}
	}
}
