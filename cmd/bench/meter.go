package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// meterMode is the hidden first argument that makes this program the meter of
// one command: a small process between us and it. The kernel counts the memory
// of the process that forks to the one that is forked (until exec), and we hold
// a CA in ours.
const meterMode = "__meter"

// reading is what a meter has read. Times are in seconds.
type reading struct {
	Exit int     `json:"exit"`
	Wall float64 `json:"wall"`
	// All is the processor time of the process and of every child that it has
	// waited for, Own that of the process alone; 0 where the system cannot say.
	All float64 `json:"all"`
	Own float64 `json:"own"`
	// Peak is the resident memory in bytes of the process, or of a child if one
	// had more.
	Peak int64 `json:"peak"`
	// Children says whether any process was started, left behind or not.
	Children bool   `json:"children"`
	Error    string `json:"error,omitempty"`
}

// cost is what one command took.
type cost struct {
	reading
	requests int64
}

// plugins is what children took. The two clocks are read one after the other and
// do not agree to the last microsecond.
func (c cost) plugins() float64 {
	if !c.Children {
		return 0
	}
	return max(0, c.All-c.Own)
}

// measure runs a command under a meter. The command is asked to end when the
// context does.
func measure(ctx context.Context, binary string, args ...string) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, fmt.Errorf("find this program: %w", err)
	}
	result, results, err := os.Pipe()
	if err != nil {
		return cost{}, fmt.Errorf("make a pipe: %w", err)
	}
	defer result.Close()
	defer results.Close()
	cmd := exec.CommandContext(ctx, self, append([]string{meterMode, binary}, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.ExtraFiles = []*os.File{results}
	// Nothing of the caller's reaches the program but what it needs to run.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}
	group(cmd)
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%w\n%s", err, said.Bytes())
	}
	_ = results.Close() // ours; the meter's is closed with it
	var c cost
	if err := json.NewDecoder(result).Decode(&c.reading); err != nil {
		return c, fmt.Errorf("read the meter: %w", err)
	}
	switch {
	case c.Error != "":
		return c, fmt.Errorf("%s", c.Error)
	case c.Exit != 0:
		return c, fmt.Errorf("exit status %d\n%s", c.Exit, said.Bytes())
	}
	return c, nil
}

// runIfMeter becomes the meter if the process was started as one, and does not
// return then.
func runIfMeter() {
	if len(os.Args) < 3 || os.Args[1] != meterMode {
		return
	}
	r, err := meter(os.Args[2], os.Args[2:])
	if err != nil {
		r.Error = err.Error()
	}
	if err := json.NewEncoder(os.NewFile(3, "results")).Encode(r); err != nil {
		fmt.Fprintf(os.Stderr, "meter: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}
