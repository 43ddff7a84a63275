package plugintest

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/certwright/certwright/sdk"
)

// deployTitle is the title under which the host finalises a deployment.
const deployTitle = "Deployed ACME Certificate"

func installerChecks() []check {
	installer := func(feature string, run func(context.Context, *bench) error) func(context.Context, *bench) error {
		return func(ctx context.Context, b *bench) error {
			if !slices.Contains(b.description.Roles, sdk.RoleInstaller) {
				return notApplicable("the plugin is no installer")
			}
			if feature != "" && !slices.Contains(b.description.Features, feature) {
				return notApplicable("the plugin does not have the feature " + feature)
			}
			before, err := snapshot(b.DeployedFiles)
			if err != nil {
				return err
			}
			return errors.Join(run(ctx, b), before.restore())
		}
	}
	return []check{
		{"installer/deploy-stages", "Deploy changes no file: nothing is written before Save", installer("", deployStages)},
		{"installer/round-trip", "Deploy, Save, Save with a title, ConfigTest and Restart succeed", installer("", roundTrip)},
		{"installer/seen", "after a deployment each file that was named to the suite holds the new leaf", installer("", deployedFiles)},
		{"installer/deploy-twice", "the same Deploy again has the same outcome", installer("", deployTwice)},
		{"installer/dry-run", "Deploy with dry_run reports what it would do and changes nothing", installer("", dryRun)},
		{"installer/rollback", "Rollback brings back what was there before, and more than there is is no error", installer(sdk.FeatureRollback, rollback)},
		{"installer/crash", "Rollback of 0 in a new process drops what a killed one left unfinished, and may be repeated", installer(sdk.FeatureRollback, rollbackAfterCrash)},
		{"installer/names", "Names answers", installer(sdk.FeatureNames, names)},
	}
}

// deployAll does what a host does for one certificate, up to where asked.
func (b *bench) deployAll(ctx context.Context, p *process, l *lineage, dry bool) error {
	i := p.Installer()
	for _, name := range l.names {
		if err := b.deploy(ctx, p, l, name, dry); err != nil {
			return err
		}
		if dry {
			continue
		}
		if _, err := i.Save(ctx, sdk.SaveRequest{}, b.record()); err != nil {
			return fmt.Errorf("Save after Deploy of %s: %w", name, err)
		}
	}
	return nil
}

// deploy calls Deploy for one name.
func (b *bench) deploy(ctx context.Context, p *process, l *lineage, name string, dry bool) error {
	r := b.record()
	if err := p.Installer().Deploy(ctx, l.deployment(name, b.description.Permissions.Key, dry), r); err != nil {
		return fmt.Errorf("Deploy of %s: %w", name, err)
	}
	for _, result := range r.all() {
		switch {
		case result.Err != nil:
			return fmt.Errorf("Deploy of %s: the result for %q is a failure: %w", name, result.Subject, result.Err)
		case dry && result.Changed && result.Diff == "":
			return fmt.Errorf("Deploy of %s with dry_run: the result for %q says changed but has no diff", name, result.Subject)
		}
	}
	if dry && len(r.all()) == 0 {
		return fmt.Errorf("Deploy of %s with dry_run reports no result; report one for each target, with a diff", name)
	}
	return nil
}

// finish makes what was saved live.
func (b *bench) finish(ctx context.Context, p *process) error {
	i := p.Installer()
	if _, err := i.Save(ctx, sdk.SaveRequest{Title: deployTitle}, b.record()); err != nil {
		return fmt.Errorf("Save with a title: %w", err)
	}
	if err := i.ConfigTest(ctx, b.record()); err != nil {
		return fmt.Errorf("ConfigTest: %w", err)
	}
	if err := i.Restart(ctx, b.record()); err != nil {
		return fmt.Errorf("Restart: %w", err)
	}
	return nil
}

// deployed deploys a new certificate with a new process.
func (b *bench) deployed(ctx context.Context) (*process, *lineage, error) {
	p, err := b.fresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	l, err := b.lineage()
	if err != nil {
		return nil, nil, err
	}
	ctx = operation(ctx, "deploy")
	return p, l, errors.Join(b.deployAll(ctx, p, l, false), b.finish(ctx, p))
}

func deployStages(ctx context.Context, b *bench) error {
	return b.unchanged(ctx, false, "stage in Deploy, write in Save")
}

func dryRun(ctx context.Context, b *bench) error {
	return b.unchanged(ctx, true, "with dry_run only compute the diff")
}

func (b *bench) unchanged(ctx context.Context, dry bool, advice string) error {
	before, err := snapshot(b.DeployedFiles)
	if err != nil {
		return err
	}
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	l, err := b.lineage()
	if err != nil {
		return err
	}
	if err := b.deploy(operation(ctx, "deploy"), p, l, l.names[0], dry); err != nil {
		return err
	}
	return before.compare("after Deploy", advice)
}

func roundTrip(ctx context.Context, b *bench) error {
	_, _, err := b.deployed(ctx)
	return err
}

func deployedFiles(ctx context.Context, b *bench) error {
	if len(b.DeployedFiles) == 0 {
		return unseen("the suite was not told which files hold the certificate: " +
			"give deployed; until then nothing is known about what the plugin really does")
	}
	_, l, err := b.deployed(ctx)
	if err != nil {
		return err
	}
	return l.inFiles(b.DeployedFiles)
}

// inFiles checks that each file holds the leaf exactly once.
func (l *lineage) inFiles(paths []string) error {
	want, _ := pem.Decode(l.leaf)
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("after the deployment: %w", err)
		}
		n := 0
		for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
			if bytes.Equal(block.Bytes, want.Bytes) {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%s should hold the leaf once but holds it %s", path, times(n))
		}
	}
	return nil
}

func deployTwice(ctx context.Context, b *bench) error {
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	l, err := b.lineage()
	if err != nil {
		return err
	}
	ctx = operation(ctx, "the-same")
	for _, time := range []string{"first", "second"} {
		if err := b.deploy(ctx, p, l, l.names[0], false); err != nil {
			return fmt.Errorf("the %s time: %w", time, err)
		}
	}
	err = errors.Join(b.deployAll(ctx, p, l, false), b.finish(ctx, p), l.inFiles(b.DeployedFiles))
	if err != nil {
		return err
	}
	once, err := snapshot(b.DeployedFiles)
	if err != nil {
		return err
	}
	if err := errors.Join(b.deployAll(ctx, p, l, false), b.finish(ctx, p)); err != nil {
		return fmt.Errorf("the whole deployment again: %w", err)
	}
	return once.compare("after the same deployment again", "deploy what is deployed already without a change")
}

func rollback(ctx context.Context, b *bench) error {
	before, err := snapshot(b.DeployedFiles)
	if err != nil {
		return err
	}
	p, _, err := b.deployed(ctx)
	if err != nil {
		return err
	}
	ctx = operation(ctx, "rollback")
	if err := p.Installer().Rollback(ctx, 1, b.record()); err != nil {
		return fmt.Errorf("Rollback of 1: %w", err)
	}
	if err := before.compare("after Rollback of 1", "keep the old content in the checkpoint, and remove what was not there"); err != nil {
		return err
	}
	if err := p.Installer().Rollback(ctx, 1, b.record()); err != nil {
		return fmt.Errorf("Rollback of 1 with nothing left: %w\nmore than there is is no error", err)
	}
	return before.compare("after Rollback with nothing left", "do nothing when there is nothing")
}

func rollbackAfterCrash(ctx context.Context, b *bench) error {
	before, err := snapshot(b.DeployedFiles)
	if err != nil {
		return err
	}
	dir, err := b.stateDir()
	if err != nil {
		return err
	}
	p, err := b.instance(ctx, dir)
	if err != nil {
		return err
	}
	l, err := b.lineage()
	if err != nil {
		return err
	}
	if err := b.deployAll(operation(ctx, "deploy"), p, l, false); err != nil {
		return err
	}
	p.kill()
	if p, err = b.instance(ctx, dir); err != nil {
		return fmt.Errorf("in a new process with the state directory of the first: %w", err)
	}
	for _, time := range []string{"first", "second"} {
		if err := p.Installer().Rollback(operation(ctx, "rollback"), 0, b.record()); err != nil {
			return fmt.Errorf("Rollback of 0, the %s time: %w", time, err)
		}
		if err := before.compare("after Rollback of 0, the "+time+" time,",
			"keep in the state directory, before a file is written, what was there"); err != nil {
			return err
		}
	}
	return nil
}

func names(ctx context.Context, b *bench) error {
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	sites, err := p.Installer().Names(ctx)
	if err != nil {
		return fmt.Errorf("Names: %w", err)
	}
	for _, site := range sites {
		if site.ID == "" {
			return fmt.Errorf("a site of %s has no id", site.File)
		}
	}
	return nil
}

// files is what some files held; nil: there was no file.
type files map[string][]byte

func snapshot(paths []string) (files, error) {
	out := files{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look at a deployed file: %w", err)
		}
		if err == nil && content == nil {
			content = []byte{}
		}
		out[path] = content
	}
	return out, nil
}

func (f files) compare(when, advice string) error {
	now, err := snapshot(f.paths())
	if err != nil {
		return err
	}
	for path, content := range f {
		switch {
		case (content == nil) != (now[path] == nil):
			return fmt.Errorf("%s %s %s; before it %s\n%s", path, existence(now[path]), when, existence(content), advice)
		case !bytes.Equal(content, now[path]):
			return fmt.Errorf("%s is different %s\n%s", path, when, advice)
		}
	}
	return nil
}

func existence(content []byte) string {
	if content == nil {
		return "was not there"
	}
	return "was there"
}

func (f files) paths() []string {
	var out []string
	for path := range f {
		out = append(out, path)
	}
	return out
}

// restore undoes what a plugin did not, so that the checks do not depend on
// each other.
func (f files) restore() error {
	var errs []error
	for path, content := range f {
		if content == nil {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			continue
		}
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, content) {
			continue
		}
		errs = append(errs, os.WriteFile(path, content, 0o600))
	}
	return errors.Join(errs...)
}
