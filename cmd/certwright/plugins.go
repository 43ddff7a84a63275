package main

import (
	"github.com/spf13/cobra"

	"github.com/certwright/certwright/host"
)

func (c *cli) pluginsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugins",
		Short: "Show and lock plugins",
		Args:  usage(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var markdown bool
	describe := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show the settings and permissions of a plugin",
		Example: `  certwright plugins describe standalone
  certwright plugins describe standalone --markdown >standalone.md
  certwright plugins describe dnsapi --set dnsapi.dir=/opt/dnsapi --set dnsapi.script=dns_nsupdate`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.PluginDescribe(cmd.Context(), base, args[0], c.args, markdown)
		},
	}
	c.settingFlags(describe.Flags())
	describe.Flags().BoolVar(&markdown, "markdown", false, "as the page of a manual")
	cmd.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the plugins that are found, and those that are refused with the reason",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.PluginList(cmd.Context(), base)
		},
	}, describe, &cobra.Command{
		Use:   "lock [NAME...]",
		Short: "Lock the plugins as they are: their hashes, and what they ask for is granted",
		Long: "Write plugins.lock in the configuration directory: the hash of each plugin's binary and its permissions.\n" +
			"From then on another binary, or one that asks for more, is refused. Without NAME: every plugin that is found.",
		Example: "  certwright plugins lock\n  certwright plugins lock nginx",
		RunE: func(cmd *cobra.Command, args []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.PluginLock(cmd.Context(), base, args)
		},
	}, &cobra.Command{
		Use:   "verify",
		Short: "Compare the plugins with plugins.lock",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.PluginVerify(cmd.Context(), base)
		},
	}, c.pluginNewCommand(), c.pluginPagesCommand())
	return cmd
}

// pluginPagesCommand is for `make docs`.
func (c *cli) pluginPagesCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "pages DIR NAME...",
		Short:   "Write the reference pages of plugins",
		Example: "  certwright plugins pages docs/plugins nginx webroot",
		Hidden:  true,
		Args:    usage(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.PluginPages(cmd.Context(), base, args[0], args[1:])
		},
	}
}
