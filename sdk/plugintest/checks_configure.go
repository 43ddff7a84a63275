package plugintest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

func configureChecks() []check {
	return []check{
		{
			name:       "configure/accept",
			obligation: "Configure accepts the settings given to the suite",
			run: func(ctx context.Context, b *bench) error {
				_, err := b.fresh(ctx)
				return err
			},
		},
		{
			name:       "configure/missing",
			obligation: "Configure refuses a configuration that lacks a required setting, and names it",
			run:        configureMissing,
		},
		{
			name:       "configure/unknown",
			obligation: "Configure refuses a setting that the plugin does not have, and names it",
			run: func(ctx context.Context, b *bench) error {
				const name = "certwright_no_such_setting"
				return b.refused(ctx, name, func(c *client.Configuration) { c.Settings[name] = "x" })
			},
		},
		{
			name:       "configure/wrong-type",
			obligation: "Configure refuses a setting of the wrong type, and names it",
			run:        configureWrongType,
		},
		{
			name:       "configure/secret",
			obligation: "Configure refuses a secret that comes among the settings, where it would be shown, and names it",
			run:        configureSecret,
		},
		{
			name:       "configure/validate-only",
			obligation: "Configure with validate_only touches nothing outside the process",
			run:        configureValidateOnly,
		},
	}
}

func configureMissing(ctx context.Context, b *bench) error {
	var errs []error
	none := true
	for _, s := range b.description.Settings {
		if !s.Required {
			continue
		}
		none = false
		errs = append(errs, b.refused(ctx, s.Name, func(c *client.Configuration) {
			delete(c.Settings, s.Name)
			delete(c.Secrets, s.Name)
		}))
	}
	if none {
		return notApplicable("no setting is required")
	}
	return errors.Join(errs...)
}

func configureWrongType(ctx context.Context, b *bench) error {
	var errs []error
	none := true
	for _, s := range b.description.Settings {
		if s.Secret {
			continue
		}
		none = false
		errs = append(errs, b.refused(ctx, s.Name, func(c *client.Configuration) {
			c.Settings[s.Name] = wrongValue(s.Type)
		}))
	}
	if none {
		return notApplicable("there is no setting that is not secret")
	}
	return errors.Join(errs...)
}

func configureSecret(ctx context.Context, b *bench) error {
	var errs []error
	none := true
	for _, s := range b.description.Settings {
		if !s.Secret {
			continue
		}
		none = false
		errs = append(errs, b.refused(ctx, s.Name, func(c *client.Configuration) {
			delete(c.Secrets, s.Name)
			c.Settings[s.Name] = "a literal"
		}))
	}
	if none {
		return notApplicable("no setting is secret")
	}
	return errors.Join(errs...)
}

// configureValidateOnly sees what it can: the state directory, the world, and
// the files that an installer writes.
func configureValidateOnly(ctx context.Context, b *bench) error {
	dir, err := b.stateDir()
	if err != nil {
		return err
	}
	files, err := snapshot(b.DeployedFiles)
	if err != nil {
		return err
	}
	world, err := b.world.contents()
	if err != nil {
		return err
	}
	if err := b.possible(configuring); err != nil {
		return err
	}
	p, err := b.launch(ctx)
	if err != nil {
		return err
	}
	b.world.faults.clear()
	c := b.configuration(dir)
	c.ValidateOnly = true
	problems, err := p.Configure(ctx, c)
	if err != nil {
		return fmt.Errorf("the call of Configure with validate_only broke: %w", err)
	}
	if len(problems) > 0 {
		return fmt.Errorf("Configure with validate_only refuses the settings given to the suite: %s", problemTexts(problems))
	}
	if n := b.world.faults.requests(); n > 0 {
		return fmt.Errorf("Configure with validate_only sent %d requests; a check of settings must work without a network", n)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look at the state directory: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("Configure with validate_only made %s in the state directory", left[0].Name())
	}
	now, err := b.world.contents()
	if err != nil {
		return err
	}
	if !slices.Equal(world, now) {
		return errors.New("Configure with validate_only changed files or records")
	}
	return files.compare("after Configure with validate_only", "write nothing then")
}

// wrongValue is a value that is not of the type; nil for an unknown type.
func wrongValue(t sdk.SettingType) any {
	switch t {
	case sdk.StringSetting, sdk.BoolSetting, sdk.IntSetting, sdk.DurationSetting, sdk.ListSetting:
		return map[string]any{"wrong": true}
	case sdk.MapSetting:
		return []any{"wrong"}
	}
	return nil
}

// refused configures a new process with a configuration that is changed to be
// wrong in one setting.
func (b *bench) refused(ctx context.Context, setting string, change func(*client.Configuration)) error {
	if err := b.possible(configuring); err != nil { // it would be refused anyhow
		return err
	}
	dir, err := b.stateDir()
	if err != nil {
		return err
	}
	p, err := b.launch(ctx)
	if err != nil {
		return err
	}
	defer p.kill()
	c := b.configuration(dir)
	c.Settings, c.Secrets = maps.Clone(c.Settings), maps.Clone(c.Secrets)
	if c.Settings == nil {
		c.Settings = map[string]any{}
	}
	change(&c)
	problems, err := p.Configure(ctx, c)
	if err != nil {
		return fmt.Errorf("Configure broke for setting %s: %w\nreturn a Problem, not a status error", setting, err)
	}
	for _, problem := range problems {
		if problem.Subject == setting && problem.Code == sdk.InvalidConfig {
			return nil
		}
	}
	if len(problems) == 0 {
		return fmt.Errorf("Configure accepts it for setting %s; return a Problem with code %s and subject %q",
			setting, sdk.InvalidConfig, setting)
	}
	return fmt.Errorf("Configure refuses it for setting %s, but no problem has code %s and subject %q: %s",
		setting, sdk.InvalidConfig, setting, problemTexts(problems))
}
