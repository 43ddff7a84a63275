// Command bench measures what users wait for: the installed certwright with its
// plugins as separate processes, against a test CA with real validation on this
// machine. Beside each figure stands the floor: the same signed requests, sent
// by a bare loop in this process to the same CA. It is run by `make bench` and
// not installed; docs/performance.md says how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	runIfMeter()
	prefix := flag.String("prefix", "", "directory that certwright is installed to")
	pluginhost := flag.String("pluginhost", "", "test binary of host/internal/pluginhost, for (f)")
	jsonFile := flag.String("json", "", "file that the figures are written to as JSON, beside the table")
	only := flag.String("only", "", "letters of the parts to run, for instance ae; empty: all")
	runs := flag.Int("runs", 9, "how often each short part is run; the median counts")
	dir := flag.String("dir", "", "directory that the state is put under; empty: the one for temporary files")
	keep := flag.Bool("keep", false, "do not remove the state directories, and print where they are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, options{prefix: *prefix, pluginhost: *pluginhost, under: *dir, json: *jsonFile, only: *only, runs: max(*runs, 1), keep: *keep})
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	prefix, pluginhost, under, json, only string
	runs                                  int
	keep                                  bool
}

// part is one figure of issue 3 point 10.
type part struct {
	letter string
	limit  time.Duration
	run    func(context.Context, *stage) (figure, error)
}

var parts = []part{
	{"a", 2 * time.Minute, one},
	{"b", 10 * time.Minute, many},
	{"c", 3 * time.Minute, wide},
	{"d", 5 * time.Minute, idle},
	{"e", 3 * time.Minute, distant},
	{"f", 2 * time.Minute, launch},
}

func bench(ctx context.Context, o options) (err error) {
	chosen := slices.Clone(parts)
	if o.only != "" {
		chosen = slices.DeleteFunc(chosen, func(p part) bool { return !strings.Contains(o.only, p.letter) })
	}
	dir, err := os.MkdirTemp(o.under, "certwright-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "state is kept in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	scatter(dir)
	machine, err := describeMachine(dir)
	if err != nil {
		return err
	}
	r := report{Machine: machine}
	for _, p := range chosen {
		fmt.Fprintf(os.Stderr, "measuring (%s)\n", p.letter)
		f, err := runPart(ctx, p, o, dir)
		if err != nil {
			return fmt.Errorf("part (%s): %w", p.letter, err)
		}
		f.Part = p.letter
		f.sum()
		r.Figures = append(r.Figures, f)
	}
	r.print(os.Stdout)
	if o.json == "" {
		return nil
	}
	return r.write(o.json)
}

// runPart gives a part a stage of its own, so that none finds the CA as another
// has left it.
func runPart(ctx context.Context, p part, o options, dir string) (f figure, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.limit, fmt.Errorf("it did not end within %s", p.limit))
	defer cancel()
	s, err := newStage(ctx, dir, p.letter, o)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	f, err = p.run(ctx, s)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return f, err
}
