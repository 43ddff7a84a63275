package plugintest

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLeak(t *testing.T) {
	secret := Secret("token")
	raw, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(raw) != 48 || secret == Secret("other") || secret != Secret("token") {
		t.Fatalf("the secret %q has %d bytes: %v", secret, len(raw), err)
	}
	if url, err := base64.RawURLEncoding.DecodeString(secret); err != nil || string(url) != string(raw) {
		t.Fatalf("%q for URLs: %v", secret, err)
	}
	for name, text := range map[string]string{
		"as it is": "token=" + secret + ";", "hexadecimal": hex.EncodeToString([]byte(secret)),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64, 1 before": base64.StdEncoding.EncodeToString([]byte("a" + secret)),
		"base64, 2 before": base64.URLEncoding.EncodeToString([]byte("ab" + secret)), "base64, 3 before": base64.StdEncoding.EncodeToString([]byte("abc" + secret)),
		"decoded": string(raw), "decoded, hexadecimal": hex.EncodeToString(raw), "a key": "-----BEGIN EC PRIVATE KEY-----",
	} {
		if Leak([]byte(text)) == "" {
			t.Errorf("%s: not seen in %q", name, text)
		}
	}
	if leak := Leak([]byte("-----BEGIN CERTIFICATE----- " + strings.ToLower(Mark))); leak != "" {
		t.Errorf("%s where nothing is", leak)
	}
}

func TestLeakingFiles(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"a/leaks": "x" + Secret("a"), "a/b/allowed": Secret("b"), "c": "nothing", "d/core": "anything", "d/core.12": "x", "d/core.go": "x"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := LeakingFiles(root, func(path string) bool { return path == "a/b/allowed" })
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(found)), []string{"a/leaks", "d/core", "d/core.12"}) {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := LeakingFiles(filepath.Join(root, "none"), nil); err == nil {
		t.Errorf("nothing to look through: %v", found)
	}
}
