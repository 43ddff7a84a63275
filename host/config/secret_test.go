package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CONFIG_TEST_SECRET", "from the environment\n")
	t.Setenv("CONFIG_TEST_EMPTY", "")
	file := func(name, text string) model.SecretRef {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return model.SecretRef{File: path}
	}
	open, group := file("open", "s3cret"), file("group", "s3cret")
	for path, mode := range map[string]os.FileMode{open.File: 0o604, group.File: 0o640} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, tt := range []struct {
		ref  model.SecretRef
		want string
		err  string
	}{
		{ref: file("plain", "s3cret"), want: "s3cret"},
		{ref: file("newline", "s3cret\n"), want: "s3cret"},
		{ref: file("dos", "s3cret\r\n"), want: "s3cret"},
		{ref: file("two", "s3cret\n\n"), want: "s3cret\n"},
		{ref: file("spaces", " s3cret \n"), want: " s3cret "},
		{ref: model.SecretRef{Env: "CONFIG_TEST_SECRET"}, want: "from the environment\n"},
		{ref: file("empty", "\n"), err: "the file " + filepath.Join(dir, "empty") + " holds no secret: it is empty"},
		{ref: model.SecretRef{Env: "CONFIG_TEST_EMPTY"}, err: "the environment variable CONFIG_TEST_EMPTY holds no secret: it is empty"},
		{ref: model.SecretRef{Env: "CONFIG_TEST_UNSET"}, err: "the environment variable CONFIG_TEST_UNSET is not set"},
		{ref: model.SecretRef{File: filepath.Join(dir, "none")}, err: "the file " + filepath.Join(dir, "none") + " cannot be read: no such file or directory"},
		{ref: open, err: "the file " + open.File + " is not secret: everybody may use it (mode 0604)"},
		{ref: model.SecretRef{File: group.File}, want: "s3cret"},
		{ref: model.SecretRef{Command: "printf 's3cret\n'"}, want: "s3cret"},
		{ref: model.SecretRef{Command: "echo s3cret; echo no such entry >&2; exit 3"},
			err: "the command echo s3cret; echo no such entry >&2; exit 3 ended with exit status 3: no such entry"},
		{ref: model.SecretRef{Command: "kill -9 $$"}, err: "the command kill -9 $$ failed"},
		{ref: model.SecretRef{Command: "true"}, err: "the command true holds no secret: it is empty"},
		{ref: model.SecretRef{Command: "yes | head -c 2000000"}, err: "the command yes | head -c 2000000 prints more than 1048576 bytes, which no secret needs"},
		{ref: model.SecretRef{Credential: "plain"}, want: "s3cret"},
		{ref: model.SecretRef{Credential: "none"}, err: "the credential none cannot be read: no such file or directory"},
		{ref: model.SecretRef{File: dir}, err: "the file " + dir + " cannot be read: is a directory"},
	} {
		got, err := ReadSecret(t.Context(), tt.ref)
		if string(got) != tt.want || tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
			t.Errorf("%s: %q, %v; want %q, %s", tt.ref, got, err, tt.want, tt.err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err := ReadSecret(t.Context(), model.SecretRef{Credential: "plain"})
	if p := sdk.ProblemOf(err); p == nil || !strings.Contains(p.Hint, "LoadCredential=plain:") {
		t.Errorf("outside of systemd: %v", err)
	}
}

func TestSlowCommand(t *testing.T) {
	_, err := fromCommand(t.Context(), model.SecretRef{Command: "sleep 100"}, 10*time.Millisecond)
	if err == nil || err.Error() != "the command sleep 100 took longer than 10ms and was stopped" {
		t.Errorf("%v", err)
	}
}

func TestReferences(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]model.SecretRef{
		"@key":              {File: filepath.Join(wd, "key")},
		"@/run/keys/a":      {File: "/run/keys/a"},
		"=env:A":            {Env: "A"},
		"env:A":             {Env: "A"},
		"=command:pass a:b": {Command: "pass a:b"},
		"=credential:hmac":  {Credential: "hmac"},
		"=credential:../a":  {},
		"=credential:":      {},
		"=file:/run/keys/a": {},
		"=vault:a":          {},
		"@":                 {},
		"hunter2":           {},
		"hunter2:x":         {},
		"command":           {},
	} {
		ref, err := SecretFlag(text)
		if ref != want || (err != nil) != (want == model.SecretRef{}) {
			t.Errorf("%s: %+v, %v", text, ref, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows what may be a secret: %v", err)
		}
	}
}
