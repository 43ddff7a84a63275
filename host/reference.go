package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

// PluginPages writes the reference page of each plugin into a directory, as
// NAME.md, and README.md that lists them. Each page leads to the README of the
// plugin's source in ../../plugins/NAME.
func PluginPages(ctx context.Context, b Base, dir string, names []string) error {
	plugins, err := b.plugins(&report.Secrets{})
	if err != nil {
		return err
	}
	defer func() { _ = plugins.Close(context.WithoutCancel(ctx)) }() // nothing was started
	var all []sdk.Description
	for _, name := range slices.Sorted(slices.Values(names)) {
		d, err := plugins.Describe(ctx, name)
		if err != nil {
			return UsageError(err)
		}
		all = append(all, d)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pages are for everybody
		return fmt.Errorf("make the directory of the pages: %w", err)
	}
	for _, d := range all {
		more := fmt.Sprintf("[what it does, and what it leaves alone](../../plugins/%s/README.md).", d.Name)
		if err := writePage(dir, d.Name, report.Reference(d, more)); err != nil {
			return err
		}
	}
	return writePage(dir, "README", report.ReferenceIndex(all))
}

func writePage(dir, name, text string) error {
	path := filepath.Join(dir, name+".md")
	if err := renameio.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the page %s: %w", path, err)
	}
	return nil
}
