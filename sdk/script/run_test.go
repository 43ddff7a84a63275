package script

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

// tellPID makes the test binary a plugin that runs a command and is killed.
const tellPID = "SCRIPT_TEST_LINE"

func TestMain(m *testing.M) {
	if line := os.Getenv(tellPID); line != "" {
		_, err := Run(context.Background(), Command{Line: line})
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestLineAndProgram(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]Command{
		"line":       {Line: `printf 'out %s' "$X"; echo err >&2; exit 0`, Env: []string{"X=y", "PATH=" + os.Getenv("PATH")}},
		"program":    {Path: file(t, dir, "program", "#!/bin/sh\nprintf 'out %s' \"$1\"; echo err >&2\n", 0o700), Args: []string{"y"}},
		"no #! line": {Path: file(t, dir, "bare", "printf 'out %s' \"$1\"; echo err >&2\n", 0o700), Args: []string{"y"}},
		"stdin":      {Line: `read x; printf 'out %s' "$x"; echo err >&2`, Stdin: strings.NewReader("y\n")},
		"bash":       {Path: file(t, dir, "bashism", "x=(a y); printf 'out %s' \"${x[1]}\"; echo err >&2\n", 0o700), Interpreter: "/bin/bash"},
	} {
		var live bytes.Buffer
		c.Stdout = &live
		r, err := Run(t.Context(), c)
		if err != nil || !r.Exited || r.Stdout != "out y" || r.Stderr != "err\n" || live.String() != "out y" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestWhatItGets(t *testing.T) {
	t.Setenv("STALE", "from elsewhere")
	t.Setenv("KEPT", "k")
	pipe, write, err := os.Pipe()
	must(t, err)
	_, err = write.WriteString("third")
	must(t, err)
	must(t, write.Close())
	defer pipe.Close()
	dir := t.TempDir()
	r, err := Run(t.Context(), Command{
		Line: `echo "$KEPT ${STALE-unset} $NEW"; cat; cat <&3; echo; pwd`,
		Env:  Environ(map[string]string{"NEW": "n"}, "STALE"), Files: []*os.File{pipe}, Dir: dir,
	})
	must(t, err)
	if want := "k unset n\nthird\n" + dir + "\n"; r.Stdout != want {
		t.Errorf("it got %q", r.Stdout)
	}
}

func TestHowItEnds(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		command Command
		exited  bool
		code    int
		want    []string // in the error
		hint    string
	}{
		"exit code": {Command{Name: "the hook", Line: "echo to out; echo to err >&2; exit 3"}, true, 3,
			[]string{"the hook ended with exit status 3", "to out", "to err"}, "run it by hand"},
		"silent":         {Command{Line: "exit 1", Hint: "do this"}, true, 1, []string{"the command ended with exit status 1: it printed nothing"}, "do this"},
		"not found":      {Command{Line: "no-such-command"}, true, 127, []string{"exit status 127"}, "full path"},
		"not executable": {Command{Line: file(t, dir, "plain", "echo", 0o600)}, true, 126, []string{"exit status 126"}, "chmod +x"},
		"signal": {Command{Name: "the hook", Line: "echo last words; kill -SEGV $$"}, false, 0,
			[]string{"the hook was ended by the signal SIGSEGV (segmentation fault)", "last words"}, "by hand"},
		"no such file":    {Command{Name: "the hook", Path: dir + "/none"}, false, 0, []string{"the hook " + dir + "/none does not exist"}, "correct the path"},
		"no such command": {Command{Name: "the hook", Path: "no-such-command"}, false, 0, []string{"no-such-command is not in PATH (" + os.Getenv("PATH")}, "full path"},
		"mode":            {Command{Name: "the hook", Path: file(t, dir, "mode", "#!/bin/sh\n", 0o600)}, false, 0, []string{"/mode is not executable"}, "chmod +x " + dir + "/mode"},
		"directory":       {Command{Name: "the hook", Path: dir}, false, 0, []string{"is a directory"}, "name a file"},
		"interpreter": {Command{Name: "the hook", Path: file(t, dir, "interpreter", "#!/no/such/sh\n", 0o700)}, false, 0,
			[]string{"the interpreter that the first line of " + dir + "/interpreter names does not exist"}, "#!"},
		"place":  {Command{Name: "the hook", Line: "true", Dir: dir + "/none"}, false, 0, []string{dir + "/none where it is to run does not exist"}, ""},
		"length": {Command{Line: "true", Env: []string{"X=" + strings.Repeat("x", 3<<20)}}, false, 0, []string{"longer than the system allows"}, ""},
	} {
		r, err := Run(t.Context(), c.command)
		if err == nil || r.Exited != c.exited || r.Code != c.code || r.Started != (c.exited || r.Signal != "") {
			t.Errorf("%s: %+v, %v", name, r, err)
			continue
		}
		p := sdk.ProblemOf(err)
		for _, want := range c.want {
			if !strings.Contains(p.Error(), want) {
				t.Errorf("%s: no %q in %q", name, want, p.Error())
			}
		}
		if !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: the hint is %q", name, p.Hint)
		}
	}
}

func TestOutputIsKeptUpToALimit(t *testing.T) {
	r, err := Run(t.Context(), Command{
		Line:   `i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf 'the \377 end'`,
		Output: 10,
	})
	must(t, err)
	if r.Stdout != "line 0\nlin" || !r.Cut || !strings.HasPrefix(r.Tail, "… ") || !strings.HasSuffix(r.Tail, "line 1999\nthe ? end") {
		t.Errorf("%+v", r)
	}
	if len(r.Tail) > tailLimit+10 {
		t.Errorf("the tail has %d bytes", len(r.Tail))
	}
}

func TestAFloodIsStopped(t *testing.T) {
	r, err := Run(t.Context(), Command{Name: "the hook", Line: "yes; exit 0"})
	if err == nil || r.Exited || len(r.Stdout) != defaultOutput || !strings.Contains(err.Error(), "the hook printed more than 64 MiB and was stopped") {
		t.Errorf("%d bytes, %+v", len(r.Stdout), err)
	}
}

// One that heeds SIGTERM has the time to say so; its children end with it.
func TestTheTimeLimitEndsTheGroup(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "gate")
	must(t, syscall.Mkfifo(fifo, 0o600))
	r, err := Run(t.Context(), Command{
		Name: "the hook", Limit: 4 * time.Second, LimitSetting: "hook_timeout",
		Line: `trap 'echo told to end; exit 0' TERM; (trap "" TERM; echo $$; cat ` + fifo + `) & wait`,
	})
	p := sdk.ProblemOf(err)
	if p == nil || p.Code != sdk.Timeout || r.Exited || !strings.Contains(p.Error(), "the hook did not end within 4s and was stopped: it printed: ") ||
		!strings.Contains(r.Stdout, "told to end") || !strings.Contains(p.Hint, "hook_timeout") {
		t.Errorf("%+v, %+v", r, p)
	}
	gone(t, strings.Fields(r.Stdout)[0])
}

func TestWhatIgnoresSIGTERMIsKilled(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "begun")
	must(t, syscall.Mkfifo(fifo, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	type end struct {
		r   Result
		err error
	}
	ended := make(chan end, 1)
	go func() {
		r, err := Run(ctx, Command{Line: `trap "" TERM; echo $$ >` + fifo + `; while :; do sleep 100; done`})
		ended <- end{r, err}
	}()
	pid, err := os.ReadFile(fifo)
	must(t, err)
	cancel()
	e := <-ended
	if p := sdk.ProblemOf(e.err); p == nil || p.Code != sdk.Cancelled || !errors.Is(e.err, context.Canceled) || e.r.Exited {
		t.Errorf("%+v", e)
	}
	gone(t, strings.TrimSpace(string(pid)))
	if _, err := Run(ctx, Command{Line: "true"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// A hook may start what its counterpart ends.
func TestWhatIsLeftInTheBackgroundStays(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "gate")
	must(t, syscall.Mkfifo(fifo, 0o600))
	r, err := Run(t.Context(), Command{Line: "cat " + fifo + " & echo $!"})
	if err != nil || !r.Exited || !r.Held {
		t.Fatalf("%+v, %v", r, err)
	}
	alive(t, strings.TrimSpace(r.Stdout))
	must(t, os.WriteFile(fifo, nil, 0o600)) // now it can end
	r, err = Run(t.Context(), Command{Line: "cat " + fifo + " >/dev/null 2>&1 & echo $!"})
	if err != nil || r.Held || r.Warning() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	must(t, os.WriteFile(fifo, nil, 0o600))
}

// What it prints is read on, so that it is not ended by its next word.
func TestWhatIsLeftInTheBackgroundCanPrint(t *testing.T) {
	dir := t.TempDir()
	gate, end := filepath.Join(dir, "gate"), filepath.Join(dir, "end")
	must(t, syscall.Mkfifo(gate, 0o600))
	var live strings.Builder
	r, err := Run(t.Context(), Command{
		Name: "the hook", Stdout: &live,
		Line: "trap '' PIPE; (cat " + gate + " >/dev/null; if echo late; then echo well >" + end + "; else echo lost >" + end + "; fi) & echo now $!",
	})
	must(t, err)
	must(t, os.WriteFile(gate, nil, 0o600))
	gone(t, strings.Fields(r.Stdout)[1])
	text, err := os.ReadFile(end)
	must(t, err)
	if !r.Held || string(text) != "well\n" || live.String() != r.Stdout || strings.Contains(r.Stdout, "late") {
		t.Errorf("%+v; it says %s", r, text)
	}
	p := r.Warning()
	if p == nil || !strings.HasPrefix(p.Error(), "the hook ended, and left a process in the background") || p.Hint == "" {
		t.Errorf("%+v", p)
	}
}

func TestAFloodFromTheBackgroundIsStopped(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	must(t, syscall.Mkfifo(gate, 0o600))
	r, err := Run(t.Context(), Command{Line: "(cat " + gate + "; exec yes) & echo $!"})
	must(t, err)
	must(t, os.WriteFile(gate, nil, 0o600))
	gone(t, strings.TrimSpace(r.Stdout))
}

func file(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), mode))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func process(t *testing.T, pid string) *os.Process {
	t.Helper()
	n, err := strconv.Atoi(pid)
	must(t, err)
	p, err := os.FindProcess(n)
	must(t, err)
	return p
}

func alive(t *testing.T, pid string) {
	t.Helper()
	if err := process(t, pid).Signal(syscall.Signal(0)); err != nil {
		t.Errorf("process %s: %v", pid, err)
	}
}

// gone waits until a process has ended.
func gone(t *testing.T, pid string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ended(t, pid) {
		select {
		case <-deadline:
			t.Fatalf("process %s is still there", pid)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
