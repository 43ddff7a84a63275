package pluginhost

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkStart is from nothing to a plugin that was described, started and
// configured. `make bench` names a released plugin by the environment.
func BenchmarkStart(b *testing.B) {
	dir, plugin := os.Getenv("PLUGINHOST_BENCH_DIR"), cmp.Or(os.Getenv("PLUGINHOST_BENCH_PLUGIN"), "misbehave")
	if dir == "" {
		binary, err := misbehave()
		if err != nil {
			b.Fatal(err)
		}
		dir = b.TempDir()
		if err := os.Symlink(binary, filepath.Join(dir, binaryPrefix+plugin)); err != nil {
			b.Fatal(err)
		}
	}
	state := b.TempDir()
	var writes []string
	if buildDir != "" { // misbehave records its processes
		writes = []string{buildDir}
	}
	for b.Loop() {
		h := New(Options{Dirs: []string{dir}, StateDir: state, HostVersion: "bench"})
		h.describeWrites = writes
		_, err := h.Start(b.Context(), Spec{Name: "bench", Plugin: plugin})
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
