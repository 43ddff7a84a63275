package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

const (
	shell = "/bin/sh"
	// grace is what a command has to end after SIGTERM, and how long its output
	// is awaited after it has ended: a process that it left may hold it open. A
	// cancelled call has to end within 5 s.
	grace = 2 * time.Second
	// defaultOutput is what is kept of each stream, in bytes.
	defaultOutput = 1 << 20
	// flood is what a command may print at most, in bytes.
	flood = 64 << 20
)

// Command is one run of a program or of a command line.
type Command struct {
	// Name is what errors call it, for instance "the auth hook".
	Name string
	// Line is given to /bin/sh. It is not quoted in errors: it may hold a
	// password.
	Line string
	// Path is run with Args, if Line is empty. It is looked up in PATH if it has
	// no slash.
	Path string
	Args []string
	// Interpreter runs a Path that is neither a program nor starts with "#!".
	// Empty: /bin/sh.
	Interpreter string
	// Env is the whole environment; nil: that of this process. See [Environ].
	Env []string
	// Dir is where it runs; empty: where this process is.
	Dir string
	// Stdin may be nil: there is nothing to read. A reader that is no file and
	// never ends must be ended by the caller.
	Stdin io.Reader
	// Files become descriptors 3 and up.
	Files []*os.File
	// Limit is the time that it may take; zero: as long as the context.
	// LimitSetting is the setting that says so, for the advice.
	Limit        time.Duration
	LimitSetting string
	// Output is how many bytes of each stream the result keeps; zero: 1 MiB.
	Output int
	// Stdout and Stderr get what is printed while it is printed, if they are not
	// nil. They must not block for long.
	Stdout io.Writer
	Stderr io.Writer
	// Hint is the advice when it ends with another code than 0. Empty: to run it
	// by hand.
	Hint string
}

// Result is what came of a command.
type Result struct {
	// Started says that there was a process.
	Started bool
	// Exited says that it ran and ended by itself, with Code. If not, it could
	// not be started, was ended by Signal, or was stopped.
	Exited bool
	Code   int
	// Signal is "SIGSEGV", ...; empty: none.
	Signal string
	// Stdout and Stderr are the first bytes of each; Cut says that there were
	// more.
	Stdout string
	Stderr string
	Cut    bool
	// Tail is the end of both as they came, valid UTF-8 without space around it.
	Tail string
	// Held says that a process which it left in the background kept its output
	// open: what that one prints later is lost. See [Result.Warning].
	Held bool

	name string
}

var (
	errLimit = errors.New("it took too long")
	errFlood = errors.New("it printed too much")
)

// Run runs a command and waits for its end. The error is nil if it ended with
// code 0.
func Run(ctx context.Context, c Command) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, c.stopped(ctx, err, Result{})
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if c.Limit > 0 {
		limited, cancel := context.WithTimeoutCause(running, c.Limit, errLimit)
		defer cancel()
		running = limited
	}
	out := newOutput(c, func() { stop(errFlood) })
	ended := make(chan end)
	go func() {
		// The command ends with the thread that started it (see owned).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ended <- c.work(running, out)
	}()
	e := <-ended
	r := out.result()
	r.Started, r.name = e.state != nil, c.name()
	switch {
	case e.stopped:
		return r, c.stopped(ctx, context.Cause(running), r)
	case !r.Started:
		return r, e.err
	}
	r.Held = e.held
	return c.judge(e.state, e.err, r)
}

// end is how a command ended: without a state, it could not be started.
type end struct {
	state   *os.ProcessState
	stopped bool
	held    bool
	err     error
}

// work runs the command to its end, and ends what else is in its group if it was
// stopped.
func (c Command) work(ctx context.Context, out *output) end {
	g, err := watch()
	if err != nil {
		return end{err: fmt.Errorf("run %s: %w", c.name(), err)}
	}
	defer g.release()
	s, err := out.open(c.Stdout, c.Stderr)
	if err != nil {
		return end{err: fmt.Errorf("run %s: %w", c.name(), err)}
	}
	cmd, err := c.start(ctx, g.group(), s)
	s.close()
	if err != nil {
		return end{stopped: ctx.Err() != nil, err: c.unstarted(err)}
	}
	if err = cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it did not read all of its input
	}
	e := end{state: cmd.ProcessState, stopped: err != nil && ctx.Err() != nil, err: err}
	held, err := s.await()
	if e.err == nil {
		e.err = err
	}
	if e.held = held && !e.stopped; e.stopped {
		// What it started and what does not heed SIGTERM.
		_ = syscall.Kill(-g.group(), syscall.SIGKILL)
	}
	return e
}

// start starts it: by an interpreter if the kernel does not know what it is, as a
// shell does with a script that has no first line, and again for a while if it
// is being written.
func (c Command) start(ctx context.Context, group int, s *streams) (*exec.Cmd, error) {
	path, args := c.Path, c.Args
	if c.Line != "" {
		path, args = shell, []string{"-c", c.Line}
	}
	for attempt := 0; ; attempt++ {
		cmd := c.build(ctx, group, s, path, args)
		err := cmd.Start()
		switch {
		case errors.Is(err, syscall.ENOEXEC) && attempt == 0:
			args = append([]string{cmd.Path}, c.Args...)
			if path = c.Interpreter; path == "" {
				path = shell
			}
		case errors.Is(err, syscall.ETXTBSY) && attempt < 100:
			pause := time.NewTimer(20 * time.Millisecond)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return cmd, err
			}
		default:
			return cmd, err
		}
	}
}

func (c Command) build(ctx context.Context, group int, s *streams, path string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, s.write[0], s.write[1]
	cmd.ExtraFiles = c.Files
	cmd.SysProcAttr = owned(group)
	cmd.WaitDelay = grace
	cmd.Cancel = func() error {
		if cmd.Process.Signal(syscall.Signal(0)) != nil {
			return os.ErrProcessDone
		}
		s.until = time.Now().Add(grace)
		return syscall.Kill(-group, syscall.SIGTERM)
	}
	return cmd
}

// judge says how a command ended that was not stopped.
func (c Command) judge(state *os.ProcessState, waited error, r Result) (Result, error) {
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		r.Signal = signalName(status.Signal())
		p := sdk.Problemf(sdk.Unavailable, "%s was ended by the signal %s (%s)", c.name(), r.Signal, status.Signal())
		p.Detail, p.Hint = r.detail(), c.hint()
		return r, p
	case state.Success():
		r.Exited = true
		var exit *exec.ExitError
		if waited == nil || errors.As(waited, &exit) {
			return r, nil
		}
		// It ended well, but what it printed could not be passed on.
		return r, fmt.Errorf("read what %s printed: %w", c.name(), waited)
	}
	r.Exited, r.Code = true, state.ExitCode()
	p := sdk.Problemf(sdk.Unavailable, "%s ended with exit status %d", c.name(), r.Code)
	p.Detail, p.Hint = r.detail(), c.hint()
	if c.Line != "" && c.Hint == "" {
		switch r.Code { // what a shell says of a command that it cannot run
		case 126:
			p.Hint = "make the command executable (chmod +x)"
		case 127:
			p.Hint = "give the full path of the command, or put its directory into PATH"
		}
	}
	return r, p
}

// stopped says why a command was not left to end by itself.
func (c Command) stopped(ctx context.Context, cause error, r Result) error {
	var p *sdk.Problem
	switch {
	case ctx.Err() != nil:
		code := sdk.Cancelled
		if errors.Is(cause, context.DeadlineExceeded) {
			code = sdk.Timeout
		}
		p = sdk.Problemf(code, "%s was stopped: %w", c.name(), cause)
	case errors.Is(cause, errFlood):
		p = sdk.Problemf(sdk.Unavailable, "%s printed more than %d MiB and was stopped", c.name(), flood>>20)
		p.Hint = "see why it prints so much, and send its output elsewhere"
	default:
		p = sdk.Problemf(sdk.Timeout, "%s did not end within %s and was stopped", c.name(), c.Limit)
		p.Hint = "run it by hand and see what it waits for"
		if c.LimitSetting != "" {
			p.Hint += ", or raise the setting " + c.LimitSetting
		}
	}
	if r.Tail != "" {
		p.Detail = "it printed: " + r.Tail
	}
	return p
}

func (c Command) name() string {
	if c.Name == "" {
		return "the command"
	}
	return c.Name
}

func (c Command) hint() string {
	if c.Hint != "" {
		return c.Hint
	}
	return "run it by hand, see what it says and mend that"
}

func (r Result) detail() string {
	if r.Tail == "" {
		return "it printed nothing"
	}
	return r.Tail
}
