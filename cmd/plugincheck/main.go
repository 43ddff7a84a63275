// Command plugincheck checks that a plugin binary, in whatever language it is
// written, keeps the contract of certwright.plugin.v1. It needs no CA.
//
// What goes to stdout is one line for each check and a score card, or with --json
// one object for each check and one with the card. Everything else is on
// stderr. Exit codes: 0 all that is applicable passed, 1 a check failed, 2 the
// command line or the settings file is wrong.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/sdk/plugintest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const (
	exitPassed = 0
	exitFailed = 1
	exitUsage  = 2
)

// options are what the command line says.
type options struct {
	settingsFile string
	set          []string
	env          []string
	deployed     []string
	json         bool
	suite        plugintest.Suite
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	code := exitUsage // until the checks have begun, whatever fails is usage
	var o options
	cmd := &cobra.Command{
		Use:   "plugincheck [flags] path/to/certwright-plugin-NAME",
		Short: "Check that a plugin keeps the contract of certwright.plugin.v1",
		Long: "plugincheck starts a plugin as certwright would, asks it for what it promises in its\n" +
			"description, and looks itself whether a challenge is in place. It needs no CA.\n\n" +
			"Placeholders in settings point the plugin to a world that plugincheck makes, looks at,\n" +
			"and lets fail:\n\n" +
			"  {dir}          a document root that is served\n" +
			"  {web}          URL of a web server over it that takes PUT and DELETE\n" +
			"  {dns}          host:port of a name server that takes updates (RFC 2136)\n" +
			"  {tsig_name}    name of the TSIG key that it takes, {tsig_secret} its secret\n" +
			"  {http_port}    free port of 127.0.0.1 on which the plugin answers http-01\n" +
			"  {tls_port}     the same for tls-alpn-01\n" +
			"  {via URL}      URL of a proxy in front of your own fake of a provider's API\n\n" +
			"Or tell it where to look (--http, --webroot, --tls, --dns, --deployed): what it cannot\n" +
			"see it calls n.a., which is not the same as passed.",
		Example: "  plugincheck --set path={dir} ./certwright-plugin-webroot\n" +
			"  plugincheck --set server={dns} ./certwright-plugin-rfc2136\n" +
			"  plugincheck --set 'endpoint={via http://127.0.0.1:8080}' --set token=env:TOKEN ./certwright-plugin-x",
		Args: cobra.ExactArgs(1), SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			suite, err := o.prepare(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			code = check(cmd.Context(), suite, o.json, stdout)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.settingsFile, "settings", "", "file with the settings of the instance (YAML or JSON)")
	flags.StringArrayVar(&o.set, "set", nil, "one setting, KEY=VALUE; secrets as KEY=@FILE or KEY=env:NAME")
	flags.StringArrayVar(&o.env, "env", nil, "NAME=VALUE for the plugin's environment")
	flags.StringVar(&o.suite.HTTPAddress, "http", "", "host:port where http-01 responses are to be seen")
	flags.StringVar(&o.suite.WebrootPath, "webroot", "", "directory that is served to look for http-01 responses")
	flags.StringVar(&o.suite.TLSAddress, "tls", "", "host:port where tls-alpn-01 responses are to be seen")
	flags.StringVar(&o.suite.DNSAddress, "dns", "", "host:port of the DNS server that is asked for dns-01 records")
	flags.StringVar(&o.suite.Domain, "domain", "", "domain, and for dns-01 zone, of all names (default plugincheck.test)")
	flags.StringArrayVar(&o.deployed, "deployed", nil, "file that holds the certificate once it is deployed")
	flags.BoolVar(&o.json, "json", false, "print one JSON object for each check")
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(c *cobra.Command, a []string) {
		code = exitPassed
		help(c, a)
	})
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "plugincheck: %v\nsee: plugincheck --help\n", err)
	}
	return code
}
