package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is what a part has measured: medians over its runs. Times are in
// seconds, what does not apply is left out.
type figure struct {
	Part string `json:"part"`
	What string `json:"what"`
	Runs int    `json:"runs"`
	// PerRun is how many certificates one run obtains, if rates are given.
	PerRun int `json:"certificates,omitempty"`

	Wall    float64 `json:"wall"`
	Floor   float64 `json:"floor"`
	Ratio   float64 `json:"ratio"` // Wall / Floor
	Host    float64 `json:"cpu_host,omitempty"`
	Plugins float64 `json:"cpu_plugins,omitempty"`
	PeakMB  float64 `json:"peak_mb,omitempty"` // the largest of all runs
	// Requests of the run that made the most; FloorRequests of the floor's.
	Requests      int64   `json:"requests,omitempty"`
	FloorRequests int64   `json:"floor_requests,omitempty"`
	Rate          float64 `json:"rate,omitempty"` // certificates per second
	FloorRate     float64 `json:"floor_rate,omitempty"`
	// Quiet says that it was seen to make no request and to start no process.
	Quiet bool `json:"quiet,omitempty"`

	Limits limits `json:"limits,omitzero"`
	// Missed says which limits were not met.
	Missed []string `json:"missed,omitempty"`

	costs  []cost
	floors []floor
}

// limits are the targets of issue 3; zero: none.
type limits struct {
	Wall     float64 `json:"wall,omitempty"`
	PeakMB   float64 `json:"peak_mb,omitempty"`
	Requests int64   `json:"requests,omitempty"`
	// OfFloor is the least share of the floor's rate.
	OfFloor float64 `json:"of_floor,omitempty"`
}

// floor is one run of the bare loop.
type floor struct {
	wall     float64
	requests int64
}

func (f *figure) took(c cost) { f.costs = append(f.costs, c) }

// sum makes the figures of what was collected.
func (f *figure) sum() {
	f.Runs = len(f.costs)
	f.Wall = median(f.costs, func(c cost) float64 { return c.Wall })
	f.Host = median(f.costs, func(c cost) float64 { return c.Own })
	f.Plugins = median(f.costs, cost.plugins)
	for _, c := range f.costs {
		f.PeakMB = max(f.PeakMB, float64(c.Peak)/(1<<20))
		f.Requests = max(f.Requests, c.requests)
	}
	f.Floor = median(f.floors, func(o floor) float64 { return o.wall })
	for _, o := range f.floors {
		f.FloorRequests = max(f.FloorRequests, o.requests)
	}
	f.Ratio = f.Wall / f.Floor
	if f.PerRun > 0 {
		f.Rate, f.FloorRate = float64(f.PerRun)/f.Wall, float64(f.PerRun)/f.Floor
	}
	miss := func(missed bool, format string, args ...any) {
		if missed {
			f.Missed = append(f.Missed, fmt.Sprintf(format, args...))
		}
	}
	l := f.Limits
	miss(l.Wall > 0 && f.Wall > l.Wall, "wall above %.2f s", l.Wall)
	miss(l.PeakMB > 0 && f.PeakMB > l.PeakMB, "peak above %.0f MB", l.PeakMB)
	miss(l.Requests > 0 && f.Requests > l.Requests, "more than %d requests", l.Requests)
	miss(l.OfFloor > 0 && f.Rate < l.OfFloor*f.FloorRate, "below %.0f%% of the floor's rate", 100*l.OfFloor)
}

func median[T any](all []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range all {
		values = append(values, of(v))
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// machine is where the figures are from.
type machine struct {
	CPU  string `json:"cpu"`
	CPUs int    `json:"cpus"`
	OS   string `json:"os"`
	Go   string `json:"go"`
	// Sync is how long it takes to make one small file durable where the state
	// is kept.
	Sync float64 `json:"fsync"`
}

func describeMachine(dir string) (machine, error) {
	m := machine{CPU: "unknown", CPUs: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
			}
		}
	}
	var took []float64
	for i := range 21 {
		began := time.Now()
		if err := syncFile(filepath.Join(dir, fmt.Sprintf("sync-%d", i))); err != nil {
			return m, fmt.Errorf("measure the disk: %w", err)
		}
		took = append(took, time.Since(began).Seconds())
	}
	m.Sync = median(took, func(v float64) float64 { return v })
	return m, nil
}

func syncFile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1024)); err != nil {
		return err
	}
	return f.Sync()
}

// report is everything that is printed.
type report struct {
	Machine machine  `json:"machine"`
	Figures []figure `json:"figures"`
}

func (r *report) print(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d processors, %s, %s; one fsync takes %.2f ms\n\n", m.CPU, m.CPUs, m.OS, m.Go, 1000*m.Sync)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "part\twall\tfloor\tratio\tcpu host\tcpu plugins\tpeak\trequests\tfloor's\truns\t  target\t")
	for _, f := range r.Figures {
		peak, requests, floors := "-", "-", "-"
		if f.PeakMB > 0 {
			peak = fmt.Sprintf("%.1f MB", f.PeakMB)
		}
		if f.FloorRequests > 0 || f.Quiet {
			requests = fmt.Sprint(f.Requests)
		}
		if f.FloorRequests > 0 {
			floors = fmt.Sprint(f.FloorRequests)
		}
		fmt.Fprintf(t, "(%s)\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t%s\t%d\t  %s\t\n", f.Part, milli(f.Wall), milli(f.Floor), f.Ratio,
			milli(f.Host), milli(f.Plugins), peak, requests, floors, f.Runs, f.verdict())
	}
	_ = t.Flush() // to standard output
	fmt.Fprintln(w)
	for _, f := range r.Figures {
		fmt.Fprintf(w, "(%s) %s", f.Part, f.What)
		if f.PerRun > 0 {
			fmt.Fprintf(w, ": %.0f/s, the floor %.0f/s, that is %.0f%%", f.Rate, f.FloorRate, 100*f.Rate/f.FloorRate)
		}
		if f.Quiet {
			fmt.Fprint(w, ": no connection, no request and no process was seen")
		}
		fmt.Fprintln(w)
	}
}

func (f *figure) verdict() string {
	switch {
	case f.Limits == limits{}:
		return "-"
	case len(f.Missed) == 0:
		return "met"
	}
	return "MISSED: " + strings.Join(f.Missed, ", ")
}

func milli(s float64) string {
	if s == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", 1000*s)
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
