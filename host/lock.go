package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/certwright/certwright/host/internal/lockfile"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

// lock reads plugins.lock and the fragments of the distribution.
func (b Base) lock() (*lockfile.Lock, error) {
	dir := b.LockFragments
	if dir == "" {
		dir = lockfile.FragmentDir
	}
	l, err := lockfile.Read(b.Config.ConfigDir, dir)
	if err != nil {
		return nil, err
	}
	return l, b.noDevWithLock(l)
}

// PluginLock locks the plugins named, or all that are found, as they are now:
// the hash of each binary, and what it asks for is granted.
func PluginLock(ctx context.Context, b Base, names []string) error {
	if names := b.Dev.Names(); len(names) > 0 {
		return UsageError(fmt.Errorf("plugin %s is one in development (--dev-plugin or CERTWRIGHT_REATTACH), which cannot be locked", names[0]))
	}
	l, err := b.lock()
	if err != nil {
		return err
	}
	plugins := b.pluginHost(&report.Secrets{}, nil)
	defer func() { _ = plugins.Close(context.WithoutCancel(ctx)) }() // nothing was started
	found := plugins.List()
	if len(found) == 0 {
		return UsageError(sdk.Hint(fmt.Errorf("there is no plugin in %v", b.searchPath()), "name a directory with --plugin-dir"))
	}
	for _, name := range names {
		if !slices.ContainsFunc(found, func(f pluginhost.Found) bool { return f.Name == name }) {
			return UsageError(&pluginhost.NotFoundError{Plugin: name, Searched: b.searchPath()})
		}
	}
	var errs []error
	for _, f := range found {
		if len(names) > 0 && !slices.Contains(names, f.Name) {
			continue
		}
		if err := lockOne(ctx, plugins, l, f); err != nil {
			errs = append(errs, fmt.Errorf("lock the plugin %s: %w", f.Name, err))
		}
	}
	// All or nothing: a lock that lacks one is a run that fails at night.
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.MkdirAll(b.Config.ConfigDir, 0o755); err != nil { //nolint:gosec // the directory of the configuration, which is no secret
		return fmt.Errorf("make the configuration directory: %w", err)
	}
	if err := l.Write(); err != nil {
		return err
	}
	b.Terminal.Locked(l.Path(), l.Names())
	return nil
}

func lockOne(ctx context.Context, plugins *pluginhost.Host, l *lockfile.Lock, f pluginhost.Found) error {
	if f.Refused != nil {
		return f.Refused
	}
	d, err := plugins.Describe(ctx, f.Name)
	if err != nil {
		return err
	}
	b, err := plugins.Open(f.Name)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // it was only read
	sum, err := lockfile.Sum(b)
	if err != nil {
		return err
	}
	l.Set(f.Name, lockfile.Platform, sum, lockfile.Plugin{
		Version: d.Version, Origin: f.Path, Script: b.Script(), Permissions: d.Permissions,
	})
	return nil
}

// PluginVerify holds every plugin that is locked against the lock. What is not
// locked is refused when it is used, and no difference.
func PluginVerify(ctx context.Context, b Base) error {
	l, err := b.lock()
	if err != nil {
		return err
	}
	plugins := b.pluginHost(&report.Secrets{}, l)
	defer func() { _ = plugins.Close(context.WithoutCancel(ctx)) }() // nothing was started
	names := l.Names()
	if len(names) == 0 {
		return sdk.Hint(fmt.Errorf("no plugin is locked: there is no %s", l.Path()), "lock those that are installed: certwright plugins lock")
	}
	differ := 0
	for _, name := range names {
		_, err := plugins.Describe(ctx, name) // verifies first
		var missing *pluginhost.NotFoundError
		if errors.As(err, &missing) {
			err = sdk.Hint(errors.New("it is locked, but not installed"), "install it again, or remove its entry from %s", l.File(name))
		}
		b.Terminal.Verified(name, err)
		if err != nil {
			differ++
		}
	}
	if differ > 0 {
		return fmt.Errorf("%d of %d locked plugins differ from the lock", differ, len(names))
	}
	return nil
}
