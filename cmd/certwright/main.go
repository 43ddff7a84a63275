// Command certwright obtains, renews and deploys TLS certificates over ACME.
// This package is the command line and nothing else: one file for each group of
// verbs, each of which makes a request for package host and shows what comes
// back.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/certwright/certwright/host"
)

// Set by the build; the directories only if they are not the standard ones.
var (
	version    = "dev"
	libexecDir = ""
	sysconfDir = ""
)

func main() {
	host.RunIfLauncher()
	os.Exit(execute(os.Args[1:]))
}

func execute(args []string) int {
	ctx, stop := interruptible()
	defer stop()
	c := &cli{terminal: &host.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}}
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		c.terminal.Fatal(err)
	}
	return host.ExitCode(err)
}

// interruptible gives a context that ends with the first signal that asks the
// process to end; what is in place is cleaned up then. Later signals change
// nothing: the clean-up has its own limits.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			cancel(fmt.Errorf("interrupted by %s", s))
		case <-done:
		}
	}()
	return ctx, func() {
		close(done)
		cancel(errors.New("the command has ended"))
	}
}

func (c *cli) root() *cobra.Command {
	var showVersion bool
	root := &cobra.Command{
		Use:           "certwright",
		Short:         "Obtain, renew and deploy TLS certificates over ACME",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				c.terminal.Version(version)
				return nil
			}
			return cmd.Help()
		},
	}
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return host.UsageError(fmt.Errorf("%w (see %s --help)", plainFlagError(err), cmd.CommandPath()))
	})
	c.globalFlags(root.PersistentFlags())
	root.AddCommand(
		c.runCommand(), c.certonlyCommand(), c.installCommand(), c.renewCommand(), c.enhanceCommand(), c.rollbackCommand(),
		c.revokeCommand(), c.deleteCommand(), c.accountCommand(),
		c.certificatesCommand(), c.planCommand(), c.pluginsCommand(), c.configCommand(), c.doctorCommand(), c.versionCommand(),
	)
	return root
}

// plainFlagError says in words what the library says in those of strconv.
func plainFlagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	var number *strconv.NumError
	if errors.As(err, &number) {
		if number.Func == "ParseBool" {
			return fmt.Errorf("--%s is true or false, not %q", invalid.GetFlag().Name, invalid.GetValue())
		}
		return fmt.Errorf("--%s is a number, not %q", invalid.GetFlag().Name, invalid.GetValue())
	}
	return err
}

// usage makes the error of an argument check one of usage.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			if !cmd.HasSubCommands() && len(args) > 0 && cmd.Flags().Lookup("domain") != nil {
				err = fmt.Errorf("%q stands alone: each name needs a -d of its own (-d a.example -d %s), and one with * needs quotes", args[0], args[0])
			}
			meant := ""
			if cmd.HasSubCommands() && len(args) > 0 {
				cmd.SuggestionsMinimumDistance = 2 // cobra's default, which it sets too late for this
				if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
					meant = fmt.Sprintf("; did you mean %s?", strings.Join(similar, " or "))
				}
			}
			return host.UsageError(fmt.Errorf("%w%s (see %s --help)", err, meant, cmd.CommandPath()))
		}
		return nil
	}
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			c.terminal.Version(version)
			return nil
		},
	}
}
