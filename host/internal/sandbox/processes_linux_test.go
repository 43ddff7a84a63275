package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProcesses(t *testing.T) {
	host := strconv.Itoa(os.Getpid())
	children, signals := Confinement{Children: true}, Confinement{Signals: true}
	// Yama (kernel.yama.ptrace_scope) would let nobody but an ancestor trace this process.
	if err := unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0); err == nil {
		defer func() { _ = unix.Prctl(unix.PR_SET_PTRACER, 0, 0, 0, 0) }()
	} else if !errors.Is(err, unix.EINVAL) { // a kernel without it
		t.Error(err)
	}
	for _, test := range []struct {
		c      Confinement
		action []string
		want   string
		// free is the answer without a sandbox; empty: ok.
		free string
	}{
		{Confinement{}, []string{"fork"}, "EPERM", ""},
		{children, []string{"fork"}, "ok", ""},
		{Confinement{}, []string{"thread"}, "ok", ""},
		{children, []string{"namespace"}, "EPERM", ""},
		{children, []string{"clone3"}, "ENOSYS", "EINVAL"},
		{Confinement{}, []string{"kill", host}, "EPERM", ""},
		{children, []string{"kill", host}, "EPERM", ""},
		{signals, []string{"kill", host}, "ok", ""},
		{Confinement{}, []string{"own", host}, "EPERM", ""},
		{signals, []string{"own", host}, "ok", ""},
		{Confinement{}, []string{"killself"}, "ok", ""},
		{signals, []string{"ptrace", host}, "EPERM", ""},
		{signals, []string{"steal", host}, "EPERM", ""},
		{Confinement{}, []string{"read", "/proc/" + host + "/environ"}, "EACCES", ""},
		{Confinement{Read: []string{"/"}}, []string{"read", "/proc/" + host + "/environ"}, "EACCES", ""},
		{Confinement{Read: []string{"/"}}, []string{"read", "/proc/" + host + "/mem"}, "EACCES", ""},
		{Confinement{}, []string{"outlive"}, "EPERM", ""},
		{children, []string{"outlive"}, "ok", ""},
		{Confinement{}, []string{"uring"}, "EPERM", "EFAULT"},
	} {
		if got := try(t, confined(t, test.c), test.action...); got != test.want {
			t.Errorf("%v with %+v: %s, want %s", test.action, test.c, got, test.want)
		}
		want := test.free
		if want == "" {
			want = "ok"
		}
		tryFree(t, Policy{}, want, test.action...)
	}
}

func TestLimits(t *testing.T) {
	var have unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_CORE, &have))
	core := min(noCore, have.Max)
	p := newPlace(t)
	limits := Limits{FileSize: 2 << 20, OpenFiles: 32, Data: 256 << 20, AddressSpace: 4 << 30, Processes: 100}
	resource := func(n int) []string { return []string{"limit", strconv.Itoa(n)} }
	for _, test := range []struct {
		args []string
		want string
	}{
		{resource(unix.RLIMIT_CORE), fmt.Sprintf("%[1]d %[1]d", core)},
		{resource(unix.RLIMIT_FSIZE), "2097152 2097152"},
		{resource(unix.RLIMIT_NOFILE), "32 32"},
		{resource(unix.RLIMIT_DATA), "268435456 268435456"},
		{resource(unix.RLIMIT_AS), "4294967296 4294967296"},
		{resource(unix.RLIMIT_NPROC), "100 100"},
		{[]string{"grow", p.at("in/big"), "2"}, "ok"},
		{[]string{"files", "100"}, "EMFILE"},
		{[]string{"allocate", "512"}, "ENOMEM"},
		{[]string{"allocate", "32"}, "ok"},
	} {
		if got := try(t, Policy{Limits: limits}, test.args...); got != test.want {
			t.Errorf("%v: %s, want %s", test.args, got, test.want)
		}
	}
	if got := try(t, Policy{Limits: limits}, "grow", p.at("in/big"), "3"); !strings.Contains(got, "EFBIG") && !strings.Contains(got, "file size limit exceeded") {
		t.Errorf("a file grew beyond its limit: %s", got)
	}
	// The defaults suit a program in Go, also for another user.
	users(t, func(t *testing.T, u *User) {
		for _, c := range []Confinement{{}, {Children: true}} {
			policy := confined(t, c)
			policy.User, policy.Limits = u, c.Limits(u)
			if got := try(t, policy, "thread"); got != "ok" {
				t.Errorf("with the usual limits: %s", got)
			}
		}
	})
}

// TestPrivileges: what root may is not what a plugin of root may.
func TestPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		if got := try(t, Policy{User: nobody}, "thread"); !strings.Contains(got, "become user nobody") {
			t.Errorf("a user became another: %s", got)
		}
		return
	}
	status := func(p Policy, line string) uint64 {
		t.Helper()
		got := try(t, p, "status", line)
		_, hex, _ := strings.Cut(got, "\t")
		n, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			t.Fatalf("%s: %s", line, got)
		}
		return n
	}
	all := Confinement{Read: []string{"/"}}
	for _, test := range []struct {
		name string
		u    *User
		c    Confinement
		has  []int
		not  []int
	}{
		{"root", nil, all, []int{unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER}, []int{unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SYS_RESOURCE, unix.CAP_NET_RAW, unix.CAP_KILL, unix.CAP_NET_BIND_SERVICE, unix.CAP_SETUID}},
		{"port 80", nil, Confinement{Read: all.Read, Bind: Ports{List: []uint16{80}}}, []int{unix.CAP_NET_BIND_SERVICE}, []int{unix.CAP_NET_ADMIN}},
		{"signals", nil, Confinement{Read: all.Read, Signals: true}, []int{unix.CAP_KILL}, nil},
		{"nobody", nobody, all, nil, []int{unix.CAP_DAC_OVERRIDE, unix.CAP_NET_BIND_SERVICE, unix.CAP_SETUID}},
		{"nobody with port 80", nobody, Confinement{Read: all.Read, Bind: Ports{List: []uint16{80}}}, []int{unix.CAP_NET_BIND_SERVICE}, []int{unix.CAP_DAC_OVERRIDE, unix.CAP_SETUID}},
	} {
		policy := confined(t, test.c)
		policy.User = test.u
		has := status(policy, "CapEff:") | status(policy, "CapPrm:")
		for _, capability := range test.has {
			if has&(1<<capability) == 0 {
				t.Errorf("%s lacks capability %d", test.name, capability)
			}
		}
		for _, capability := range test.not {
			if has&(1<<capability) != 0 {
				t.Errorf("%s has capability %d", test.name, capability)
			}
		}
		if got := try(t, policy, "status", "NoNewPrivs:"); got != "NoNewPrivs:\t1" {
			t.Errorf("%s: %s", test.name, got)
		}
	}
	groups, err := os.Getgroups()
	must(t, err)
	must(t, syscall.Setgroups([]int{0, 4711}))
	defer func() { must(t, syscall.Setgroups(groups)) }()
	policy := Policy{User: nobody}
	if got := try(t, policy, "status", "Uid:"); got != "Uid:\t65534\t65534\t65534\t65534" {
		t.Error(got)
	}
	if got := try(t, policy, "status", "Groups:"); got != "Groups:" {
		t.Errorf("it has kept groups: %s", got)
	}
}

// TestHighUser: where system calls have numbers of users with 16 bits, too, the
// lower half of this one is root's.
func TestHighUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root starts programs of other users")
		return
	}
	policy := Policy{User: &User{Name: "somebody", UID: 1 << 16, GID: 1<<16 + 1}}
	if got := try(t, policy, "status", "Uid:"); got != "Uid:\t65536\t65536\t65536\t65536" {
		t.Error(got)
	}
	if got := try(t, policy, "status", "Gid:"); got != "Gid:\t65537\t65537\t65537\t65537" {
		t.Error(got)
	}
}

// ambientProbe names the probe for TestAmbient as a user who cannot build it.
const ambientProbe = "SANDBOX_TEST_PROBE"

// TestAmbient: a host that is not root and was given capabilities, as by systemd's
// AmbientCapabilities, hands on what a plugin declares, and no more.
func TestAmbient(t *testing.T) {
	if os.Getenv(ambientProbe) != "" {
		for _, test := range []struct {
			c    Confinement
			want uint64
		}{
			{Confinement{}, 1 << unix.CAP_CHOWN},
			{Confinement{Bind: Ports{List: []uint16{8080}}}, 1 << unix.CAP_CHOWN},
			{Confinement{Bind: Ports{List: []uint16{80}}}, 1<<unix.CAP_CHOWN | 1<<unix.CAP_NET_BIND_SERVICE},
		} {
			test.c.Read = []string{"/"}
			want := fmt.Sprintf("CapEff:\t%016x", test.want)
			if got := try(t, confined(t, test.c), "status", "CapEff:"); got != want {
				t.Errorf("with %+v: %s, want %s", test.c, got, want)
			}
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Log("only root has capabilities to give")
		return
	}
	binary, err := probe()
	must(t, err)
	var words strings.Builder
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestAmbient$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), ambientProbe+"="+binary)
	cmd.Stdout, cmd.Stderr = &words, &words
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody.UID, Gid: nobody.GID},
		AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_TIME, unix.CAP_CHOWN},
	}
	if err := cmd.Run(); err != nil || !strings.Contains(words.String(), "--- PASS: TestAmbient") {
		t.Errorf("%v\n%s", err, words.String())
	}
}

// TestUnreachable: what a user cannot read is said, and nothing is started.
func TestUnreachable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root starts programs of other users")
		return
	}
	p := newPlace(t)
	must(t, os.WriteFile(p.at("secret"), nil, 0o600))
	u := *nobody
	u.Reads = []string{p.at("in/file"), p.at("missing"), p.at("secret")}
	got := try(t, Policy{User: &u}, "thread")
	for _, want := range []string{"needs to read " + p.at("secret"), "user nobody cannot", "permission denied"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	u.Reads, u.Writes = nil, []string{p.at("secret")}
	if got := try(t, Policy{User: &u}, "thread"); !strings.Contains(got, "needs to write to "+p.at("secret")) {
		t.Error(got)
	}
}

// TestNewerKernel: a part that this kernel lacks is an error, not left out.
func TestNewerKernel(t *testing.T) {
	policy := confined(t, Confinement{})
	if policy.Kernel.Landlock == len(landlockConfigs) {
		t.Log("this kernel has all that the library knows")
		return
	}
	policy.Kernel.Landlock = len(landlockConfigs)
	if got := try(t, policy, "thread"); !strings.Contains(got, "Landlock") {
		t.Errorf("it ran: %s", got)
	}
	// An older version can be asked for, and does what it can.
	p := newPlace(t)
	s := listen(t)
	policy = confined(t, Confinement{Connect: ports(t, s.tcp)})
	policy.Kernel.Landlock = abiFiles
	if got := try(t, policy, "read", p.at("in/file")); got != "EACCES" {
		t.Errorf("files with the oldest version: %s", got)
	}
	if got := try(t, policy, "connect", s.other); got != "ok" {
		t.Errorf("the oldest version knows no ports: %s", got)
	}
	if policy.Kernel = (Kernel{}); try(t, policy, "read", p.at("in/file")) != "ok" {
		t.Error("without Landlock and seccomp there is nothing to refuse it")
	}
}

// TestOldestLandlock: with the oldest version that is used a plugin can still keep
// checkpoints, which are moved from one directory to another.
func TestOldestLandlock(t *testing.T) {
	for abi, want := range []int{0, 0, 2, 3} {
		if got := usable(abi); got != want {
			t.Errorf("of a kernel with version %d version %d is used, want %d", abi, got, want)
		}
	}
	if got := usable(len(landlockConfigs) + 1); got != len(landlockConfigs) {
		t.Errorf("of a newer kernel version %d is used", got)
	}
	for abi := 1; abi <= min(3, ThisKernel().Landlock); abi++ {
		if usable(abi) == 0 {
			continue
		}
		p := newPlace(t)
		policy := confined(t, Confinement{Write: []string{p.at("in")}})
		policy.Kernel.Landlock = abi
		if got := try(t, policy, "rename", p.at("in/file"), p.at("in/dir/file")); got != "ok" {
			t.Errorf("a rename between directories with version %d: %s", abi, got)
		}
	}
}
