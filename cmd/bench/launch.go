package main

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
)

// launch is (f): from nothing to a plugin that was described, started and
// configured over its connection; and beside it the plugin's bare `describe`,
// which is what executing it costs. Only the host can start plugins as the host
// does, so this is a benchmark of its own package, which is run here.
func launch(ctx context.Context, s *stage) (figure, error) {
	f := figure{What: "plugin launch to first answer"}
	dir := filepath.Join(s.prefix, "libexec", "certwright", "plugins")
	took, err := s.starts(ctx, dir)
	if err != nil {
		return f, err
	}
	for _, wall := range took {
		f.took(cost{reading: reading{Wall: wall}})
		c, err := measure(ctx, filepath.Join(dir, "certwright-plugin-standalone"), "describe")
		if err != nil {
			return f, err
		}
		f.floors = append(f.floors, floor{wall: c.Wall})
	}
	return f, nil
}

// starts runs BenchmarkStart and gives what each start took, in seconds.
func (s *stage) starts(ctx context.Context, plugins string) ([]float64, error) {
	cmd := exec.CommandContext(ctx, s.pluginhost, "-test.run", "^$", "-test.bench", "^BenchmarkStart$",
		"-test.benchtime", "1x", "-test.count", strconv.Itoa(s.runs))
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PLUGINHOST_BENCH_DIR="+plugins, "PLUGINHOST_BENCH_PLUGIN=standalone")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(s.pluginhost), err, out)
	}
	var took []float64
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		// BenchmarkStart-2  1  41234567 ns/op
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "BenchmarkStart") || fields[3] != "ns/op" {
			continue
		}
		ns, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		took = append(took, ns/1e9)
	}
	if len(took) == 0 {
		return nil, errors.New("the benchmark printed no figure:\n" + string(out))
	}
	return took, nil
}
