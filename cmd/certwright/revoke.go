package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/host"
)

func (c *cli) revokeCommand() *cobra.Command {
	var r host.RevokeRequest
	var deleteAfter, keepAfter bool
	cmd := &cobra.Command{
		Use:   "revoke",
		Short: "Revoke a certificate, by the account that obtained it or by its key",
		Long: "Revoke a certificate: the newest version of a lineage, or the one in a file. With --key-path the\n" +
			"certificate's own key does it, else the account that obtained it, or the one that --account names.",
		Example: "  certwright revoke --cert-name a.example --reason superseded\n" +
			"  certwright revoke --cert-path cert.pem --key-path privkey.pem --reason keycompromise",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if deleteAfter && keepAfter {
				return host.UsageError(errors.New("--delete-after-revoke and --no-delete-after-revoke contradict each other"))
			}
			base, err := c.base()
			if err != nil {
				return err
			}
			r.Account = c.accountRequest(base)
			if deleteAfter || keepAfter {
				r.Delete = &deleteAfter
			}
			return host.Revoke(cmd.Context(), base, r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.CertName, "cert-name", "", "the certificate")
	f.StringVar(&r.CertPath, "cert-path", "", "PEM file of the certificate")
	f.StringVar(&r.KeyPath, "key-path", "", "PEM file of the certificate's key: it revokes, not an account")
	f.StringVar(&r.Reason, "reason", "", "unspecified, keycompromise, affiliationchanged, superseded or cessationofoperation, or a number of RFC 5280 (default unspecified)")
	f.BoolVar(&deleteAfter, "delete-after-revoke", false, "delete the certificate afterwards, with all its versions and keys")
	f.BoolVar(&keepAfter, "no-delete-after-revoke", false, "keep it (default: ask; with -n keep it)")
	c.accountFlags(f)
	f.Lookup("account").Usage = "name of the account that revokes (default: the one that obtained it)"
	return cmd
}

func (c *cli) deleteCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Delete a certificate with all its versions and keys",
		Long: "Delete a certificate with all its versions and keys. It is not revoked, and what was deployed stays\n" +
			"where it is: a server whose configuration names it must be changed first.",
		Example: "  certwright delete --cert-name a.example",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return host.Delete(cmd.Context(), base, name)
		},
	}
	cmd.Flags().StringVar(&name, "cert-name", "", "the certificate")
	return cmd
}
