package pluginhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// kitPrograms names a directory with the kit, for a test that runs as a user who
// cannot build it.
const kitPrograms = "PLUGINHOST_TEST_KIT"

var buildKit = sync.OnceValues(func() (string, error) {
	if ready := os.Getenv(kitPrograms); ready != "" {
		return ready, nil
	}
	if buildDir == "" {
		var err error
		if buildDir, err = os.MkdirTemp("", "misbehave-"); err != nil {
			return "", err
		}
	}
	binary := filepath.Join(buildDir, "kit")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "./testdata/kit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the kit: %w\n%s", err, out)
	}
	return binary, nil
})

// kitWorld is a host with the plugins of the kit and what they must not touch.
type kitWorld struct {
	*Host
	base, plugins string
	level         sandbox.Level
	log           *logBuffer
	instances     map[string]*Instance
	// granted is an address whose port is granted to those that have network.
	granted net.Listener
	// atEnd is called when no plugin runs any more.
	atEnd []func()
}

func newKitWorld(t *testing.T, level sandbox.Level) *kitWorld {
	t.Helper()
	binary, err := buildKit()
	if err != nil {
		t.Fatal(err)
	}
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &kitWorld{base: base, plugins: filepath.Join(base, "libexec"), level: level, log: &logBuffer{}, instances: map[string]*Instance{}}
	for d := base; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.write(t, filepath.Join(base, "granted", "file"), "")
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kit", "kit-net", "kit-udp", "kit-children", "kit-write", "kit-read"} {
		path := filepath.Join(w.plugins, binaryPrefix+name)
		w.write(t, path, string(program))
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, f := range w.atEnd {
			f()
		}
	})
	if w.granted, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.granted.Close() })
	w.Host = New(Options{
		Dirs: []string{w.plugins}, HostVersion: "test",
		Log: hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Trace}),
	}.Within(filepath.Join(base, "state")))
	w.limits.describe, w.limits.start, w.limits.configure = time.Minute, time.Minute, time.Minute
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		if leak := plugintest.Leak([]byte(w.log.String())); leak != "" {
			t.Errorf("the log holds %s", leak)
		}
	})
	return w
}

func (w *kitWorld) write(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// instance gives a running one.
func (w *kitWorld) instance(t *testing.T, plugin, name string) *Instance {
	t.Helper()
	if i := w.instances[name]; i != nil {
		return i
	}
	i, err := w.Start(t.Context(), Spec{
		Name: name, Plugin: plugin, Sandbox: string(w.level),
		Settings: map[string]any{"connect": []any{w.granted.Addr().String()}, "write": filepath.Join(w.base, "granted")},
		Secrets:  map[string][]byte{"secret": []byte(plugintest.Secret("of the kit"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.instances[name] = i
	return i
}

// another is a plugin that has done nothing wrong.
func another(t *testing.T, w *kitWorld) int {
	t.Helper()
	p, _ := w.instance(t, "kit", "another").connection.runner.process()
	return p.cmd.Process.Pid
}

// actLimit is how long an act may take. See TestKitFloods before it is longer.
const actLimit = 3 * time.Minute

// try has a plugin do something, and gives what it says of that: success and its
// words, or the name of the error.
func (w *kitWorld) try(t *testing.T, i *Instance, act, arg string) (told string, done bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), actLimit)
	defer cancel()
	var heard silent
	err := i.Authenticator().Perform(ctx, []sdk.Challenge{{ID: "1", Type: sdk.HTTP01, Token: act, KeyAuthorization: arg}}, &heard)
	if err != nil || len(heard.progress) != 1 {
		t.Fatalf("%s %s: %v, %q", act, arg, err, heard.progress)
	}
	return strings.CutPrefix(heard.progress[0], "did it: ")
}

// refusals are the errors that a sandbox gives.
var refusals = []string{
	"EACCES", "EPERM", // Landlock and the seccomp filter
	"EPROTONOSUPPORT",           // MPTCP, so that programs go on with TCP
	"EXDEV",                     // a link or rename across what Landlock keeps apart
	"EFBIG", "ENOMEM", "ENOSYS", // limits, and calls that do not exist
}

// TestKit has every act tried in a sandbox and without one.
func TestKit(t *testing.T) {
	kernel := sandbox.ThisKernel()
	if missing := kernel.Missing(); missing != "" {
		t.Fatalf("this kernel cannot confine a plugin, so nothing can be tested here: %s", missing)
	}
	for _, level := range []sandbox.Level{sandbox.Required, sandbox.Off} {
		t.Run(string(level), func(t *testing.T) {
			w := newKitWorld(t, level)
			for _, a := range possible(os.Geteuid()) {
				t.Run(a.name, func(t *testing.T) { w.tryAct(t, a, kernel) })
			}
		})
	}
}

// TestKitIsGranted: what a plugin is granted it can do in its sandbox, and what
// every plugin may.
func TestKitIsGranted(t *testing.T) {
	w := newKitWorld(t, sandbox.Required)
	net, udp, children := w.instance(t, "kit-net", "net"), w.instance(t, "kit-udp", "udp"), w.instance(t, "kit-children", "children")
	granted := filepath.Join(w.base, "granted", "file")
	writing := w.instance(t, "kit-write", "writing")
	own := filepath.Join(w.base, "state", "plugins", "net", "own")
	for _, test := range []struct {
		instance *Instance
		act, arg string
	}{
		{net, "connect", "tcp " + w.granted.Addr().String()}, {net, "write", own}, {net, "read", own}, {net, "remove", own},
		{net, "read", "/etc/hosts"}, {net, "grow", "1000000"}, {net, "allocate", "100000000"},
		{writing, "write", granted}, {writing, "chmod open", granted},
		{udp, "connect", "udp 127.0.0.1:9"}, {children, "execute", "/bin/true"},
	} {
		if told, done := w.try(t, test.instance, test.act, test.arg); !done {
			t.Errorf("%s %s was refused: %s", test.act, test.arg, told)
		}
	}
}

// TestKitLeavesNoCore: no process of a plugin writes its memory to a file.
func TestKitLeavesNoCore(t *testing.T) {
	w := newKitWorld(t, sandbox.Off)
	told, done := w.try(t, w.instance(t, "kit", "kit"), "core", "")
	var soft, hard uint64
	if _, err := fmt.Sscan(told, &soft, &hard); err != nil || !done || soft > 1 || hard > 1 {
		t.Errorf("the limits of a core file are %q", told)
	}
}

func (w *kitWorld) tryAct(t *testing.T, a kitAct, kernel sandbox.Kernel) {
	s := a.scene(t, w)
	i := w.instance(t, a.plugin, a.plugin)
	told, done := w.try(t, i, a.act, s.arg)
	harmed := done
	if s.harm != nil {
		words := ""
		if done {
			words = told
		}
		harmed = s.harm(words, done)
	}
	t.Logf("%s: %.60q", s.arg, told)
	switch free := w.level == sandbox.Off || kernel.Landlock < a.needs; {
	case free && !done && !harmed && slices.Contains(refusedByMachine[a.name], told):
		t.Logf("nothing is proven of this act: without a sandbox this machine refuses it, too, with %s", told)
	case free && (!done || !harmed):
		t.Errorf("nothing is to stop it here, and it failed with %q (effect: %v): the test of the sandbox proves nothing", told, harmed)
	case !free && (done || !slices.Contains(refusals, told)):
		t.Errorf("it was not refused: %q", told)
	case !free && harmed:
		t.Error("it was refused, and has its effect all the same")
	}
}
