package pluginhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
)

// helperHost makes the test binary a host of its own, to be killed; see
// TestHostKilled.
const helperHost = "PLUGINHOST_TEST_HOST"

func TestMain(m *testing.M) {
	sandbox.RunIfLauncher()
	if dir := os.Getenv(helperHost); dir != "" {
		runHelperHost(dir)
	}
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	if code == 0 {
		// The one exception is the thread that forks, which must never end.
		if err := goleak.Find(goleak.IgnoreTopFunction(sandbox.StartThread)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// buildDir is made on first use and removed by TestMain.
var buildDir string

// misbehave builds the plugin once and gives its path.
var misbehave = sync.OnceValues(func() (string, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "misbehave-"); err != nil {
		return "", err
	}
	binary := filepath.Join(buildDir, "misbehave")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "./testdata/misbehave")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the test plugin: %w\n%s", err, out)
	}
	return binary, nil
})

// pluginDir gives a trusted directory with misbehaving plugins of these names.
func pluginDir(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		binary, err := misbehave()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Link(binary, filepath.Join(dir, binaryPrefix+name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// rig is a host with its log and its plugins.
type rig struct {
	*Host
	dir string
	log *logBuffer
}

// newRig makes a host whose limits suit a slow machine. At the end nothing may
// be left of it.
func newRig(t *testing.T, names ...string) rig {
	t.Helper()
	r := rig{dir: pluginDir(t, names...), log: &logBuffer{}}
	r.Host = New(Options{
		Dirs: []string{r.dir}, StateDir: filepath.Join(t.TempDir(), "plugins"), HostVersion: "test",
		Log: hclog.New(&hclog.LoggerOptions{Output: r.log, Level: hclog.Trace}),
	})
	r.describeWrites = []string{r.dir}
	r.limits.describe, r.limits.start, r.limits.configure = time.Minute, time.Minute, time.Minute
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		r.noneLeft(t)
	})
	return r
}

// noneLeft waits until every process that a plugin recorded is gone.
func (r rig) noneLeft(t *testing.T) {
	t.Helper()
	for _, pid := range r.pids(t) {
		waitGone(t, pid)
	}
}

func (r rig) pids(t *testing.T) []int {
	t.Helper()
	return recordedPids(t, r.dir)
}

func recordedPids(t *testing.T, dir string) []int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.pids"))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(line)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
}

// alive takes a process that only waits to be collected for dead.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(after, []byte("Z"))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never true: %s", what)
		}
	}
}

// mention fails unless the text of an error holds all words on one line.
func mention(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	t.Logf("error: %v", err)
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has several lines")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not mention %q", w)
		}
	}
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// silent is a reporter that keeps progress.
type silent struct {
	mu       sync.Mutex
	progress []string
	results  []sdk.Result
	told     chan struct{} // closed at the first progress, if set
}

func (s *silent) Progress(_, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = append(s.progress, message)
	if len(s.progress) == 1 && s.told != nil {
		close(s.told)
	}
}

func (s *silent) Say(sdk.Stream, string) {}

func (s *silent) Ask(context.Context, string) (string, error) { return "", sdk.ErrNotInteractive }

func (s *silent) Result(r sdk.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, r)
}

// perform asks an instance to do what a token says.
func perform(ctx context.Context, i *Instance, token string, r sdk.Reporter) error {
	return i.Authenticator().Perform(ctx, []sdk.Challenge{{ID: "1", Type: sdk.HTTP01, Token: token}}, r)
}

// runHelperHost starts the plugin "good", then starts "hangs" for ever; the
// test kills this process meanwhile.
func runHelperHost(dir string) {
	h := New(Options{Dirs: []string{dir}, StateDir: filepath.Join(dir, "state")})
	h.describeWrites = []string{dir}
	h.limits.start, h.limits.describe = time.Hour, time.Minute
	if _, err := h.Start(context.Background(), Spec{Name: "good", Plugin: "good"}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("started")
	_, err := h.Start(context.Background(), Spec{Name: "hangs", Plugin: "hangs"})
	fmt.Println(err)
	os.Exit(1)
}

// readLine reads what a helper says.
func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("the helper said %q and ended: %v", line, err)
	}
	return strings.TrimSpace(line)
}

func itoa(n int) string { return strconv.Itoa(n) }
