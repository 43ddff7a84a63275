package plugintest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Limits on what is kept of a plugin's output.
const (
	keptLines = 20
	keptBytes = 4 << 10
)

// runner is one plugin process in its own process group. It reads both output
// streams itself: go-plugin's reader of stderr can be made to panic, and its
// reader of stdout does not tell what follows the handshake.
type runner struct {
	path   string
	env    []string
	extra  []string
	cmd    *exec.Cmd
	exited chan struct{}
	heard  func(where, text string) // each line of stderr

	stdout, stderr *io.PipeReader
	lifeline       *os.File

	mu    sync.Mutex
	stray []byte
	lines []string
}

func (r *runner) Start(context.Context) error {
	var opened []*os.File
	pipe := func() (read, write *os.File, err error) {
		read, write, err = os.Pipe()
		if err == nil {
			opened = append(opened, read, write)
		}
		return read, write, err
	}
	stdin, lifeline, err1 := pipe()
	out, stdout, err2 := pipe()
	errs, stderr, err3 := pipe()
	r.cmd = &exec.Cmd{
		Path: r.path, Args: []string{r.path}, Env: append(r.env, r.extra...),
		Stdin: stdin, Stdout: stdout, Stderr: stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	err := errors.Join(err1, err2, err3)
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		for _, f := range opened {
			_ = f.Close()
		}
		return fmt.Errorf("start plugin %s: %w", r.path, err)
	}
	for _, f := range []*os.File{stdin, stdout, stderr} {
		_ = f.Close()
	}
	r.lifeline = lifeline
	r.follow(out, errs)
	return nil
}

// follow owns all goroutines of the runner; they have ended when exited closes.
func (r *runner) follow(out, errs *os.File) {
	var toStdout, toStderr *io.PipeWriter
	r.stdout, toStdout = io.Pipe()
	r.stderr, toStderr = io.Pipe()
	var pumps sync.WaitGroup
	pumps.Go(func() { r.readStdout(out, toStdout) })
	pumps.Go(func() { r.readStderr(errs) })
	go func() {
		_ = r.cmd.Wait()
		r.signalGroup(syscall.SIGKILL)
		// A grandchild that left the group may still hold the pipes.
		for _, f := range []*os.File{out, errs} {
			_ = f.SetReadDeadline(time.Now().Add(time.Second))
		}
		_ = toStdout.Close()
		pumps.Wait()
		_ = toStderr.Close()
		for _, f := range []*os.File{out, errs, r.lifeline} {
			_ = f.Close()
		}
		close(r.exited)
	}()
}

// readStdout gives the first line to go-plugin and keeps the rest.
func (r *runner) readStdout(from io.Reader, to *io.PipeWriter) {
	reader := bufio.NewReaderSize(from, 64<<10)
	line, err := reader.ReadSlice('\n')
	_, _ = to.Write(line)
	buf := make([]byte, 4<<10)
	for err == nil || errors.Is(err, bufio.ErrBufferFull) {
		var n int
		n, err = reader.Read(buf)
		r.mu.Lock()
		r.stray = append(r.stray, buf[:min(n, keptBytes-len(r.stray))]...)
		r.mu.Unlock()
	}
}

func (r *runner) readStderr(from io.Reader) {
	reader := bufio.NewReaderSize(from, keptBytes)
	for {
		line, err := reader.ReadSlice('\n')
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			r.heard("stderr", string(line))
			r.mu.Lock()
			r.lines = append(r.lines, string(line))
			r.lines = r.lines[max(0, len(r.lines)-keptLines):]
			r.mu.Unlock()
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// strayStdout is what came after the handshake line.
func (r *runner) strayStdout() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.stray)
}

func (r *runner) lastWords() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

func (r *runner) signalGroup(s syscall.Signal) {
	if r.cmd != nil && r.cmd.Process != nil {
		_ = syscall.Kill(-r.cmd.Process.Pid, s)
	}
}

// hasExited tells without waiting.
func (r *runner) hasExited() bool {
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

func (r *runner) Wait(ctx context.Context) error {
	select {
	case <-r.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *runner) Kill(ctx context.Context) error {
	if r.cmd == nil || r.cmd.Process == nil {
		return nil
	}
	if !r.hasExited() {
		r.signalGroup(syscall.SIGKILL)
	}
	// Whoever reads no more must not hold up the pumps.
	_ = r.stdout.Close()
	return r.Wait(ctx)
}

func (r *runner) Stdout() io.ReadCloser { return r.stdout }
func (r *runner) Stderr() io.ReadCloser { return r.stderr }
func (r *runner) Name() string          { return r.path }

func (r *runner) ID() string {
	if r.cmd == nil || r.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(r.cmd.Process.Pid)
}

func (r *runner) Diagnose(context.Context) string {
	if words := r.lastWords(); words != "" {
		return "the plugin said: " + words
	}
	return "the plugin said nothing on stderr"
}

func (r *runner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (r *runner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
