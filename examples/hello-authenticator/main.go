// The smallest plugin: it writes http-01 tokens into a directory.
package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/sdk"
)

type hello struct {
	Dir string `setting:"dir,required" doc:"directory that is served as /.well-known/acme-challenge"`
}

func (h *hello) PerformOne(_ context.Context, c sdk.Challenge) ([]byte, error) {
	return nil, os.WriteFile(filepath.Join(h.Dir, c.Token), c.HTTP.Body, 0o644)
}

func (h *hello) CleanupOne(_ context.Context, c sdk.Challenge) error {
	if err := os.Remove(filepath.Join(h.Dir, c.Token)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // already gone is success
}

func main() {
	h := &hello{}
	sdk.Serve(sdk.Plugin{
		Name: "hello", Version: "0.1.0", Summary: "writes http-01 tokens into a directory",
		Settings: h, Authenticator: sdk.OneByOne(h), ChallengeTypes: []string{sdk.HTTP01},
		Permissions: sdk.Permissions{Write: []sdk.Value{sdk.FromSetting("dir")}},
	})
}
