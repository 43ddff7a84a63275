package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/host"
)

func (c *cli) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Obtain a certificate and deploy it",
		Long: "Obtain the certificate that -d asks for and deploy it to the installers of -i.\n" +
			"Without -d: every certificate of the configuration that is missing, due or not yet deployed.",
		Example: "  certwright run -a standalone -i files --set files.fullchain=/etc/ssl/a.pem -d a.example -m ops@example.com --agree-tos",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.obtain(cmd, false) },
	}
	c.caFlags(cmd.Flags())
	c.certificateFlags(cmd.Flags())
	c.deployFlags(cmd.Flags())
	return cmd
}

func (c *cli) certonlyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "certonly",
		Short:   "Obtain a certificate and deploy it nowhere",
		Long:    "Obtain the certificate that -d asks for. It is found under live/NAME of the state directory.",
		Example: "  certwright certonly -a webroot -w /var/www/html -d a.example -d www.a.example",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.obtain(cmd, true) },
	}
	c.caFlags(cmd.Flags())
	c.certificateFlags(cmd.Flags())
	cmd.Flags().StringVar(&c.csr, "csr", "", "file of a certificate request made elsewhere (PEM or DER); its key is not needed")
	return cmd
}

func (c *cli) obtain(cmd *cobra.Command, noDeploy bool) error {
	if c.csr != "" {
		data, err := os.ReadFile(c.csr)
		if err != nil {
			return host.UsageError(fmt.Errorf("--csr: %w", err))
		}
		c.args.CSR = data
	}
	base, err := c.base()
	if err != nil {
		return err
	}
	outcomes, err := host.Obtain(cmd.Context(), base, host.ObtainRequest{
		Args: c.args, Force: c.force, Expand: c.expand, NoDeploy: noDeploy,
		NewKey: c.newKey, Debug: c.debug, DryRun: c.dryRun,
	})
	if err != nil {
		return err
	}
	return c.terminal.Outcomes(outcomes)
}

func (c *cli) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what run or renew would do, and why",
		Long: "Show what would be done, and why. With -d: what run would do with the same flags.\n" +
			"Without: what there is to do for every certificate. No CA is asked, and of the plugins only the installers\n" +
			"that would write something, to show what. A plugin that could not be used is an error, exit code 2.",
		Example: "  certwright plan",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			p, err := host.MakePlan(cmd.Context(), base, host.ObtainRequest{Args: c.args, Force: c.force, Expand: c.expand})
			if err == nil || len(p.Items) > 0 { // beside what can be done there may be what cannot
				c.terminal.Plan(p)
			}
			return err
		},
	}
	c.caFlags(cmd.Flags())
	c.certificateFlags(cmd.Flags())
	c.deployFlags(cmd.Flags())
	return cmd
}

func (c *cli) renewCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "renew",
		Short:   "Renew what is due and deploy it; try failed deployments again",
		Example: "  certwright renew -n",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			outcomes, err := host.Renew(cmd.Context(), base, host.RenewRequest{CertName: name, Args: c.args, Force: c.force, DryRun: c.dryRun})
			if err != nil {
				return err
			}
			return c.terminal.Outcomes(outcomes)
		},
	}
	cmd.Flags().StringVar(&name, "cert-name", "", "renew this one only")
	cmd.Flags().BoolVar(&c.force, "force-renewal", false, "renew even what is not due")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "prove every name at a test CA and show what would be deployed; keep and deploy nothing")
	c.togetherFlag(cmd.Flags())
	c.hookFlags(cmd.Flags())
	c.settingFlags(cmd.Flags())
	c.trustFlags(cmd.Flags())
	return cmd
}
