package structure

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// A unit is a folder with what is below it, or a single package; inside a unit
// imports are free. The first row that matches a package holds for it.
type row struct {
	unit   string   // a path.Match pattern of the first elements of the path; "=" in front: that package alone
	allow  []string // what non-test code may import of ours
	tests  []string // what tests may import besides; "*" is everything
	reason string
}

const (
	disk   = "host/internal/disk"
	redact = "host/internal/redact"
	model  = "host/internal/model"
	testca = "host/testca"
)

// table is the import table of DESIGN.md section 2.
var table = []row{
	{unit: "plugins/*", allow: []string{"sdk", "sdk/checkpoint", "sdk/httpapi", "sdk/responder", "sdk/script", "sdk/service"}, tests: []string{testca, "sdk/plugintest"},
		reason: "a plugin needs nothing but sdk, so that anybody can write one outside this tree"},
	{unit: "examples/*", allow: []string{"sdk", "sdk/checkpoint", "sdk/httpapi", "sdk/responder", "sdk/script", "sdk/service"}, tests: []string{testca, "sdk/plugintest"},
		reason: "an example shows what an author outside this tree can do"},
	{unit: "sdk", reason: "the SDK is what authors inherit; it knows nothing of the host"},

	{unit: "=host", allow: []string{"sdk", "host/config", model, "host/internal/run", "host/internal/plan",
		"host/internal/pluginhost", "host/internal/sandbox", "host/internal/store", "host/internal/journal",
		"host/internal/report", "host/internal/lockfile", "host/internal/doctor", "host/internal/scaffold"}, tests: []string{"*"},
		reason: "a verb calls run, or shows what one stage knows; order, deploy and acmeclient act, and only run calls them"},
	{unit: "host/internal/run", allow: []string{"sdk", "host/config", "host/internal/*"}, tests: []string{"*"},
		reason: "the one place that sees all stages"},
	{unit: model, allow: []string{"sdk"}, reason: "data only"},
	{unit: testca, reason: "a test CA that shared code with what it tests would share its mistakes"},
	{unit: "host/internal/structure", reason: "it reads the repository, not the program"},
	{unit: "host/config", allow: []string{"sdk", "sdk/script", model}, tests: []string{"*"},
		reason: "configuration is the first stage; it calls none that comes after"},
	{unit: "host/internal/pluginhost", allow: []string{"sdk", "sdk/client", model, redact, "host/internal/sandbox"}, tests: []string{"*"},
		reason: "it turns a binary into typed roles, started by the launcher, and sees no stage"},
	{unit: "host/internal/store", allow: []string{"sdk", model, disk}, tests: []string{"*"},
		reason: "it sees no stage; what it shares with the journal is in disk"},
	{unit: "host/internal/journal", allow: []string{"sdk", model, disk}, tests: []string{"*"},
		reason: "it sees no stage; what it shares with the store is in disk"},
	{unit: "host/internal/scaffold", allow: []string{"sdk", "sdk/proto/certwright/plugin/v1"}, tests: []string{"*"},
		reason: "it writes source code, with the messages of the protocol, and sees no stage"},
	{unit: disk, allow: []string{"sdk"}, reason: "fsync, flock and what their errors mean"},
	{unit: redact, reason: "it takes secrets out of text, and needs nothing for that"},
	{unit: "host/internal/report", allow: []string{"sdk", model, redact}, tests: []string{"*"},
		reason: "it shows what the stages give it, without the secrets in it"},
	{unit: "host/internal/*", allow: []string{"sdk", model}, tests: []string{"*"},
		reason: "stages see model and declare the interfaces they need"},

	{unit: "cmd/certwright", allow: []string{"host", "host/config"}, tests: []string{"*"},
		reason: "a command is flags and printing; the work is behind one function of host per verb"},
	{unit: "cmd/plugincheck", allow: []string{"sdk", "sdk/plugintest"},
		reason: "it runs the conformance suite and knows nothing of the host"},
	{unit: "cmd/demo", allow: []string{testca},
		reason: "the demo drives the installed program as a person would"},
	{unit: "cmd/bench", allow: []string{testca},
		reason: "it measures the installed program from outside; a floor that shared code with the program would share its waste"},
}

// confined are the libraries that only some units may use outside tests.
var confined = []struct {
	library string
	units   []string
	reason  string
}{
	{"github.com/hashicorp/go-plugin", []string{"host/internal/pluginhost", "sdk"}, "its pitfalls are guarded against once"},
	{"golang.org/x/crypto/acme", []string{"host/internal/acmeclient"}, "requests, nonces and polling are acmeclient's"},
	{"github.com/go-jose/go-jose", []string{"host/internal/acmeclient"}, "signed requests are acmeclient's"},
	{"github.com/spf13/viper", []string{"host/config"}, "settings are resolved once"},
	{"github.com/spf13/cobra", []string{"cmd/certwright", "cmd/plugincheck", "cmd/demo"}, "host has no command line"},
	{"github.com/landlock-lsm/go-landlock", []string{"host/internal/sandbox"}, "what the kernel enforces is decided there"},
	{"github.com/letsencrypt/pebble", []string{testca}, "Pebble is for tests and never released"},
}

// authors are the libraries that the SDK may bring to everybody who writes a
// plugin; what is not here, and not of the standard library, it may not import.
var authors = map[string][]string{
	"sdk": {"github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog",
		"google.golang.org/grpc", "google.golang.org/protobuf"},
	"sdk/httpapi":    {"github.com/hashicorp/go-retryablehttp"},
	"sdk/plugintest": {"github.com/miekg/dns"},
	"sdk/checkpoint": {"golang.org/x/sys", "github.com/rogpeppe/go-internal/diff"},
}

// forbidden says what is wrong with the imports of a package, one line for each.
func forbidden(dir string, imports []string, test bool) []string {
	i := slices.IndexFunc(table, func(r row) bool { return unitOf(r.unit, dir) != "" })
	if i < 0 {
		return []string{dir + ": no row of the import table names it"}
	}
	rule := table[i]
	unit := unitOf(rule.unit, dir)
	alone := strings.HasPrefix(rule.unit, "=")
	var wrong []string
	for _, imported := range imports {
		ours, isOurs := strings.CutPrefix(imported+"/", module+"/")
		switch ours = strings.TrimSuffix(ours, "/"); {
		case isOurs && !alone && within(unit, ours), isOurs && matches(rule.allow, ours), isOurs && test && matches(rule.tests, ours):
			continue
		case isOurs:
			wrong = append(wrong, dir+" imports "+ours+": "+rule.reason)
		case !isOurs && !test:
			wrong = append(wrong, confinedTo(dir, imported)...)
		}
	}
	return wrong
}

// confinedTo says why a package may not use a library of others.
func confinedTo(dir, imported string) (wrong []string) {
	for _, c := range confined {
		if within(c.library, imported) && !slices.ContainsFunc(c.units, func(u string) bool { return within(u, dir) }) {
			wrong = append(wrong, dir+" imports "+imported+": "+c.reason)
		}
	}
	if first, _, _ := strings.Cut(imported, "/"); !within("sdk", dir) || !strings.Contains(first, ".") {
		return wrong
	}
	for unit, libraries := range authors {
		if within(unit, dir) && slices.ContainsFunc(libraries, func(l string) bool { return within(l, imported) }) {
			return wrong
		}
	}
	return append(wrong, dir+" imports "+imported+": every author of a plugin would inherit it")
}

// unitOf gives the part of dir that the pattern matches, or nothing.
func unitOf(pattern, dir string) string {
	if alone, ok := strings.CutPrefix(pattern, "="); ok {
		if dir == alone {
			return dir
		}
		return ""
	}
	elements := strings.Split(dir, "/")
	n := strings.Count(pattern, "/") + 1
	if len(elements) < n {
		return ""
	}
	prefix := strings.Join(elements[:n], "/")
	if ok, err := path.Match(pattern, prefix); err != nil || !ok {
		return ""
	}
	return prefix
}

func within(unit, dir string) bool { return dir == unit || strings.HasPrefix(dir, unit+"/") }

func matches(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, dir)
		return p == "*" || err == nil && ok
	})
}

func TestImports(t *testing.T) {
	systems := map[string][]string{}
	for _, goos := range []string{"linux", "darwin", "freebsd"} {
		for dir, p := range packages(t, goos) {
			tests := forbidden(dir, slices.Concat(p.TestImports, p.XTestImports), true)
			for _, wrong := range slices.Concat(forbidden(dir, p.Imports, false), tests) {
				systems[wrong] = append(systems[wrong], goos)
			}
		}
	}
	for _, wrong := range slices.Sorted(maps.Keys(systems)) {
		t.Errorf("%s %v", wrong, slices.Compact(systems[wrong]))
	}
}

func TestTheTableRefusesAndAllows(t *testing.T) {
	for _, c := range []struct {
		dir, imported string
		test, ok      bool
	}{
		{dir: "plugins/webroot", imported: module + "/sdk", ok: true},
		{dir: "plugins/nginx", imported: module + "/sdk/checkpoint", ok: true},
		{dir: "plugins/nginx", imported: module + "/sdk/script", ok: true},
		{dir: "plugins/nginx", imported: module + "/plugins/nginx/internal/parse", ok: true},
		{dir: "plugins/nginx", imported: module + "/plugins/webroot"},
		{dir: "plugins/nginx", imported: module + "/sdk/client"},
		{dir: "plugins/nginx", imported: module + "/host"},
		{dir: "plugins/nginx", imported: module + "/host/testca"},
		{dir: "plugins/nginx", imported: module + "/host/testca", test: true, ok: true},
		{dir: "plugins/nginx", imported: module + "/host/internal/store", test: true},
		{dir: "plugins/nginx", imported: "github.com/hashicorp/go-plugin"},
		{dir: "examples/hello", imported: module + "/host/config"},
		{dir: "sdk/client", imported: module + "/sdk/internal/wire", ok: true},
		{dir: "sdk", imported: module + "/host/internal/model"},
		{dir: "sdk", imported: "github.com/spf13/viper"},
		{dir: "sdk", imported: "golang.org/x/sys/unix"},
		{dir: "sdk/checkpoint", imported: "golang.org/x/sys/unix", ok: true},
		{dir: "sdk/plugintest", imported: "github.com/miekg/dns", ok: true},
		{dir: "sdk/client", imported: "github.com/miekg/dns"},
		{dir: "sdk/client", imported: "crypto/tls", ok: true},
		{dir: "host/internal/order", imported: module + "/host/internal/model", ok: true},
		{dir: "host/internal/order", imported: module + "/host/internal/store"},
		{dir: "host/internal/order", imported: module + "/host/internal/store", test: true, ok: true},
		{dir: "host/internal/order", imported: module + "/host/internal/disk"},
		{dir: "host/internal/store", imported: module + "/host/internal/disk", ok: true},
		{dir: "host/internal/store", imported: module + "/host/internal/journal"},
		{dir: "host/internal/disk", imported: module + "/host/internal/store"},
		{dir: "host/internal/order", imported: module + "/sdk", ok: true},
		{dir: "host/internal/order", imported: module + "/sdk/client"},
		{dir: "host/internal/pluginhost", imported: module + "/sdk/client", ok: true},
		{dir: "host/internal/run", imported: module + "/host/internal/store", ok: true},
		{dir: "host", imported: module + "/host/internal/run", ok: true},
		{dir: "host", imported: module + "/host/internal/order"},
		{dir: "host", imported: module + "/host/internal/acmeclient"},
		{dir: "host/internal/pluginhost", imported: module + "/host/internal/sandbox", ok: true},
		{dir: "host/internal/pluginhost", imported: module + "/host/internal/store"},
		{dir: "host/internal/sandbox", imported: module + "/host/internal/pluginhost"},
		{dir: "host/internal/order", imported: "golang.org/x/crypto/acme"},
		{dir: "host/internal/acmeclient", imported: "golang.org/x/crypto/acme", ok: true},
		{dir: "host/internal/order", imported: "golang.org/x/crypto/acme", test: true, ok: true},
		{dir: "host/internal/report", imported: "github.com/spf13/viper"},
		{dir: "host/internal/store", imported: "github.com/spf13/viperish", ok: true},
		{dir: "host/testca", imported: module + "/host/internal/model"},
		{dir: "cmd/certwright", imported: module + "/sdk/client"},
		{dir: "cmd/demo", imported: module + "/host"},
		{dir: "tools/stray", imported: "fmt"},
	} {
		wrong := forbidden(c.dir, []string{c.imported}, c.test)
		if (len(wrong) == 0) != c.ok {
			t.Errorf("%s imports %s (test %v): want allowed %v, got %q", c.dir, c.imported, c.test, c.ok, wrong)
		}
	}
}
