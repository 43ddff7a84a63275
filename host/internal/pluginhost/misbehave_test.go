package pluginhost

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// start gives an instance or ends the test.
func (r rig) start(t *testing.T, s Spec) *Instance {
	t.Helper()
	i, err := r.Start(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestServesAnyway has plugins whose faults a host must put up with: the
// instance works, and the log holds what is said of it (technical.md B2, 1, 2
// and 8).
func TestServesAnyway(t *testing.T) {
	tests := []struct {
		plugin string
		logged []string
	}{
		{"good", nil},
		{"prints", []string{"[WARN]", "print to standard error instead: welcome to my plugin", "1|2|three|four"}},
		{"prints-long", []string{"print to standard error instead: xxxx"}},
		{"logs-number", []string{"[INFO]  logs-number: 5: key=", "[ERROR] logs-number: as it should be: key=value"}},
		{"grandchild", nil},
		{"floods", []string{"lines dropped"}},
		{"floods-stdout", nil},
	}
	for _, test := range tests {
		t.Run(test.plugin, func(t *testing.T) {
			r := newRig(t, test.plugin)
			i := r.start(t, Spec{Name: test.plugin, Plugin: test.plugin})
			if err := perform(context.Background(), i, "fine", &silent{}); err != nil {
				t.Fatal(err)
			}
			for _, w := range test.logged {
				eventually(t, "the log holds "+w, func() bool { return strings.Contains(r.log.String(), w) })
			}
			if err := i.Stop(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestStartFails has plugins that cannot be served; each error says which
// instance, why, and what the process said.
func TestStartFails(t *testing.T) {
	tests := []struct {
		plugin string
		want   []string
	}{
		{"exits", []string{"ended with exit status 3 before the handshake", "the licence has expired"}},
		{"panics-early", []string{"ended with exit status 2", "panic: nobody told me"}},
		{"closes", []string{"without a handshake", "sdk.Serve"}},
		{"v99", []string{"certwright.plugin.v99", "this host speaks certwright.plugin.v1", "update certwright"}},
		{"core2", []string{"handshake has version 2", "rebuild"}},
		{"netrpc", []string{`"netrpc"`, "only speaks grpc", "rebuild"}},
		{"no-certificate", []string{"certificate", "PLUGIN_CLIENT_CERT"}},
		{"elsewhere", []string{"192.0.2.1:80", "PLUGIN_UNIX_SOCKET_DIR"}},
		{"leaves", []string{"ended with exit status 5"}},
		{"describe-garbage", []string{"does not print JSON"}},
		{"describe-floods", []string{"more than 1048576 bytes"}},
		{"describe-trails", []string{"more than its description"}},
		{"describe-otherwise", []string{`its name is "somebody-else"`}},
		{"describe-v9", []string{"protocol majors [9]", "update certwright"}},
		{"describe-fails", []string{"ended with exit status 7", "cannot load libfoo"}},
	}
	for _, test := range tests {
		t.Run(test.plugin, func(t *testing.T) {
			r := newRig(t, test.plugin)
			_, err := r.Start(context.Background(), Spec{Name: "web", Plugin: test.plugin})
			mention(t, err, append(test.want, "web", test.plugin)...)
			r.noneLeft(t)
			// The name is free again.
			_, err = r.Start(context.Background(), Spec{Name: "web", Plugin: test.plugin})
			mention(t, err, test.want...)
		})
	}
}

// TestStartTimeout has plugins that never get ready.
func TestStartTimeout(t *testing.T) {
	tests := []struct {
		plugin string
		want   []string
	}{
		{"hangs", []string{"no handshake within", "was killed", "waiting for the moon"}},
		{"deaf", []string{"a handshake but did not accept a connection within"}},
		{"describe-hangs", []string{"did not end within", "was killed"}},
	}
	for _, test := range tests {
		t.Run(test.plugin, func(t *testing.T) {
			r := newRig(t, test.plugin)
			// Let it say its words first, however slow the machine is.
			r.limits.start, r.limits.describe = 3*time.Second, 3*time.Second
			if test.plugin != "describe-hangs" {
				r.limits.describe = time.Minute
			}
			_, err := r.Start(context.Background(), Spec{Name: "web", Plugin: test.plugin})
			mention(t, err, test.want...)
			r.noneLeft(t)
		})
	}
}

// TestStartCancelled: the context ends a start that hangs.
func TestStartCancelled(t *testing.T) {
	r := newRig(t, "hangs")
	r.limits.start = time.Hour
	ctx, cancel := context.WithCancelCause(context.Background())
	wanted := errors.New("the user has had enough")
	go func() {
		defer cancel(wanted)
		deadline := time.Now().Add(time.Minute)
		for !strings.Contains(r.log.String(), "waiting for the moon") && time.Now().Before(deadline) {
			<-time.After(10 * time.Millisecond)
		}
	}()
	_, err := r.Start(ctx, Spec{Name: "web", Plugin: "hangs"})
	mention(t, err, "the user has had enough", "web")
	if !errors.Is(err, wanted) {
		t.Error("the cause is not in the chain")
	}
	r.noneLeft(t)
}

// TestCloseEndsStart: so does the end of the host.
func TestCloseEndsStart(t *testing.T) {
	r := newRig(t, "hangs")
	r.limits.start = time.Hour
	failed := make(chan error, 1)
	go func() {
		_, err := r.Start(context.Background(), Spec{Name: "web", Plugin: "hangs"})
		failed <- err
	}()
	eventually(t, "it hangs", func() bool { return strings.Contains(r.log.String(), "waiting for the moon") })
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	mention(t, <-failed, "the plugin host is closed")
	if _, err := r.Start(context.Background(), Spec{Name: "late", Plugin: "hangs"}); !errors.Is(err, errClosed) {
		t.Errorf("a start after Close gives %v", err)
	}
}

// TestDies has processes that end in the middle of a call.
func TestDies(t *testing.T) {
	tests := []struct {
		token string
		want  []string
	}{
		{"die", []string{"ended with exit status 9", "about to die"}},
		{"segv", []string{"ended with exit status 2", "SIGSEGV: segmentation violation"}},
		{"kill", []string{"was ended by signal 9 (killed)"}},
		{"panic", []string{"ended with exit status 2", "panic: out of luck"}},
	}
	for _, test := range tests {
		t.Run(test.token, func(t *testing.T) {
			r := newRig(t, "good")
			i := r.start(t, Spec{Name: "web", Plugin: "good"})
			err := perform(context.Background(), i, test.token, &silent{})
			mention(t, err, append(test.want, "instance web", "plugin good", "Perform")...)
			if hint := sdk.ProblemOf(err).Hint; !strings.Contains(hint, "try again") {
				t.Errorf("the hint is %q", hint)
			}
			var died *DiedError
			if !errors.As(err, &died) || died.Instance != "web" {
				t.Errorf("no DiedError in %T", err)
			}
			// The next call says the same, and the end is quiet.
			_, _, err = i.Health(context.Background(), false)
			mention(t, err, "instance web", "Health", test.want[0])
			if err := i.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHangs: a call that hangs ends by its limit, and its process by Stop.
func TestHangs(t *testing.T) {
	r := newRig(t, "good")
	r.limits.grace = 100 * time.Millisecond
	i := r.start(t, Spec{Name: "web", Plugin: "good", Timeout: time.Second})
	err := perform(context.Background(), i, "hang", &silent{})
	mention(t, err, "Perform did not end within 1s")
	if p := sdk.ProblemOf(err); p.Code != sdk.Timeout || p.Hint == "" {
		t.Errorf("the problem is %+v", p)
	}
	// The process is well otherwise.
	if err := perform(context.Background(), i, "fine", &silent{}); err != nil {
		t.Error(err)
	}
	if err := i.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if err := i.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	mention(t, perform(context.Background(), i, "fine", &silent{}), "instance web", "was stopped")
	eventually(t, "the log names what was abandoned", func() bool {
		return strings.Contains(r.log.String(), "did not end its work in time")
	})
}

// TestStopWhileWorking: Stop ends calls that are open, also those of a process
// that does not react at all, and a context makes it hurry.
func TestStopWhileWorking(t *testing.T) {
	for _, token := range []string{"hang", "stop"} {
		t.Run(token, func(t *testing.T) {
			r := newRig(t, "good")
			r.limits.grace, r.limits.shutdown = 100*time.Millisecond, 100*time.Millisecond
			i := r.start(t, Spec{Name: "web", Plugin: "good"})
			failed := make(chan error, 1)
			reporter := &silent{told: make(chan struct{})}
			go func() { failed <- perform(context.Background(), i, token, reporter) }()
			if token == "hang" {
				<-reporter.told
			} else {
				p, _ := i.connection.runner.process()
				eventually(t, "it stands still", func() bool { return stopped(p.cmd.Process.Pid) })
			}
			if err := i.Stop(context.Background()); err != nil {
				t.Error(err)
			}
			mention(t, <-failed, "instance web", "Perform")
		})
	}
	t.Run("hurry", func(t *testing.T) {
		r := newRig(t, "good")
		r.limits.grace, r.limits.shutdown = time.Hour, time.Hour
		i := r.start(t, Spec{Name: "web", Plugin: "good"})
		reporter := &silent{told: make(chan struct{})}
		failed := make(chan error, 1)
		go func() { failed <- perform(context.Background(), i, "hang", reporter) }()
		<-reporter.told
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := i.Stop(ctx); err != nil {
			t.Error(err)
		}
		mention(t, <-failed, "instance web")
	})
}

func stopped(pid int) bool {
	state, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
	return err == nil && strings.Contains(string(state), ") T ")
}

// TestEscapee: a grandchild that left the process group and holds the pipes
// holds nobody up (technical.md B2, 2). Nothing but a sandbox can end it.
func TestEscapee(t *testing.T) {
	for _, plugin := range []string{"escapee", "grandchild-exits"} {
		t.Run(plugin, func(t *testing.T) {
			r := newRig(t, plugin)
			i, err := r.Start(context.Background(), Spec{Name: "web", Plugin: plugin})
			pids := r.pids(t)
			child := pids[len(pids)-1]
			defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }()
			if plugin == "escapee" {
				if err != nil {
					t.Fatal(err)
				}
				err = i.Stop(context.Background())
				if err != nil {
					t.Fatal(err)
				}
			} else {
				mention(t, err, "exit status 4")
			}
			if !alive(child) {
				t.Error("the grandchild was to outlive all this")
			}
		})
	}
}

// TestHostKilled: no plugin outlives a host that is killed, be it serving or
// deaf to everything (technical.md B2, 3).
func TestHostKilled(t *testing.T) {
	dir := pluginDir(t, "good", "hangs")
	// A short path, for it shall hold the sockets.
	temp, err := os.MkdirTemp("/tmp", "killed-") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temp)
	host := exec.Command(os.Args[0])
	host.Env = append(os.Environ(), helperHost+"="+dir, "TMPDIR="+temp)
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Process.Kill() }()
	if line := readLine(t, bufio.NewReader(out)); line != "started" {
		t.Fatal(line)
	}
	// Each was described and started, and both wait now.
	eventually(t, "four processes were started", func() bool { return len(recordedPids(t, dir)) == 4 })
	living := 0
	for _, pid := range recordedPids(t, dir) {
		if alive(pid) {
			living++
		}
	}
	if living < 2 {
		t.Fatalf("only %d plugins live", living)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait()
	for _, pid := range recordedPids(t, dir) {
		waitGone(t, pid)
	}
	// What the host could not remove, the next one does, but not at once: it
	// could be that of a host that is just starting.
	sweepSocketDirs(temp, time.Now())
	if left := socketDirs(t, temp); len(left) != 2 {
		t.Errorf("socket directories %v", left)
	}
	live, err := makeSocketDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	sweepSocketDirs(temp, time.Now().Add(2*unlockedAge))
	if left := socketDirs(t, temp); len(left) != 1 || left[0] != live.path {
		t.Errorf("socket directories %v, of which %s is in use", left, live.path)
	}
	if err := live.remove(); err != nil {
		t.Error(err)
	}
}

func socketDirs(t *testing.T, base string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(base, socketPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}
