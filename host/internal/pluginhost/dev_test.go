package pluginhost

import (
	"os"
	"testing"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// TestDevTrust: of the trust rule only what concerns the file itself is left.
func TestDevTrust(t *testing.T) {
	const x = "bin/certwright-plugin-x"
	for _, test := range []struct {
		name    string
		prepare func(*world)
		refused []string
	}{
		{"everyone may write the directory", func(w *world) { w.chmod("bin", 0o777) }, nil},
		{"a stranger's directory", func(w *world) { w.giveAway("bin"); w.rule = currentRule() }, nil},
		{"a link from a directory that everyone may write", func(w *world) {
			w.must(os.Rename(w.path(x), w.path("real")))
			w.link("../real", x)
			w.chmod("bin", 0o777)
		}, nil},
		{"everyone may write the binary", func(w *world) { w.chmod(x, 0o702) }, []string{"can be written by everyone", "chmod o-w"}},
		{"not executable", func(w *world) { w.chmod(x, 0o600) }, []string{"is not executable", "chmod +x"}},
		{"a directory", func(w *world) { w.must(os.Remove(w.path(x))); w.must(os.Mkdir(w.path(x), 0o755)) }, []string{"is not a regular file"}},
		{"a stranger's binary, as a user", func(w *world) { w.giveAway(x); w.rule.uid = stranger + 1 },
			[]string{"belongs neither to root nor to you"}},
		{"a stranger's binary, as root", func(w *world) { w.giveAway(x); w.rule = trustRule{} }, nil},
		{"nothing", func(w *world) { w.must(os.Remove(w.path(x))) }, []string{"there is no", "build it"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.prepare(w)
			h := New(Options{Dev: Dev{Binaries: map[string]string{"x": w.path(x)}}})
			h.rule = w.rule
			found := h.List()
			if len(found) != 1 || found[0].Name != "x" || found[0].Path != w.path(x) {
				t.Fatalf("found %+v", found)
			}
			if test.refused == nil {
				if found[0].Refused != nil {
					t.Error(found[0].Refused)
				}
				return
			}
			mention(t, found[0].Refused, test.refused...)
			_, err := h.Describe(t.Context(), "x")
			mention(t, err, test.refused...)
		})
	}
}

// TestAttachRefused: what a process that runs already cannot be given.
func TestAttachRefused(t *testing.T) {
	h := New(Options{Dev: Dev{Running: map[string]client.Reattach{"x": {Network: "unix", Address: "/nonexistent", PID: os.Getpid()}}}})
	d, at := sdk.Description{Name: "x"}, h.opts.Dev.Running["x"]
	_, err := h.attach(Spec{Name: "i", Plugin: "x", Sandbox: "required"}, d, at)
	mention(t, err, "process "+itoa(os.Getpid()), "take out `sandbox` and `user`")
	_, err = h.attach(Spec{Name: "i", Plugin: "x", User: "nobody"}, d, at)
	mention(t, err, "process "+itoa(os.Getpid()))
	// A failure leaves it free.
	for range 2 {
		_, err = h.attach(Spec{Name: "i", Plugin: "x"}, d, at)
		mention(t, err, "/nonexistent", "no such file")
	}
	if err := h.take("x"); err != nil {
		t.Error(err)
	}
	_, err = h.attach(Spec{Name: "j", Plugin: "x"}, d, at)
	mention(t, err, "one instance at a time")
}
