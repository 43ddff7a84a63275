package scaffold

import (
	"bytes"
	"encoding/json"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/certwright/certwright/sdk"
)

const root = "../../.."

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"hello": "", "my-dns2": "", "x": "",
		"":                        "cannot be the name of a plugin",
		"Hello":                   "cannot be the name of a plugin",
		"2dns":                    "cannot be the name of a plugin",
		"my_dns":                  "cannot be the name of a plugin",
		"my-":                     "cannot be the name of a plugin",
		"../x":                    "cannot be the name of a plugin",
		"certwright-plugin-hello": "begins with",
		"dns":                     "reserved",
		"main":                    "another file",
		"hook":                    "another file",
		strings.Repeat("a", 41):   "at most 40",
	} {
		switch err := CheckName(name); {
		case want == "" && err != nil:
			t.Errorf("%q: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, not %q", name, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for want, r := range map[string]Request{
		"no template for the language": {Language: "cobol", Roles: Roles},
		"no role is given":             {Language: "python"},
		`there is no role "server"`:    {Language: "python", Roles: []string{"hook", "server"}},
		"are for Go":                   {Language: "python", Roles: Roles, SDK: root},
		"is not published":             {Language: "go", Roles: Roles, Version: "1.2.3-dev"},
		"cannot be the path of a Go":   {Language: "go", Roles: Roles, Version: "1.2.3", Module: "a b"},
		"another module":               {Language: "go", Roles: Roles, SDK: root + "/examples/hello-authenticator"},
		"no such file":                 {Language: "go", Roles: Roles, SDK: t.TempDir()},
	} {
		r.Name, r.Dir = "x", filepath.Join(t.TempDir(), "new")
		if _, err := Write(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
		if _, err := os.Stat(r.Dir); err == nil {
			t.Errorf("%s: the folder was made", want)
		}
	}
}

// A folder that holds something is left as it is; one that is empty is used.
func TestNothingIsWrittenOver(t *testing.T) {
	dir := t.TempDir()
	r := Request{Name: "x", Language: "python", Roles: Roles, Dir: dir}
	made, err := Write(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Write(r)
	if err == nil || !strings.Contains(err.Error(), "is not empty") || sdk.ProblemOf(err).Hint == "" {
		t.Errorf("the second time: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "README.md")); err != nil || string(text) != "mine" {
		t.Errorf("README.md holds %q, %v", text, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(made.Files) {
		t.Errorf("%d entries, %v; written were %v", len(entries), err, made.Files)
	}
}

// With a version that is published nothing of this machine is in go.mod.
func TestPublishedSDK(t *testing.T) {
	dir := t.TempDir()
	made, err := Write(Request{Name: "x", Language: "go", Roles: Roles, Dir: dir, Version: "1.2.3", Module: "example.org/y"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.Contains(string(text), "require github.com/certwright/certwright v1.2.3\n") ||
		!strings.HasPrefix(string(text), "module example.org/y\n") || strings.Contains(string(text), "replace") {
		t.Errorf("%v\n%s", err, text)
	}
	if slices.Contains(made.Files, "go.sum") {
		t.Error("there is a go.sum, of what was not downloaded")
	}
}

// combinations are all sets of roles.
func combinations() [][]string {
	var out [][]string
	for set := 1; set < 1<<len(Roles); set++ {
		var roles []string
		for i, role := range Roles {
			if set&(1<<i) != 0 {
				roles = append(roles, role)
			}
		}
		out = append(out, roles)
	}
	return out
}

// Every set of roles is Go that compiles, tests included, and that gofmt and vet
// have nothing to say of.
func TestGoOfEverySetOfRoles(t *testing.T) {
	top := t.TempDir()
	for n, roles := range combinations() {
		dir := filepath.Join(top, "p"+strings.Join(roles, ""))
		made, err := Write(Request{Name: "my-thing", Language: "go", Roles: roles, Dir: dir, SDK: root, Version: "0.0.0"})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range made.Files {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if formatted, err := format.Source(text); strings.HasSuffix(name, ".go") && !bytes.Equal(text, formatted) {
				t.Errorf("%v: %s is not formatted (%v)", roles, name, err)
			}
			if bytes.Contains(text, []byte("{{.")) || bytes.Contains(text, []byte("<no value>")) {
				t.Errorf("%v: the template of %s was not filled:\n%s", roles, name, text)
			}
		}
		// All of them as one module.
		for _, file := range []string{"go.mod", "go.sum"} {
			if n == 0 {
				err = os.Rename(filepath.Join(dir, file), filepath.Join(top, file))
			} else {
				err = os.Remove(filepath.Join(dir, file))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "vet", "-mod=mod", "./...")
	cmd.Dir, cmd.Env = top, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Every set of roles is Python that says what it is.
func TestPythonOfEverySetOfRoles(t *testing.T) {
	for _, roles := range combinations() {
		dir := t.TempDir()
		made, err := Write(Request{Name: "my-thing", Language: "python", Roles: roles, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		var d sdk.Description
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "certwright-plugin-my-thing"), "describe").Output()
		if err == nil {
			err = json.Unmarshal(out, &d)
		}
		if err != nil || d.Name != "my-thing" || !slices.Equal(d.Roles, roles) || len(d.Settings) != len(roles) {
			t.Errorf("%v: %v %+v", roles, err, d)
		}
		lint := exec.CommandContext(t.Context(), "make", "lint")
		lint.Dir = dir
		if out, err := lint.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", roles, err, out)
		}
		for _, name := range made.Files {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || bytes.Contains(text, []byte("{{.")) || bytes.Contains(text, []byte("<no value>")) {
				t.Errorf("%v: the template of %s was not filled (%v)", roles, name, err)
			}
		}
	}
}

// Without the messages a Python plugin says what is missing, and where.
func TestPythonWithoutMessages(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(Request{Name: "my-thing", Language: "python", Roles: Roles, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "plugin.binpb")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "certwright-plugin-my-thing"), "serve", "--reattach").CombinedOutput()
	if want := "plugin.binpb is missing beside " + dir; err == nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "Traceback") {
		t.Errorf("%v, without %q:\n%s", err, want, out)
	}
}

// The README shows how each role is used, and the check with all its settings.
func TestReadmeShowsEveryRole(t *testing.T) {
	for _, roles := range combinations() {
		for _, language := range []string{"go", "python"} {
			dir := t.TempDir()
			if _, err := Write(Request{Name: "my-thing", Language: language, Roles: roles, Dir: dir, Version: "1.2.3"}); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			_, check, _ := strings.Cut(string(text), "    plugincheck ")
			check, _, _ = strings.Cut(check, "\n")
			for role, want := range map[string]struct{ use, set string }{
				sdk.RoleAuthenticator: {" -a my-thing ", "--set path={dir}"},
				sdk.RoleInstaller:     {" -i my-thing ", "--deployed '{dir}/a.plugincheck.test.pem'"},
				sdk.RoleHook:          {"", "--set log="},
			} {
				if slices.Contains(roles, role) != strings.Contains(check, want.set) {
					t.Errorf("%s %v: the check is %q", language, roles, check)
				}
				if slices.Contains(roles, role) && !strings.Contains(string(text), want.use) {
					t.Errorf("%s %v: README.md does not use it by %q", language, roles, want.use)
				}
			}
		}
	}
}

// The messages that a Python plugin is given are those of the protocol.
func TestDescriptorSet(t *testing.T) {
	ours, err := descriptorSet()
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile(filepath.Join(root, "sdk/proto/certwright/plugin/v1/plugin.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want descriptorpb.FileDescriptorSet
	for data, set := range map[*[]byte]*descriptorpb.FileDescriptorSet{&ours: &got, &committed: &want} {
		if err := proto.Unmarshal(*data, set); err != nil {
			t.Fatal(err)
		}
		for _, f := range set.File {
			f.SourceCodeInfo = nil
			f.ProtoReflect().SetUnknown(nil) // buf's own
		}
	}
	last := func(set *descriptorpb.FileDescriptorSet) proto.Message { return set.File[len(set.File)-1] }
	if !proto.Equal(last(&got), last(&want)) {
		t.Error("the messages differ from plugin.binpb")
	}
}
