package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/host"
	"github.com/certwright/certwright/host/config"
)

func (c *cli) installCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "install",
		Short:   "Deploy an existing certificate to more installers",
		Example: "  certwright install --cert-name a.example -i files --set files.fullchain=/etc/ssl/a.pem",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			outcomes, err := host.Install(cmd.Context(), base, host.InstallRequest{
				CertName: c.args.CertName, Args: c.args, KeyPath: c.keyPath, DryRun: c.dryRun,
			})
			if err != nil {
				return err
			}
			return c.terminal.Outcomes(outcomes)
		},
	}
	cmd.Flags().StringVar(&c.args.CertName, "cert-name", "", "the certificate")
	cmd.Flags().StringVar(&c.keyPath, "key-path", "", "private key of a certificate that was obtained with --csr")
	cmd.Flags().StringArrayVarP(&c.args.Installers, "installer", "i", nil, "instance that it is deployed to (repeatable)")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "show what would be written, and write nothing")
	c.deployFlags(cmd.Flags())
	c.settingFlags(cmd.Flags())
	return cmd
}

func (c *cli) enhanceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "enhance",
		Short: "Have a server redirect to HTTPS, or send HSTS",
		Long: "Set a redirect or HSTS at installers that a certificate is deployed to: for all of its names, or for those of -d.\n" +
			"What is set once is kept by later deployments.",
		Example: "  certwright enhance --redirect --hsts -i nginx --cert-name a.example",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			outcomes, err := host.Enhance(cmd.Context(), base, host.EnhanceRequest{CertName: c.args.CertName, Args: c.args})
			if err != nil {
				return err
			}
			return c.terminal.Outcomes(outcomes)
		},
	}
	c.enhanceFlags(cmd.Flags())
	cmd.Flags().StringVar(&c.args.CertName, "cert-name", "", "the certificate")
	cmd.Flags().StringArrayVarP(&c.args.Installers, "installer", "i", nil, "instance at which it is set (repeatable)")
	cmd.Flags().VarP(&orderedArg{args: &c.args.Ordered, kind: config.ArgDomain}, "domain", "d", "for this name only (repeatable)")
	c.settingFlags(cmd.Flags())
	return cmd
}

func (c *cli) rollbackCommand() *cobra.Command {
	var r host.RollbackRequest
	cmd := &cobra.Command{
		Use:   "rollback [N]",
		Short: "Take back what deployments have changed in a server's configuration",
		Long: "Take back the newest N (1) deployments that have changed what an installer writes. The server then serves\n" +
			"what it served before, which is proven. A version that was rolled back is not deployed there again by itself:\n" +
			"certwright install does that, and the next version is deployed as ever.",
		Example: "  certwright rollback --installer nginx",
		Args:    usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Count = 1
			if len(args) > 0 {
				n, err := strconv.Atoi(args[0])
				if err != nil {
					return host.UsageError(fmt.Errorf("%q is not the number of deployments that are to be taken back", args[0]))
				}
				r.Count = n
			}
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.Rollback(cmd.Context(), base, r)
		},
	}
	cmd.Flags().StringVarP(&r.Installer, "installer", "i", "", "instance at which (default: the only one that there is)")
	cmd.Flags().StringVar(&r.CertName, "cert-name", "", "only what was deployed of this certificate")
	c.settingFlags(cmd.Flags())
	return cmd
}
