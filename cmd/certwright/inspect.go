package main

import (
	"github.com/spf13/cobra"

	"github.com/certwright/certwright/host"
)

func (c *cli) certificatesCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "certificates",
		Short: "List the certificates: names, expiry, where they are deployed and proven",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.Certificates(cmd.Context(), base, name)
		},
	}
	cmd.Flags().StringVar(&name, "cert-name", "", "show this one only")
	return cmd
}

func (c *cli) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what will go wrong: plugins, keys, disk, clock, CAs, resolvers, renewals",
		Long: "Look for what will go wrong, and say what to do. Nothing is changed, and no certificate is asked for.\n" +
			"Ends with 1 if something needs a hand.",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.Doctor(cmd.Context(), base)
		},
	}
	c.serverFlags(cmd.Flags())
	cmd.Flags().Var(scalar{c.scalars, "ca_bundle"}, "ca-bundle", "PEM file of roots to trust for the connection to the CA")
	return cmd
}

func (c *cli) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check the configuration",
		Args:  usage(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration files and every setting in them",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.ConfigCheck(cmd.Context(), base)
		},
	}
	c.settingFlags(check.Flags())
	cmd.AddCommand(check)
	return cmd
}
