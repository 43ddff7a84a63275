package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/certwright/certwright/host"
)

func (c *cli) accountCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Register, show, change or give up accounts at CAs",
		Args:  usage(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.accountRegister(), c.accountUpdate(), c.accountShow(), c.accountRollover(), c.accountUnregister())
	return cmd
}

func (c *cli) accountRegister() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "register",
		Short: "Register an account at a CA; one that exists is left as it is",
		Long: "Register an account at a CA. That is done by the first certificate too: this verb is for an account\n" +
			"that is prepared, bound to an outside account, or one of several at one CA.",
		Example: "  certwright account register -m ops@example.com --agree-tos\n" +
			"  certwright account register --account zerossl --server https://acme.zerossl.com/v2/DV90 --eab-kid KID --eab-hmac-key @/run/keys/eab",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.account(cmd, host.AccountRegister) },
	}
	c.caFlags(cmd.Flags())
	return cmd
}

func (c *cli) accountUpdate() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "update",
		Short:   "Change the contact of an account, or agree to changed terms",
		Example: "  certwright account update -m new@example.com",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.account(cmd, host.AccountUpdate) },
	}
	c.accountFlags(cmd.Flags())
	cmd.Flags().VarP(scalar{c.scalars, "email"}, "email", "m", "the new contact")
	cmd.Flags().BoolVar(&c.noEmail, "no-email", false, "have no contact any more")
	cmd.Flags().BoolVar(&c.agreeTOS, "agree-tos", false, "agree to the CA's terms of service as they are now")
	return cmd
}

func (c *cli) accountShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show the accounts that there are, and what their CAs say of them",
		Example: "  certwright account show",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.account(cmd, host.AccountShow) },
	}
	c.accountFlags(cmd.Flags())
	return cmd
}

func (c *cli) accountRollover() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollover",
		Short: "Give an account another key",
		Long: "Give an account another key. The old one is worth nothing afterwards. A change that is interrupted\n" +
			"is ended by the next command that uses the account: both keys are kept until then.",
		Example: "  certwright account rollover",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.account(cmd, host.AccountRollover) },
	}
	c.accountFlags(cmd.Flags())
	return cmd
}

func (c *cli) accountUnregister() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "unregister",
		Short:   "Give an account up at its CA, for good, and delete its key",
		Example: "  certwright account unregister --account zerossl",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.account(cmd, host.AccountUnregister) },
	}
	c.accountFlags(cmd.Flags())
	return cmd
}

// accountFlags are those that name an account, and lead to its CA.
func (c *cli) accountFlags(f *pflag.FlagSet) {
	f.StringVar(&c.args.Account, "account", "", "name of the account (default: the only one that there is)")
	f.Var(scalar{c.scalars, "server"}, "server", "CA of the account: letsencrypt, letsencrypt-staging or a directory URL")
	f.BoolVar(&c.staging, "staging", false, "the same as --server letsencrypt-staging")
	f.Var(scalar{c.scalars, "ca_bundle"}, "ca-bundle", "PEM file of roots to trust for the connection to the CA")
}

func (c *cli) account(cmd *cobra.Command, verb func(context.Context, host.Base, host.AccountRequest) error) error {
	if _, email := c.scalars["email"]; email && c.noEmail {
		return host.UsageError(errors.New("--email and --no-email contradict each other"))
	}
	base, err := c.base()
	if err != nil {
		return err
	}
	return verb(cmd.Context(), base, c.accountRequest(base))
}

// accountRequest tells what the command line says from what is configured.
func (c *cli) accountRequest(base host.Base) host.AccountRequest {
	r := host.AccountRequest{Name: c.args.Account, EAB: c.args.EAB, Email: c.scalars["email"], NoEmail: c.noEmail}
	if _, given := c.scalars["server"]; given {
		r.Server = base.Config.Server
	}
	return r
}
