package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk/checkpoint"
)

const bundlePath = "/etc/icecast2/icecast.pem"

// corpus is every configuration in testdata.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(paths) < 10 {
		t.Fatalf("the corpus is not there: %q %v", paths, err)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(path)] = data
	}
	return out
}

// Each configuration of the corpus gets exactly the change that is in the file
// beside it: nothing else moves, and once more is no change.
func TestEditsTheCorpus(t *testing.T) {
	t.Parallel()
	for name, data := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			d, err := read(data)
			must(t, err)
			port := 8443
			if strings.Contains(name, "-mark") {
				port = 0
			}
			edited, err := d.withTLS(bundlePath, port)
			golden := filepath.Join("testdata", strings.TrimSuffix(name, ".xml")+".diff")
			var got string
			if err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				got = checkpoint.Diff(name, data, edited)
			}
			if os.Getenv("UPDATE_GOLDEN") != "" {
				must(t, os.WriteFile(golden, []byte(got), 0o600))
			}
			equal(t, content(t, golden), got)
			if err == nil {
				again(t, edited, port)
			}
		})
	}
}

// again reads what was edited: it has all that was wanted, and stays as it is.
func again(t *testing.T, edited []byte, port int) {
	t.Helper()
	d, err := read(edited)
	if err != nil {
		t.Fatalf("what was edited cannot be read: %v\n%s", err, edited)
	}
	c := d.certificate()
	value, err := d.inside(bundlePath)
	if err != nil || c == nil || c.text != value {
		t.Fatalf("the bundle is not named (%v)\n%s", err, edited)
	}
	twice, err := d.withTLS(bundlePath, port)
	if err != nil || !bytes.Equal(twice, edited) {
		t.Fatalf("the second edit changes something: %v\n%s", err, checkpoint.Diff("x", edited, twice))
	}
}

func FuzzEdit(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data, 8443)
	}
	f.Add([]byte("<icecast><paths/><listen-socket/></icecast>"), 0)
	f.Add([]byte("<icecast><paths a='>'/><listen-socket><ssl/><port>1</port></listen-socket></icecast>"), 1)
	f.Fuzz(func(t *testing.T, data []byte, port int) {
		d, err := read(data)
		if err != nil || port < 0 || port > 65535 {
			return
		}
		_ = d.endpoints()
		edited, err := d.withTLS(bundlePath, port)
		if err != nil {
			return
		}
		again(t, edited, port)
	})
}
