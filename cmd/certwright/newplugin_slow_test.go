//go:build slow

package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A new plugin in every role at once, in each language: it passes its own test and
// lint, proves a name, deploys the certificate, is told of it, and takes the
// deployment back, in a sandbox that is required.
func TestNewPluginInEveryRole(t *testing.T) {
	for _, language := range []string{"go", "python"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			work := t.TempDir()
			env, _, _ := docsWorld(t, work)
			run := func(name string, args ...string) string {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, name, args...)
				cmd.Dir, cmd.Env = work, env
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s %v: %v\n%s", name, args, err, out)
				}
				return string(out)
			}
			certwright := filepath.Join(prefix, "bin/certwright")
			// The shims of the pages are for what pages say.
			env = append(env, "PATH="+filepath.Join(prefix, "bin")+":"+os.Getenv("PATH"))
			create := []string{"plugins", "new", "mine", "--role", "authenticator,installer,hook", "--lang", language, "--dir", "src"}
			if language == "go" {
				root, err := filepath.Abs("../..")
				if err != nil {
					t.Fatal(err)
				}
				create = append(create, "--sdk", root)
			}
			run(certwright, create...)
			run("make", "-C", "src", "test", "lint")
			if err := os.Mkdir(filepath.Join(work, "out"), 0o755); err != nil {
				t.Fatal(err)
			}
			run(certwright, "run", "-n", "--agree-tos", "-m", "a@b.example", "--plugin-dir", "src", "-a", "mine", "-i", "mine", "--hook", "mine",
				"--set", "mine.path="+filepath.Join(work, "web"), "--set", "mine.dir="+filepath.Join(work, "out"),
				"--set", "mine.log="+filepath.Join(work, "log"), "--set", "mine.sandbox=required", "-d", "shop.example.com")
			deployed := read(t, filepath.Join(work, "out/shop.example.com.pem"))
			if !bytes.Equal(deployed, read(t, filepath.Join(work, "state/live/shop.example.com/fullchain.pem"))) {
				t.Error("the certificate is not the one that was issued")
			}
			if block, _ := pem.Decode(deployed); block == nil || block.Type != "CERTIFICATE" {
				t.Errorf("deployed is %q", deployed)
			}
			key := filepath.Join(work, "out/shop.example.com.key")
			if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the key: %v, %v", info, err)
			}
			if log := string(read(t, filepath.Join(work, "log"))); !strings.HasPrefix(log, "shop.example.com until ") || strings.Count(log, "\n") != 1 {
				t.Errorf("the log holds %q", log)
			}
			if left, err := filepath.Glob(filepath.Join(work, "web/.well-known/acme-challenge/*")); err != nil || len(left) > 0 {
				t.Errorf("responses are left: %v, %v", left, err)
			}
			run(certwright, "rollback", "--plugin-dir", "src", "-n")
			if _, err := os.Stat(key); !os.IsNotExist(err) {
				t.Errorf("after the rollback the key is there (%v)", err)
			}
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
