package sandbox

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("SANDBOX_TEST_UNREADY") != "" {
		if err := Start(&exec.Cmd{}, Policy{Path: "/bin/true"}, nil); err != nil {
			os.Stdout.WriteString(err.Error())
		}
		os.Exit(0)
	}
	RunIfLauncher()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction(StartThread), goleak.Cleanup(func(code int) {
		if buildDir != "" {
			_ = os.RemoveAll(buildDir)
		}
		os.Exit(code)
	}))
}

// run starts a program and gives what it printed and how it ended.
func run(t *testing.T, path string, script bool, args ...string) (stdout, stderr string, state *os.ProcessState) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Env: []string{"KEY=value"}, Stdout: outW, Stderr: errW}
	if err := Start(cmd, Policy{Path: path, Args: append([]string{path}, args...), Script: script}, f); err != nil {
		t.Fatal(err)
	}
	_ = outW.Close()
	_ = errW.Close()
	out, err := io.ReadAll(outR)
	if err != nil {
		t.Fatal(err)
	}
	words, err := io.ReadAll(errR)
	if err != nil {
		t.Fatal(err)
	}
	_ = outR.Close()
	_ = errR.Close()
	_ = cmd.Wait()
	return string(out), string(words), cmd.ProcessState
}

// TestHostLeavesNoCore: a host that is killed leaves none of its memory.
func TestHostLeavesNoCore(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil || limit.Cur > noCore {
		t.Errorf("the limit of a core file is %d, %v", limit.Cur, err)
	}
}

func write(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunsScript(t *testing.T) {
	// Something that the host was started with and that exec would not close.
	stray, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(stray)
	path := write(t, "#!/bin/sh\n[ -e /proc/$$/fd/"+strconv.Itoa(stray)+" ] && echo inherited\necho \"$KEY $1\"; ulimit -c; exit 5\n", 0o700)
	out, words, state := run(t, path, true, "argument")
	if out != "value argument\n0\n" || words != "" || state.ExitCode() != 5 {
		t.Errorf("%q %q %v", out, words, state)
	}
}

// TestRunsBinary: the descriptor is executed, whatever is at the path now.
func TestRunsBinary(t *testing.T) {
	content, err := os.ReadFile("/bin/cat")
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, string(content), 0o700)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer outR.Close()
	cmd := &exec.Cmd{Env: []string{}, Stdin: in, Stdout: outW, Stderr: os.Stderr}
	if err := Start(cmd, Policy{Path: path, Args: []string{path, "/proc/self/cmdline"}}, f); err != nil {
		t.Fatal(err)
	}
	_ = outW.Close()
	out, err := io.ReadAll(outR)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := path + "\x00/proc/self/cmdline\x00"; string(out) != want {
		t.Errorf("arguments %q, want %q", out, want)
	}
}

func TestCannotExecute(t *testing.T) {
	tests := []struct {
		name, content string
		mode          os.FileMode
		script        bool
		want          string
	}{
		{"no program", "neither", 0o700, false, "no program for this machine"},
		{"no interpreter", "#!/no/such\n", 0o700, true, "install the interpreter"},
		{"not executable", "#!/bin/sh\n", 0o600, true, "make it executable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.content, test.mode)
			_, words, state := run(t, path, test.script)
			if state.ExitCode() != exitLaunch || !strings.Contains(words, "execute "+path) || !strings.Contains(words, test.want) {
				t.Errorf("%q %v", words, state)
			}
		})
	}
}

// TestLauncherByHand: somebody who finds the mode gets an answer.
func TestLauncherByHand(t *testing.T) {
	var words bytes.Buffer
	cmd := exec.Command(os.Args[0], launcherMode)
	cmd.Stderr = &words
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != exitLaunch || !strings.Contains(words.String(), "certwright's own use") {
		t.Errorf("%v: %s", err, words.String())
	}
}

// TestUnknownRestriction: a launcher that does not know a restriction refuses.
func TestUnknownRestriction(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "policy"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"path": "/x", "args": ["/x"], "landlock": {}}`); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := readPolicy(f); err == nil || !strings.Contains(err.Error(), "landlock") {
		t.Errorf("error %v", err)
	}
}

// TestNotReady: a program that forgot RunIfLauncher starts nothing, for it
// would start itself.
func TestNotReady(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SANDBOX_TEST_UNREADY=1")
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "RunIfLauncher was not called") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestGroup: the process leads its own group.
func TestGroup(t *testing.T) {
	path := write(t, "#!/bin/sh\nread line\n", 0o700)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Env: []string{"PATH=/bin:/usr/bin"}, Stdin: in, Stdout: os.Stderr, Stderr: os.Stderr}
	if err := Start(cmd, Policy{Path: path, Args: []string{path}, Script: true}, f); err != nil {
		t.Fatal(err)
	}
	if group, err := syscall.Getpgid(cmd.Process.Pid); err != nil || group != cmd.Process.Pid {
		t.Errorf("group %d of process %d, %v", group, cmd.Process.Pid, err)
	}
	_ = hold.Close()
	_ = in.Close()
	_ = cmd.Wait()
}
