package main

import (
	"github.com/spf13/cobra"

	"github.com/certwright/certwright/host"
)

func (c *cli) pluginNewCommand() *cobra.Command {
	var r host.NewPlugin
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the folder of a new plugin, which builds, passes every check and issues a certificate",
		Example: "  certwright plugins new example --role authenticator\n" +
			"  certwright plugins new example --role authenticator,installer --lang python --dir src/example",
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			r.Name, r.Version = args[0], version
			return host.PluginNew(c.terminal, r)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&r.Roles, "role", nil, "authenticator, installer, hook, or several, separated by commas")
	f.StringVar(&r.Language, "lang", host.PluginLanguages[0], "go or python")
	f.StringVar(&r.Dir, "dir", "", "the new folder (default certwright-plugin-NAME)")
	f.StringVar(&r.Module, "module", "", "path of the Go module (default example.com/certwright-plugin-NAME)")
	f.StringVar(&r.SDK, "sdk", "", "use the SDK in this clone of certwright's source, in place of a published one")
	for flag, values := range map[string][]string{"role": host.PluginRoles, "lang": host.PluginLanguages} {
		// It fails only for a flag that does not exist.
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.MarkFlagDirname("sdk")
	return cmd
}
