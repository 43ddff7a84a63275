package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// binaryPrefix is what the name of every plugin binary starts with.
const binaryPrefix = "certwright-plugin-"

// describeJSON comes first: the other checks need the description.
var describeJSON = check{
	name:       "describe/json",
	obligation: "with the argument describe the plugin prints its description as one JSON object, without any RPC, and exits with 0",
	run: func(ctx context.Context, b *bench) error {
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, b.Binary, "describe")
		cmd.Env, cmd.Stdout, cmd.Stderr = b.environment(), &stdout, &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s describe: %w\n%s", b.Binary, err, stderr.String())
		}
		printed := bytes.Clone(stdout.Bytes())
		decoder := json.NewDecoder(&stdout)
		if err := decoder.Decode(&b.description); err != nil {
			return fmt.Errorf("what describe prints is not a description: %w\nit begins with %q; see the format in docs/protocol.md",
				err, abridged(printed))
		}
		if rest, err := io.ReadAll(io.MultiReader(decoder.Buffered(), &stdout)); err != nil || len(bytes.TrimSpace(rest)) > 0 {
			return fmt.Errorf("describe prints %q after the JSON object; print nothing else to stdout", abridged(rest))
		}
		return nil
	},
}

func describeChecks() []check {
	return []check{
		{
			name:       "describe/name",
			obligation: "the plugin's name is that of its binary without " + binaryPrefix,
			run: func(_ context.Context, b *bench) error {
				if base := filepath.Base(b.Binary); base != binaryPrefix+b.description.Name {
					return fmt.Errorf("the plugin calls itself %q but its binary is %s; rename one of them",
						b.description.Name, base)
				}
				return nil
			},
		},
		{
			name:       "describe/complete",
			obligation: "the description names version, protocol, roles and what each role needs, and contradicts itself nowhere",
			run:        func(_ context.Context, b *bench) error { return complete(b.description) },
		},
		{
			name:       "describe/rpc",
			obligation: "the Describe call works before Configure and gives the same description",
			run: func(ctx context.Context, b *bench) error {
				p, err := b.launch(ctx)
				if err != nil {
					return err
				}
				d, err := p.Describe(ctx, "plugincheck")
				if err != nil {
					return fmt.Errorf("the call of Describe broke: %w", err)
				}
				return sameDescription(b.description, d)
			},
		},
	}
}

// complete checks what can be checked in a description by reading it.
func complete(d sdk.Description) error {
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	must(d.Version != "", "version is empty")
	must(d.Summary != "", "summary is empty; `certwright plugins list` shows it")
	must(slices.ContainsFunc(d.Protocol, func(n int) bool { return slices.Contains(client.Majors(), n) }),
		"protocol is %v; list the major of the proto package, 1", d.Protocol)
	must(len(d.Roles) > 0, "roles is empty")
	for _, role := range d.Roles {
		must(slices.Contains([]string{sdk.RoleAuthenticator, sdk.RoleInstaller, sdk.RoleHook}, role), "role %q is unknown", role)
	}
	must(!slices.Contains(d.Roles, sdk.RoleAuthenticator) || len(d.ChallengeTypes) > 0, "an authenticator must name its challenge_types")
	must(!slices.Contains(d.Roles, sdk.RoleHook) || len(d.HookEvents) > 0, "a hook must name its hook_events")
	names := map[string]bool{}
	for _, s := range d.Settings {
		must(s.Name != "" && !names[s.Name], "setting %q has no name, or stands there twice", s.Name)
		must(wrongValue(s.Type) != nil, "setting %s has the unknown type %q", s.Name, s.Type)
		must(!s.Secret || s.Type == sdk.StringSetting || s.Type == sdk.MapSetting, "setting %s is secret and must be a string or a map of strings", s.Name)
		names[s.Name] = true
	}
	perms := d.Permissions
	for _, v := range slices.Concat(perms.Read, perms.Write, perms.Execute, perms.ConnectTCP, perms.BindTCP, perms.UnixSockets) {
		must(v.Setting == "" || names[v.Setting], "a permission refers to the setting %q, which does not exist", v.Setting)
	}
	for _, r := range d.ExclusiveResources {
		must(r.Value.Setting == "" || names[r.Value.Setting], "a resource refers to the setting %q, which does not exist", r.Value.Setting)
	}
	for _, name := range perms.UnconfinedBy {
		must(names[name], "unconfined_by names the setting %q, which does not exist", name)
	}
	must(!perms.Unconfined && len(perms.UnconfinedBy) == 0 || perms.Reason != "", "unconfined and unconfined_by need a reason")
	return errors.Join(errs...)
}

// sameDescription compares field by field, so that the failure names the field.
// The protocol is left out: the call is of one major.
func sameDescription(printed, answered sdk.Description) error {
	printed.Protocol, answered.Protocol = nil, nil
	a, err := asMap(printed)
	if err != nil {
		return err
	}
	b, err := asMap(answered)
	if err != nil {
		return err
	}
	var differ []string
	for key := range a {
		if !reflect.DeepEqual(a[key], b[key]) {
			differ = append(differ, key)
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			differ = append(differ, key)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	slices.Sort(differ)
	return fmt.Errorf("the printed description and the answer to Describe differ in: %s\nmake both from one source",
		strings.Join(differ, ", "))
}

func asMap(d sdk.Description) (map[string]any, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode the description: %w", err)
	}
	var out map[string]any
	return out, json.Unmarshal(text, &out)
}
