package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/viper"
)

// FuzzDecode reads a file as Load does. Nothing may panic, every error has a
// place in the file, and what the decoder takes viper takes too.
func FuzzDecode(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, seed := range seeds {
		data, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg := &Config{Server: "https://ca.example/dir", KeyType: "p256"}
		if err := decode("x.yaml", data, cfg); err != nil {
			placed(t, err, strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+2)
			return
		}
		v := viper.New()
		v.SetConfigType("yaml")
		if err := v.MergeConfig(bytes.NewReader(data)); err != nil {
			placed(t, syntaxError("x.yaml", nil, err), len(data)+2)
		}
		if err := cfg.check(); err != nil {
			placed(t, err, len(data)+2)
			return
		}
		requests, err := cfg.Requests()
		if err != nil {
			t.Fatalf("what was checked makes no request: %v", err)
		}
		for _, r := range requests {
			if len(r.Identifiers) == 0 || !validName(r.Name) {
				t.Fatalf("request without a name: %+v", r)
			}
			for _, id := range r.Identifiers {
				if again, err := ParseIdentifier(id.String()); err != nil || again != id {
					t.Fatalf("%+v is read again as %+v, %v", id, again, err)
				}
			}
		}
	})
}

// placed wants a place in each of several errors.
func placed(t *testing.T, err error, lines int) {
	t.Helper()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			placed(t, e, lines)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.Pos.File != "x.yaml" || e.Pos.Line < 1 || e.Pos.Col < 1 || e.Pos.Line > lines {
		t.Fatalf("an error without a place in the file: %v", err)
	}
	if e.Msg == "" || !e.Usage() {
		t.Fatalf("an error that says nothing: %#v", e)
	}
}
