package pluginhost

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/certwright/certwright/host/internal/sandbox"
)

// drainTime is how long output is read after a process has ended: what it wrote
// is in the pipe already, and a grandchild may hold the other end for ever.
const drainTime = 500 * time.Millisecond

// process is a plugin's process and what keeps it: its group, its lifeline and
// the pipes that it writes to.
type process struct {
	cmd      *exec.Cmd
	lifeline *os.File // nil if it has none

	// exited is closed when the process was waited for and its group killed,
	// gone when all that it wrote has been read, too.
	exited chan struct{}
	gone   chan struct{}

	mu     sync.Mutex
	reaped bool
	killed bool
}

// launch starts a binary. What it writes goes to stdout and stderr, from one
// goroutine each, which close them at the end; they MUST NOT block for long.
// With a lifeline, standard input is a pipe that stays open while the host
// lives; else it is empty. atEnd, if not nil, is called last of all.
func launch(b *binary, policy sandbox.Policy, env []string, lifeline bool, stdout, stderr io.WriteCloser, atEnd func()) (*process, error) {
	var files opened
	defer files.closeAll()
	outR, outW, err := files.pipe()
	if err != nil {
		return nil, err
	}
	errR, errW, err := files.pipe()
	if err != nil {
		return nil, err
	}
	p := &process{exited: make(chan struct{}), gone: make(chan struct{})}
	var in *os.File
	if lifeline {
		in, p.lifeline, err = files.pipe()
	} else {
		in, err = files.add(os.Open(os.DevNull))
	}
	if err != nil {
		return nil, err
	}
	p.cmd = &exec.Cmd{Env: env, Stdin: in, Stdout: outW, Stderr: errW}
	if err := sandbox.Start(p.cmd, policy, b.file); err != nil {
		return nil, err
	}
	files.keep(outR, errR, p.lifeline)

	var readers sync.WaitGroup
	readers.Go(func() { drain(stdout, outR) })
	readers.Go(func() { drain(stderr, errR) })
	go func() {
		defer close(p.gone)
		p.reap()
		late := time.Now().Add(drainTime)
		_ = outR.SetReadDeadline(late)
		_ = errR.SetReadDeadline(late)
		readers.Wait()
		if atEnd != nil {
			atEnd()
		}
		if p.lifeline != nil {
			_ = p.lifeline.Close()
		}
	}()
	return p, nil
}

// drain reads until the end or the deadline of a pipe.
func drain(to io.WriteCloser, from *os.File) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

// reap waits for the process and kills what is left of its group.
func (p *process) reap() {
	// The group is killed while the dead leader still holds its number, so
	// that it cannot be somebody else's by then.
	waitUntilDead(p.cmd)
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait() // its outcome is in ProcessState
	p.reaped = true
	close(p.exited)
}

// kill ends the process and its group at once.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.killed = true
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		// It may have left its group.
		_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// endedByHost is the fate of a process that the host has killed.
const endedByHost = "was ended by the host"

// fate says how the process ended; empty if it runs.
func (p *process) fate() string {
	select {
	case <-p.exited:
	default:
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return endedByHost
	}
	state := p.cmd.ProcessState
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return fmt.Sprintf("was ended by signal %d (%s)", int(ws.Signal()), ws.Signal())
	}
	return fmt.Sprintf("ended with exit status %d", state.ExitCode())
}

// opened closes files unless they are kept.
type opened []*os.File

func (o *opened) add(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, fmt.Errorf("prepare the standard files of a plugin: %w", err)
	}
	*o = append(*o, f)
	return f, nil
}

func (o *opened) pipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("prepare the standard files of a plugin: %w", err)
	}
	*o = append(*o, r, w)
	return r, w, nil
}

func (o *opened) keep(files ...*os.File) {
	for i, f := range *o {
		for _, k := range files {
			if f == k {
				(*o)[i] = nil
			}
		}
	}
}

func (o *opened) closeAll() {
	for _, f := range *o {
		if f != nil {
			_ = f.Close()
		}
	}
}
