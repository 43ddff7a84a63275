package lockfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

const body = "the binary"

// locked makes a lock that names the plugin web with this binary.
func locked(t *testing.T, dir string, p sdk.Permissions) *Lock {
	t.Helper()
	l := read(t, dir, "")
	sum, err := Sum(strings.NewReader(body))
	must(t, err)
	l.Set("web", Platform, sum, Plugin{Version: "1.0.0", Origin: "/usr/libexec/web", Permissions: p})
	must(t, l.Write())
	return read(t, dir, "")
}

func read(t *testing.T, dir, fragments string) *Lock {
	t.Helper()
	l, err := Read(dir, fragments)
	must(t, err)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mention wants an error, and each text in it or in its hint.
func mention(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("there is no error; want %q", texts)
	}
	all := err.Error() + "\n" + sdk.ProblemOf(err).Hint
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("%q is not in %q", text, all)
		}
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	l := locked(t, dir, sdk.Permissions{})
	must(t, l.Verify("web", strings.NewReader(body)))
	mention(t, l.Verify("web", strings.NewReader(body+"!")),
		"another binary", "\n  - sha256 ", "\n  + sha256 ", "1.0.0", filepath.Join(dir, FileName), "plugins lock web")
	mention(t, l.Verify("other", strings.NewReader(body)), "does not name it", "plugins lock other")
	mention(t, l.Permit(sdk.Description{Name: "other"}), "does not name it")

	// Without a lock there is nothing to hold a plugin against.
	none := read(t, t.TempDir(), "")
	must(t, none.Verify("web", strings.NewReader("anything")))
	must(t, none.Permit(sdk.Description{Name: "web"}))
}

func TestPermit(t *testing.T) {
	granted := sdk.Permissions{
		Read: []sdk.Value{sdk.FromSetting("path")}, Children: true,
		BindTCP: []sdk.Value{sdk.Literal("80")}, Environment: []string{"HOME"},
	}
	l := locked(t, t.TempDir(), granted)
	for name, test := range map[string]struct {
		change func(*sdk.Permissions)
		want   string
	}{
		"the same":        {func(*sdk.Permissions) {}, ""},
		"less":            {func(p *sdk.Permissions) { p.Children, p.Read = false, nil }, ""},
		"another port":    {func(p *sdk.Permissions) { p.BindTCP = []sdk.Value{sdk.Literal("443")} }, "+ may listen on TCP port 443"},
		"another setting": {func(p *sdk.Permissions) { p.Read = []sdk.Value{sdk.FromSetting("key")} }, "+ may read what the setting key says"},
		"a variable":      {func(p *sdk.Permissions) { p.Environment = []string{"HOME", "TOKEN"} }, "+ may see the environment variable TOKEN"},
		"signals":         {func(p *sdk.Permissions) { p.Signals = true }, "+ may signal other processes"},
		"keys":            {func(p *sdk.Permissions) { p.Key = sdk.KeyBytes }, "+ may see private keys"},
		"everything":      {func(p *sdk.Permissions) { p.Unconfined, p.Reason = true, "scripts" }, "+ may do everything"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := granted
			test.change(&asked)
			err := l.Permit(sdk.Description{Name: "web", Permissions: asked})
			if test.want == "" {
				must(t, err)
				return
			}
			mention(t, err, "asks for more", test.want, "plugins lock web")
			if strings.Contains(err.Error(), "HOME") {
				t.Errorf("what was granted is in %q", err)
			}
		})
	}
	all := locked(t, t.TempDir(), sdk.Permissions{Unconfined: true, Reason: "scripts"})
	must(t, all.Permit(sdk.Description{Name: "web", Permissions: sdk.Permissions{Unconfined: true, Reason: "other words", Signals: true}}))
}

// Hashes of other platforms belong to the version that they were locked with.
func TestSetKeepsOtherPlatforms(t *testing.T) {
	dir := t.TempDir()
	l := locked(t, dir, sdk.Permissions{})
	l.Set("web", "plan9/mips", "aa", Plugin{Version: "1.0.0"})
	must(t, l.Write())
	must(t, read(t, dir, "").Verify("web", strings.NewReader(body)))
	l.Set("web", "plan9/mips", "bb", Plugin{Version: "1.1.0"})
	must(t, l.Write())
	mention(t, read(t, dir, "").Verify("web", strings.NewReader(body)), "for other platforms", Platform)
}

func TestFragments(t *testing.T) {
	dir, fragments := t.TempDir(), t.TempDir()
	locked(t, fragments, sdk.Permissions{})
	must(t, os.Rename(filepath.Join(fragments, FileName), filepath.Join(fragments, "web.lock")))
	l := read(t, dir, fragments)
	must(t, l.Verify("web", strings.NewReader(body)))
	mention(t, l.Verify("web", strings.NewReader("x")), "web.lock")
	must(t, l.Verify("other", strings.NewReader("x"))) // no fragment names it, and there is no lock

	// What the user locks counts before the fragment, and is all that he writes.
	l.Set("web", Platform, "00", Plugin{Version: "2"})
	must(t, l.Write())
	l = read(t, dir, fragments)
	mention(t, l.Verify("web", strings.NewReader(body)), FileName)
	mention(t, l.Verify("other", strings.NewReader("x")), "does not name it")
	if v := l.Version("web"); v != "2" {
		t.Errorf("version %q", v)
	}
}

func TestDamaged(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "line 1",
		"{\"v\":1,\n\"plugins\": [}": "line 2",
		"{\"v\":1,\"plugins\":{\"web\":{\"version\":3}}}": "line 1",
		`{"plugins":{}}`:                 "no format number",
		`{"v":1,"plugins":{"web":{}}}`:   "web has no sha256",
		`{"v":1,"plugins":{"web":null}}`: "web has no sha256",
		`{"v":2,"plugins":{}}`:           "of a newer version",
		`{"v":1,"x":1,"plugins":{"web":{"sha256":{"a/b":"c"},"y":2}}}`: "",
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600))
		_, err := Read(dir, "")
		if want == "" {
			must(t, err)
			continue
		}
		mention(t, err, want, filepath.Join(dir, FileName))
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"v":1,"plugins":{"web":{"version":"1","sha256":{"linux/amd64":"00"},"permissions":{"read":[{"setting":"path"}]}}}}`))
	f.Add([]byte(`{"v":1,"plugins":{"web":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, FileName), data, 0o600))
		l, err := Read(dir, "")
		if err != nil {
			return
		}
		for _, name := range l.Names() {
			_ = l.Verify(name, strings.NewReader(body))
			_ = l.Permit(sdk.Description{Name: name, Permissions: sdk.Permissions{Signals: true}})
		}
		// What can be read can be written, and read again.
		must(t, l.Write())
		read(t, dir, "")
	})
}

// A lock of the user decides about every plugin, a fragment about those that it
// names.
func TestCovers(t *testing.T) {
	config, fragments := t.TempDir(), t.TempDir()
	again := func() *Lock {
		l, err := Read(config, fragments)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	const text = `{"v":1,"plugins":{"x":{"version":"1","sha256":{"linux/amd64":"aa"},"permissions":{}}}}`
	if l := again(); l.Covers("x") || len(l.Files()) != 0 {
		t.Errorf("without a file: %v", l.Files())
	}
	fragment := filepath.Join(fragments, "a.lock")
	if err := os.WriteFile(fragment, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := again(); !l.Covers("x") || l.Covers("y") || !slices.Equal(l.Files(), []string{fragment}) {
		t.Errorf("with a fragment: %v %v %v", l.Covers("x"), l.Covers("y"), l.Files())
	}
	own := filepath.Join(config, FileName)
	if err := os.WriteFile(own, []byte(`{"v":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := again(); !l.Covers("x") || !l.Covers("y") || !slices.Contains(l.Files(), own) {
		t.Errorf("with a lock: %v %v %v", l.Covers("x"), l.Covers("y"), l.Files())
	}
}
