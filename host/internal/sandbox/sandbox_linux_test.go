package sandbox

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// buildDir is made on first use and removed by TestMain.
var buildDir string

// probe builds the program that tries what is forbidden, as plugins are built.
var probe = sync.OnceValues(func() (string, error) {
	if ready := os.Getenv(ambientProbe); ready != "" {
		return ready, nil
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "probe-"); err != nil {
		return "", err
	}
	if err := os.Chmod(buildDir, 0o755); err != nil { //nolint:gosec // another user executes it
		return "", err
	}
	binary := filepath.Join(buildDir, "probe")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the probe: %w\n%s", err, out)
	}
	return binary, nil
})

// nobody is the user of the tests that are run as another one, too.
var nobody = &User{Name: "nobody", UID: 65534, GID: 65534}

// try runs the probe with a policy and gives what it printed, or how it ended.
func try(t *testing.T, p Policy, args ...string) string {
	t.Helper()
	binary, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p.Path, p.Args = binary, append([]string{binary}, args...)
	cmd := &exec.Cmd{Env: []string{}, Stdout: w, Stderr: w}
	err = Start(cmd, p, f)
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil && len(out) == 0 {
		return err.Error()
	}
	return strings.TrimSpace(string(out))
}

// refusedByMachine are errors of actions that a machine may refuse to everybody, by
// its settings or because it is a container: there nothing can be proven of them.
var refusedByMachine = map[string][]string{
	"namespace": {"EPERM", "EACCES", "ENOSPC", "EINVAL", "ENOSYS"}, // user.max_user_namespaces, AppArmor, containers
	"clone3":    {"ENOSYS", "EPERM"},                               // containers
	"ptrace":    {"EPERM"},                                         // kernel.yama.ptrace_scope 2 and 3, containers
	"steal":     {"EPERM", "ENOSYS"},
	"read":      {"EACCES", "EPERM"}, // of /proc/PID/mem: as ptrace
	"uring":     {"EPERM", "ENOSYS"}, // kernel.io_uring_disabled, containers
	"mptcp":     {"EPROTONOSUPPORT", "ENOPROTOOPT"},
	"fastopen":  {"EOPNOTSUPP"}, // net.ipv4.tcp_fastopen
	"device":    {"EPERM"},
	"setxattr":  {"EOPNOTSUPP"}, // a file system without attributes
}

// tryFree runs the probe without what would refuse its action.
func tryFree(t *testing.T, p Policy, want string, args ...string) {
	t.Helper()
	switch got := try(t, p, args...); {
	case got == want:
	case slices.Contains(refusedByMachine[args[0]], got) && (args[0] != "read" || strings.HasPrefix(args[1], "/proc/")):
		t.Logf("nothing is proven of %v: without a sandbox this machine refuses it, too, with %s", args, got)
	default:
		t.Errorf("%v without a sandbox: %s, want %s", args, got, want)
	}
}

// confined is a policy of all that this kernel has.
func confined(t *testing.T, c Confinement) Policy {
	t.Helper()
	k := ThisKernel()
	if k.Missing() != "" {
		t.Fatalf("these tests want a kernel with the whole sandbox: %s", k.Missing())
	}
	return Policy{Confinement: &c, Kernel: k}
}

// place is a directory that everybody may use, with files in it.
type place struct{ dir string }

func newPlace(t *testing.T) place {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sandbox-") //nolint:usetesting // t.TempDir is for its owner only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := place{dir}
	for _, sub := range []string{"", "in", "out", "in/dir", "out/dir"} {
		must(t, os.MkdirAll(p.at(sub), 0o777))
		must(t, os.Chmod(p.at(sub), 0o777)) //nolint:gosec // as above
	}
	for _, file := range []string{"in/file", "out/file"} {
		must(t, os.WriteFile(p.at(file), []byte("#!/bin/sh\nexec /bin/true\n"), 0o600))
		must(t, os.Chmod(p.at(file), 0o777)) //nolint:gosec // as above
	}
	return p
}

func (p place) at(name string) string { return filepath.Join(p.dir, name) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// users are those that a test runs its probes as.
func users(t *testing.T, test func(t *testing.T, u *User)) {
	t.Helper()
	t.Run("own", func(t *testing.T) { test(t, nil) })
	if os.Geteuid() == 0 {
		t.Run("nobody", func(t *testing.T) { test(t, nobody) })
	}
}

// TestFiles: what is granted can be done, the same elsewhere cannot, and it can
// where there is no sandbox.
func TestFiles(t *testing.T) {
	type action struct {
		name string
		args func(p place, side string) []string
	}
	one := func(suffix string) func(place, string) []string {
		return func(p place, side string) []string { return []string{p.at(side + suffix)} }
	}
	read := []action{{"read", one("/file")}, {"list", one("")}, {"list", one("/dir")}}
	write := append([]action{
		{"write", one("/file")}, {"create", one("/new")}, {"truncate", one("/file")}, {"mkdir", one("/newdir")}, {"rmdir", one("/dir")},
		{"symlink", one("/link")}, {"fifo", one("/pipe")}, {"unlink", one("/file")},
		{"rename", func(p place, side string) []string { return []string{p.at(side + "/file"), p.at(side + "/dir/file")} }},
		{"link", func(p place, side string) []string { return []string{p.at(side + "/file"), p.at(side + "/dir/other")} }},
	}, read...)
	in := func(p place) []string { return []string{p.at("in")} }
	for _, grant := range []struct {
		name        string
		confinement func(place) Confinement
		allowed     []action
		denied      []action
	}{
		{"read", func(p place) Confinement { return Confinement{Read: in(p), Attributes: true} }, read, write[:10]},
		{"write", func(p place) Confinement { return Confinement{Write: in(p), Attributes: true} }, write, nil},
		{"one file", func(p place) Confinement { return Confinement{Read: []string{p.at("in/file")}} }, read[:1], []action{{"list", one("")}}},
		{"nothing", func(place) Confinement { return Confinement{} }, nil, write},
		{"what is not there", func(p place) Confinement { return Confinement{Write: []string{p.at("in/missing")}} }, nil, write},
	} {
		t.Run(grant.name, func(t *testing.T) {
			users(t, func(t *testing.T, u *User) {
				check := func(a action, side, want string, free bool) {
					t.Helper()
					p := newPlace(t)
					policy := confined(t, grant.confinement(p))
					if policy.User = u; free {
						policy.Confinement = nil
					}
					if got := try(t, policy, append([]string{a.name}, a.args(p, side)...)...); got != want {
						t.Errorf("%s %s: %s, want %s", a.name, side, got, want)
					}
				}
				for _, a := range grant.allowed {
					check(a, "in", "ok", false)
					check(a, "out", "EACCES", false)
				}
				for _, a := range grant.denied {
					check(a, "in", "EACCES", false)
					if grant.name == "nothing" {
						check(a, "in", "ok", true)
					}
				}
			})
		})
	}
}

// TestMovedOut: what may be written inside cannot be carried outside, nor the
// other way round.
func TestMovedOut(t *testing.T) {
	users(t, func(t *testing.T, u *User) {
		for _, names := range [][2]string{{"in/file", "out/new"}, {"out/file", "in/new"}} {
			for _, action := range []string{"rename", "link"} {
				p := newPlace(t)
				policy := confined(t, Confinement{Write: []string{p.at("in")}})
				policy.User = u
				if got := try(t, policy, action, p.at(names[0]), p.at(names[1])); got != "EACCES" && got != "EXDEV" {
					t.Errorf("%s %v: %s", action, names, got)
				}
			}
		}
	})
}

// TestDevice: not even root makes one where he may write.
func TestDevice(t *testing.T) {
	p := newPlace(t)
	policy := confined(t, Confinement{Write: []string{p.dir}})
	if got := try(t, policy, "device", p.at("null")); got != "EACCES" && os.Geteuid() == 0 {
		t.Error(got)
	}
	policy.Confinement = nil
	if os.Geteuid() == 0 {
		tryFree(t, policy, "ok", "device", p.at("null"))
	}
}

// TestSetID: no program is left that would run as the plugin's user.
func TestSetID(t *testing.T) {
	for _, call := range []int{unix.SYS_OPENAT, unix.SYS_FCHMOD} {
		p := newPlace(t)
		policy := confined(t, Confinement{Write: []string{p.at("in")}, Attributes: true, Children: true})
		made := func() fs.FileMode {
			info, err := os.Stat(p.at("in/program"))
			if err != nil {
				return 0
			}
			return info.Mode() & fs.ModeSetuid
		}
		if got := try(t, policy, "setuid", p.at("in/program"), strconv.Itoa(call)); got != "EPERM" || made() != 0 {
			t.Errorf("system call %d: %s", call, got)
		}
		policy.Confinement = nil
		if got := try(t, policy, "setuid", p.at("in/program"), strconv.Itoa(call)); got != "ok" || made() == 0 {
			t.Errorf("system call %d without a sandbox: %s", call, got)
		}
	}
}

func TestExecute(t *testing.T) {
	shell := []string{"/usr", "/bin", "/lib", "/lib64"}
	users(t, func(t *testing.T, u *User) {
		p := newPlace(t)
		for _, test := range []struct {
			execute []string
			want    string
		}{{append([]string{p.at("in/file")}, shell...), "exit"}, {shell, "EACCES"}, {[]string{p.at("in/file")}, "EACCES"}} {
			policy := confined(t, Confinement{Execute: test.execute, Read: []string{p.dir}})
			policy.User = u
			got := try(t, policy, "exec", p.at("in/file"))
			if test.want == "exit" && got != "" || test.want != "exit" && got != test.want {
				t.Errorf("%v: %q", test.execute, got)
			}
		}
	})
}

// TestAttributes: Landlock does not look at these.
func TestAttributes(t *testing.T) {
	for _, action := range []string{"chmod", "fchmod", "chown", "setxattr"} {
		p := newPlace(t)
		c := Confinement{Read: []string{p.dir}}
		if got := try(t, confined(t, c), action, p.at("in/file")); got != "EPERM" {
			t.Errorf("%s: %s", action, got)
		}
		c.Attributes = true
		want := "EPERM"
		if action == "fchmod" {
			want = "ok"
		}
		if got := try(t, confined(t, c), action, p.at("in/file")); got != want {
			t.Errorf("%s of one that may change what it opens: %s, want %s", action, got, want)
		}
		c.Children = true
		tryFree(t, confined(t, c), "ok", action, p.at("in/file"))
	}
}

// servers listens on TCP, UDP and unix sockets.
type servers struct{ tcp, other, udp, path, abstract, letters string }

func listen(t *testing.T) servers {
	t.Helper()
	port := func(address net.Addr) string {
		_, port, err := net.SplitHostPort(address.String())
		must(t, err)
		return port
	}
	var config net.ListenConfig
	config.SetMultipathTCP(true) // takes TCP, too
	open := func(network, address string) net.Listener {
		l, err := config.Listen(t.Context(), network, address)
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	s := servers{path: filepath.Join(newPlace(t).dir, "in", "socket"), abstract: "@sandbox-test-" + strconv.Itoa(os.Getpid()) + t.Name()}
	s.tcp, s.other = port(open("tcp", "127.0.0.1:0").Addr()), port(open("tcp", "127.0.0.1:0").Addr())
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = packets.Close() })
	s.udp = port(packets.LocalAddr())
	s.letters = filepath.Join(filepath.Dir(s.path), "letters")
	letters, err := net.ListenPacket("unixgram", s.letters)
	must(t, err)
	t.Cleanup(func() { _ = letters.Close() })
	must(t, os.Chmod(s.letters, 0o777)) //nolint:gosec // as below
	open("unix", s.path)
	must(t, os.Chmod(s.path, 0o777)) //nolint:gosec // another user connects
	open("unix", s.abstract)
	return s
}

func ports(t *testing.T, texts ...string) Ports {
	t.Helper()
	var p Ports
	for _, text := range texts {
		n, err := strconv.ParseUint(text, 10, 16)
		must(t, err)
		p.List = append(p.List, uint16(n))
	}
	return p
}

func TestSockets(t *testing.T) {
	users(t, func(t *testing.T, u *User) {
		s := listen(t)
		free := unusedPort(t)
		dial := Confinement{Connect: ports(t, s.tcp)}
		bind := Confinement{Bind: ports(t, free)}
		everywhere := Confinement{Connect: Ports{Any: true}, Bind: Ports{Any: true}}
		datagrams := Confinement{UDP: true}
		socket := Confinement{UnixSockets: []string{s.path}}
		abstract := Confinement{UnixSockets: []string{s.abstract}}
		netlink := []string{"socket", strconv.Itoa(unix.AF_NETLINK), strconv.Itoa(unix.SOCK_RAW)}
		of := func(family, kind, protocol int) []string {
			return []string{"socket", strconv.Itoa(family), strconv.Itoa(kind), strconv.Itoa(protocol)}
		}
		for _, test := range []struct {
			name string
			c    Confinement
			args []string
			want string
		}{
			{"connect", dial, []string{"connect", s.tcp}, "ok"},
			{"connect elsewhere", dial, []string{"connect", s.other}, "EACCES"},
			{"connect anywhere", everywhere, []string{"connect", s.other}, "ok"},
			{"connect without", Confinement{}, []string{"connect", s.tcp}, "EACCES"},
			{"connect with bind only", bind, []string{"connect", s.tcp}, "EACCES"},
			{"connect with UDP only", datagrams, []string{"connect", s.tcp}, "EACCES"},
			{"bind", bind, []string{"bind", free}, "ok"},
			{"bind elsewhere", bind, []string{"bind", "0"}, "EACCES"},
			{"bind anywhere", everywhere, []string{"bind", "0"}, "ok"},
			{"bind what the kernel chooses", Confinement{Bind: ports(t, "0")}, []string{"bind", "0"}, "ok"},
			{"bind without", dial, []string{"bind", free}, "EACCES"},
			{"MPTCP", dial, []string{"mptcp", s.other}, "EPROTONOSUPPORT"},
			{"MPTCP anywhere", everywhere, []string{"mptcp", s.other}, "EPROTONOSUPPORT"},
			{"fast open elsewhere", dial, []string{"fastopen", s.other}, "EACCES"},
			{"UDP", datagrams, []string{"udp", s.udp}, "ok"},
			{"UDP with TCP only", dial, []string{"udp", s.udp}, "EACCES"},
			{"UDP without", Confinement{}, []string{"udp", s.udp}, "EACCES"},
			{"SCTP", everywhere, of(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP), "EACCES"},
			{"UDP lite", datagrams, of(unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE), "EACCES"},
			{"ICMP", datagrams, of(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP), "EACCES"},
			{"raw", datagrams, of(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP), "EACCES"},
			{"TCP by name, close-on-exec", dial, of(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP), "ok"},
			{"packets", everywhere, of(unix.AF_PACKET, unix.SOCK_RAW, 0), "EACCES"},
			{"virtual machines", everywhere, of(unix.AF_VSOCK, unix.SOCK_STREAM, 0), "EACCES"},
			{"kernel cryptography", everywhere, of(unix.AF_ALG, unix.SOCK_SEQPACKET, 0), "EACCES"},
			{"interfaces", dial, append(netlink, strconv.Itoa(unix.NETLINK_ROUTE)), "ok"},
			{"interfaces without", Confinement{}, append(netlink, strconv.Itoa(unix.NETLINK_ROUTE)), "EACCES"},
			{"audit", dial, append(netlink, strconv.Itoa(unix.NETLINK_AUDIT)), "EACCES"},
			{"unix", socket, []string{"unix", s.path}, "ok"},
			{"unix without", Confinement{}, []string{"unix", s.path}, "EACCES"},
			{"unix with a port to bind", bind, []string{"unix", s.path}, "EACCES"},
			{"abstract", abstract, []string{"unix", s.abstract}, "ok"},
			{"abstract without", Confinement{}, []string{"unix", s.abstract}, "EACCES"},
			{"abstract with TCP", dial, []string{"unix", s.abstract}, "EPERM"},
			{"unix datagrams", dial, of(unix.AF_UNIX, unix.SOCK_DGRAM, 0), "EACCES"},
			{"unix datagrams with a socket", socket, of(unix.AF_UNIX, unix.SOCK_DGRAM, 0), "ok"},
			{"pair", Confinement{}, []string{"pair", strconv.Itoa(unix.SOCK_STREAM)}, "ok"},
			{"unix datagrams of a pair", Confinement{}, []string{"send", s.letters}, "EACCES"},
			{"unix datagrams of a pair with network and children", Confinement{UDP: true, Children: true}, []string{"send", s.letters}, "EACCES"},
			{"unix datagrams of a pair with a socket", Confinement{UnixSockets: []string{s.letters}}, []string{"send", s.letters}, "ok"},
		} {
			policy := confined(t, test.c)
			policy.User = u
			if got := try(t, policy, test.args...); got != test.want {
				t.Errorf("%s: %s, want %s", test.name, got, test.want)
			}
		}
		// The same without a sandbox.
		for _, args := range [][]string{
			{"connect", s.other}, {"bind", "0"}, {"mptcp", s.other}, {"udp", s.udp}, {"unix", s.path}, {"unix", s.abstract}, {"fastopen", s.other}, {"send", s.letters},
		} {
			tryFree(t, Policy{User: u}, "ok", args...)
		}
	})
}

func unusedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	must(t, l.Close())
	return port
}

// TestServesItsHost: a plugin needs a unix socket in a directory that it may use.
func TestServesItsHost(t *testing.T) {
	users(t, func(t *testing.T, u *User) {
		p := newPlace(t)
		policy := confined(t, Confinement{Write: []string{p.at("in")}})
		policy.User = u
		if got := try(t, policy, "serve", p.at("in/socket")); got != "ok" {
			t.Error(got)
		}
		if got := try(t, policy, "serve", p.at("out/socket")); got != "EACCES" {
			t.Errorf("elsewhere: %s", got)
		}
	})
}

// TestNoSuchPath: what cannot be there is not granted, and keeps nothing from
// starting.
func TestNoSuchPath(t *testing.T) {
	p := newPlace(t)
	policy := confined(t, Confinement{Read: []string{p.at("in/file/below"), p.at("missing"), p.at("out")}})
	if got := try(t, policy, "read", p.at("out/file")); got != "ok" {
		t.Error(got)
	}
}
