package pluginhost

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
)

// TestResolve: what a declaration means with the settings of an instance.
func TestResolve(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, sub := range []string{"there", "real"} {
		if err := os.Mkdir(at(sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"there/file", "real/target"} {
		if err := os.WriteFile(at(file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(at("real/target"), at("there/link")); err != nil {
		t.Fatal(err)
	}
	d := sdk.Description{Settings: []sdk.Setting{
		{Name: "path", Default: at("there/default")}, {Name: "list", Type: sdk.ListSetting}, {Name: "map", Type: sdk.MapSetting},
		{Name: "url"}, {Name: "port", Type: sdk.IntSetting, Default: "8080"}, {Name: "socket"},
	}}
	set := sdk.FromSetting
	type settings = map[string]any
	for _, test := range []struct {
		name     string
		settings settings
		p        sdk.Permissions
		want     sandbox.Confinement
	}{
		{"reads are as they are", settings{"path": at("x"), "list": []any{"/a", "/b/../c"}, "map": settings{"k": "/m", "a": "/l"}},
			sdk.Permissions{Read: []sdk.Value{set("path"), set("list"), set("map"), sdk.Literal("/etc/x")}},
			sandbox.Confinement{Read: []string{at("x"), "/a", "/c", "/l", "/m", "/etc/x"}}},
		{"a default", nil, sdk.Permissions{Read: []sdk.Value{set("path")}}, sandbox.Confinement{Read: []string{at("there/default")}}},
		{"empty is nothing", settings{"path": "", "list": []string{}}, sdk.Permissions{Read: []sdk.Value{set("path"), set("list")}}, sandbox.Confinement{}},
		{"a directory to write to", settings{"path": at("there")}, sdk.Permissions{Write: []sdk.Value{set("path")}},
			sandbox.Confinement{Write: []string{at("there")}}},
		{"a file is its directory", settings{"path": at("there/file")}, sdk.Permissions{Write: []sdk.Value{set("path")}},
			sandbox.Confinement{Write: []string{at("there")}}},
		{"a link to a file, which a plugin may have made, is not followed", settings{"path": at("there/link")}, sdk.Permissions{Write: []sdk.Value{set("path")}},
			sandbox.Confinement{Write: []string{at("there")}}},
		{"what is to be made", settings{"path": at("there/new/newer")}, sdk.Permissions{Write: []sdk.Value{set("path")}},
			sandbox.Confinement{Write: []string{at("there")}}},
		{"a name with a placeholder", settings{"path": at("there/{name}/x")}, sdk.Permissions{Write: []sdk.Value{set("path")}},
			sandbox.Confinement{Write: []string{at("there")}}},
		{"never the root", settings{"path": "/no-such-directory/x"}, sdk.Permissions{Write: []sdk.Value{set("path")}}, sandbox.Confinement{}},
		{"never the root by a placeholder", settings{"path": "/{name}.pem"}, sdk.Permissions{Write: []sdk.Value{set("path")}}, sandbox.Confinement{}},
		{"never the root itself", settings{"path": "/"}, sdk.Permissions{Write: []sdk.Value{set("path")}}, sandbox.Confinement{}},
		{"a default that is not there", nil, sdk.Permissions{Write: []sdk.Value{set("path")}}, sandbox.Confinement{}},
		{"a literal is what it is", nil, sdk.Permissions{Write: []sdk.Value{sdk.Literal(at("there/file"))}},
			sandbox.Confinement{Write: []string{at("there/file")}}},
		{"a device", settings{"path": "/dev/full"}, sdk.Permissions{Write: []sdk.Value{set("path")}}, sandbox.Confinement{Write: []string{"/dev/full"}}},
		{"a program by name", settings{"path": "nginx"}, sdk.Permissions{Execute: []sdk.Value{set("path")}}, sandbox.Confinement{}},
		{"ports", settings{"list": []any{"https://a.test/x", "http://b.test", "c.test:81", "[::1]:82", "83", "https://d.test:84", "https", "no-port.test", "99999"}},
			sdk.Permissions{ConnectTCP: []sdk.Value{set("list"), set("port"), sdk.Literal("53")}},
			sandbox.Confinement{Connect: sandbox.Ports{List: []uint16{53, 80, 81, 82, 83, 84, 443, 8080}}}},
		{"every port", settings{"port": 0}, sdk.Permissions{ConnectTCP: []sdk.Value{sdk.Literal("*")}, BindTCP: []sdk.Value{set("port")}},
			sandbox.Confinement{Connect: sandbox.Ports{Any: true}, Bind: sandbox.Ports{List: []uint16{0}}}},
		{"sockets", settings{"list": []any{"/run/x", "unix:/run/y", "unix:///run/z", "@w", "127.0.0.1:1"}, "socket": ""},
			sdk.Permissions{UnixSockets: []sdk.Value{set("list"), set("socket")}},
			sandbox.Confinement{UnixSockets: []string{"/run/x", "/run/y", "/run/z", "@w"}}},
		{"the rest", nil, sdk.Permissions{UDP: true, Signals: true, Children: true}, sandbox.Confinement{UDP: true, Signals: true, Children: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.Permissions = test.p
			got := confinement(d, Spec{Settings: test.settings})
			// What everyone gets.
			common := confinement(sdk.Description{Permissions: sdk.Permissions{Children: test.p.Children}}, Spec{})
			mine := func(all, common []string) []string {
				return slices.DeleteFunc(slices.Clone(all), func(path string) bool { return slices.Contains(common, path) })
			}
			got.Read, got.Write, got.Execute = mine(got.Read, common.Read), mine(got.Write, common.Write), mine(got.Execute, common.Execute)
			if got.Attributes != (len(test.p.Write) > 0) {
				t.Error("modes and owners are for those who write")
			}
			got.Attributes = false
			if diff := cmp.Diff(test.want, got, cmp.Transformer("none", func(list []string) []string {
				return append([]string{}, list...)
			})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if c := confinement(d, Spec{}); slices.ContainsFunc(c.Read, func(p string) bool { return p == "/etc/ssl" || p == "/etc" || strings.Contains(p, "private") }) {
		t.Errorf("everyone may read keys: %v", c.Read)
	}
}

// TestLevels: required is enforced or refused, off says so, and best effort
// lists what is missing.
func TestLevels(t *testing.T) {
	good, old := sandbox.Kernel{Landlock: 7, Seccomp: true}, sandbox.Kernel{Landlock: 3, Seccomp: true}
	free := sdk.Permissions{Unconfined: true, Reason: "runs scripts"}
	by := sdk.Permissions{UnconfinedBy: []string{"reload"}, Reason: "runs a command"}
	for _, test := range []struct {
		name       string
		k          sandbox.Kernel
		p          sdk.Permissions
		s          Spec
		confined   bool
		unconfined string
		refused    string
	}{
		{name: "by default", k: good, confined: true},
		{name: "required", k: good, s: Spec{Sandbox: "required"}, confined: true},
		{name: "required of an old kernel", k: old, s: Spec{Sandbox: "required"}, refused: "ABI 3 (it wants 4"},
		{name: "required of one without seccomp", k: sandbox.Kernel{Landlock: 7}, s: Spec{Sandbox: "required"}, refused: "no seccomp"},
		{name: "best effort of an old kernel", k: old, s: Spec{Sandbox: "best-effort"}, confined: true},
		{name: "off", k: good, s: Spec{Sandbox: "off"}, unconfined: "sandbox: off"},
		{name: "a plugin without", k: good, p: free, unconfined: "runs scripts"},
		{name: "a plugin without, off", k: good, p: free, s: Spec{Sandbox: "off"}, unconfined: "sandbox: off"},
		{name: "a plugin without, required", k: good, p: free, s: Spec{Sandbox: "required"}, refused: "runs scripts"},
		{name: "a command", k: good, p: by, s: Spec{Settings: map[string]any{"reload": "true"}}, unconfined: "its setting reload is given: runs a command"},
		{name: "a command, required", k: good, p: by, s: Spec{Sandbox: "required", Settings: map[string]any{"reload": "true"}}, refused: "reload is given"},
		{name: "a secret command", k: good, p: by, s: Spec{Secrets: map[string][]byte{"reload": nil}}, unconfined: "reload is given"},
		{name: "no command", k: good, p: by, s: Spec{Sandbox: "required", Settings: map[string]any{"reload": ""}}, confined: true},
		{name: "no such level", k: good, s: Spec{Sandbox: "on"}, refused: "wants required, best-effort or off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.s.Name = "web"
			box, err := SandboxOf(test.k, sdk.Description{Name: "p", Permissions: test.p}, test.s)
			if test.refused != "" {
				mention(t, err, "instance web", test.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (box.Confinement != nil) != test.confined || !strings.Contains(box.Unconfined, test.unconfined) || box.Unconfined == "" != (test.unconfined == "") {
				t.Errorf("%+v", box)
			}
			if missing := len(box.Shortfalls) > 0; test.confined && missing != (test.k != good) {
				t.Errorf("shortfalls %v", box.Shortfalls)
			}
		})
	}
}

// TestNoLandlock: who has no Landlock is told without asking, once a run, and only
// where somebody counts on it.
func TestNoLandlock(t *testing.T) {
	for _, test := range []struct {
		name string
		k    sandbox.Kernel
		s    Spec
		want int
	}{
		{"none", sandbox.Kernel{Seccomp: true}, Spec{}, 1},
		{"an old one", sandbox.Kernel{Landlock: 3, Seccomp: true}, Spec{}, 0},
		{"none, and none wanted", sandbox.Kernel{Seccomp: true}, Spec{Sandbox: "off"}, 0},
	} {
		if runtime.GOOS != "linux" {
			test.want = 0
		}
		log := &logBuffer{}
		h := New(Options{Log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn})})
		box, err := SandboxOf(test.k, sdk.Description{Name: "p"}, test.s)
		if err != nil {
			t.Fatal(err)
		}
		h.confined("web", box, test.k)
		h.confined("mail", box, test.k)
		if got := strings.Count(log.String(), "has no Landlock"); got != test.want {
			t.Errorf("%s: said %d times, want %d: %s", test.name, got, test.want, log.String())
		}
	}
}

// TestOtherUser: an authenticator can run as somebody else, who owns its
// directories then, and they come back.
func TestOtherUser(t *testing.T) {
	d := sdk.Description{Name: "p", Roles: []string{sdk.RoleAuthenticator}}
	_, err := userOf(sdk.Description{Name: "p", Roles: []string{sdk.RoleInstaller, sdk.RoleAuthenticator}}, Spec{Name: "web", User: "nobody"})
	mention(t, err, "instance web", "user nobody", "installer")
	_, err = userOf(sdk.Description{Name: "p", Roles: []string{sdk.RoleHook}}, Spec{Name: "web", User: "nobody"})
	mention(t, err, "no authenticator")
	if os.Geteuid() != 0 {
		_, err = userOf(d, Spec{Name: "web", User: "nobody"})
		mention(t, err, "only root")
		return
	}
	_, err = userOf(d, Spec{Name: "web", User: "no-such-user"})
	mention(t, err, "no such user", "useradd")
	u, err := userOf(d, Spec{Name: "web", User: "nobody"})
	if err != nil || u.UID == 0 {
		t.Fatalf("%+v, %v", u, err)
	}
	dir := filepath.Join(t.TempDir(), "web")
	file := filepath.Join(dir, "sub", "file")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	owned := func(want uint32) {
		t.Helper()
		for _, path := range []string{dir, filepath.Dir(file), file} {
			fi, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if uid, _ := ids(fi); uid != want {
				t.Errorf("%s belongs to %d, want %d", path, uid, want)
			}
		}
	}
	for _, to := range []*sandbox.User{u, nil, u} {
		if err := hand(dir, to); err != nil {
			t.Fatal(err)
		}
		if to == nil {
			owned(0)
		} else {
			owned(u.UID)
		}
	}
	// Somebody who gives away what is not his.
	outside := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(outside, filepath.Join(dir, "trap")); err != nil {
		t.Fatal(err)
	}
	mention(t, hand(dir, nil), "second name", filepath.Join(dir, "trap"))
}

// TestRunsAsOtherUser: a real process, from the socket to the state directory.
func TestRunsAsOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root starts processes of other users; see TestOtherUser for the refusal")
		return
	}
	r := newRig(t, "good")
	u, err := userOf(sdk.Description{Roles: []string{sdk.RoleAuthenticator}}, Spec{User: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	for dir := r.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // he passes through
			t.Fatal(err)
		}
	}
	// It records its number there.
	pids := filepath.Join(r.dir, binaryPrefix+"good.pids")
	if err := os.WriteFile(pids, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(pids, int(u.UID), int(u.GID)); err != nil {
		t.Fatal(err)
	}
	i, err := r.Start(t.Context(), Spec{Name: "web", Plugin: "good", User: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	all := r.pids(t)
	status, err := os.ReadFile(filepath.Join("/proc", itoa(all[len(all)-1]), "status"))
	if err != nil || !strings.Contains(string(status), "\nUid:\t"+itoa(int(u.UID))+"\t"+itoa(int(u.UID))) {
		t.Errorf("%v\n%s", err, status)
	}
	fi, err := os.Stat(filepath.Join(r.opts.StateDir, "web"))
	if err != nil {
		t.Fatal(err)
	}
	if uid, _ := ids(fi); uid != u.UID {
		t.Errorf("its state directory belongs to %d", uid)
	}
	if err := i.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
