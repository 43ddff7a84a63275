package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

func wireChecks() []check {
	return []check{
		{
			name:       "wire/unknown-fields",
			obligation: "fields that the plugin does not know are ignored in every message",
			run:        unknownFields,
		},
		{
			name:       "wire/unknown-rpc",
			obligation: "an rpc that the plugin does not know is answered with UNIMPLEMENTED, and disturbs nothing",
			run:        unknownRPC,
		},
		{
			name:       "wire/stdout",
			obligation: "nothing but the handshake line is written to stdout",
			run:        stdoutPurity,
		},
	}
}

// unknownFields does the plugin's main work with greased messages.
func unknownFields(ctx context.Context, b *bench) error {
	if err := b.possible(configuring); err != nil {
		return err
	}
	p, err := b.launch(ctx)
	if err != nil {
		return err
	}
	explain := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("with unknown fields in the messages: %w\nignore fields that you do not know; protobuf does by default", err)
	}
	p.Client = client.New(greased{overheard{p.conn, b.ears}})
	d, err := p.Describe(ctx, "plugincheck")
	if err != nil {
		return explain(err)
	}
	if err := sameDescription(b.description, d); err != nil {
		return explain(err)
	}
	dir, err := b.stateDir()
	if err != nil {
		return err
	}
	problems, err := p.Configure(ctx, b.configuration(dir))
	if err == nil && len(problems) > 0 {
		err = errors.New(problemTexts(problems))
	}
	if err != nil {
		return explain(err)
	}
	if _, _, err := p.Health(ctx, false); err != nil {
		return explain(err)
	}
	greasy := b.work(ctx, p)
	if greasy == nil {
		return nil
	}
	plain, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	if b.work(ctx, plain) != nil {
		return worksNot
	}
	return explain(greasy)
}

// worksNot is said where a check looks at a side of the plugin's work.
const worksNot = notApplicable("what the plugin does fails in any case; another check says why")

func unknownRPC(ctx context.Context, b *bench) error {
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	err = p.conn.Invoke(ctx, "/certwright.plugin.v1.Plugin/CertwrightUnknown", &emptypb.Empty{}, &emptypb.Empty{})
	if code := status.Code(err); code != codes.Unimplemented {
		return fmt.Errorf("a call of an rpc that does not exist ends with %s; let it end with %s: "+
			"a later host finds out so what an older plugin cannot", code, codes.Unimplemented)
	}
	if _, _, err := p.Health(ctx, false); err != nil {
		return fmt.Errorf("after the call of an unknown rpc: %w", err)
	}
	return nil
}

func stdoutPurity(ctx context.Context, b *bench) error {
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	broken := b.work(ctx, p)
	p.kill() // all that was written is read by now
	if stray := p.runner.strayStdout(); stray != "" {
		return fmt.Errorf("the plugin wrote %q to stdout after the handshake; "+
			"write logs to stderr, and what a person should see with say", abridged([]byte(stray)))
	}
	if broken != nil {
		return worksNot
	}
	return nil
}

// work is a small piece of the plugin's own work that leaves nothing behind.
func (b *bench) work(ctx context.Context, p *process) error {
	for _, t := range b.types() {
		batch, err := b.challenges(t, "work")
		if err != nil {
			return err
		}
		if err := b.performAndCleanup(ctx, p, batch); err != nil {
			return err
		}
	}
	for _, event := range b.description.HookEvents {
		if slices.Contains(b.description.Roles, sdk.RoleHook) {
			if err := b.runHook(ctx, p, event); err != nil {
				return err
			}
		}
	}
	if !slices.Contains(b.description.Roles, sdk.RoleInstaller) {
		return nil
	}
	l, err := b.lineage()
	if err != nil {
		return err
	}
	return b.deployAll(operation(ctx, "work"), p, l, true)
}

func lifeChecks() []check {
	return []check{
		{
			name:       "life/health",
			obligation: "an idle plugin answers Health and has no call in flight",
			run: func(ctx context.Context, b *bench) error {
				p, err := b.fresh(ctx)
				if err != nil {
					return err
				}
				_, running, err := p.Health(ctx, false)
				if err == nil && running != 0 {
					err = fmt.Errorf("in_flight is %d; count only calls that have not returned", running)
				}
				return err
			},
		},
		{
			name:       "life/drain",
			obligation: "Drain of an idle plugin returns at once and names no operation",
			run: func(ctx context.Context, b *bench) error {
				p, err := b.fresh(ctx)
				if err != nil {
					return err
				}
				abandoned, err := p.Drain(ctx, 5*time.Second)
				if err == nil && len(abandoned) > 0 {
					err = fmt.Errorf("Drain names %q although nothing was running", abandoned)
				}
				return err
			},
		},
		{
			name:       "life/sigterm",
			obligation: "the plugin ignores SIGTERM while it has a host: a service manager signals the whole group before clean-up",
			run:        ignoresTermination,
		},
		{
			name:       "life/host-gone",
			obligation: "the plugin ends when its standard input, the lifeline, is closed: its host is gone",
			run:        endsWithHost,
		},
		{
			name:       "wire/secrets",
			obligation: "no secret is in what the plugin logs, says or reports, in this check and in all before it",
			run:        keepsSecrets,
		},
	}
}

func ignoresTermination(ctx context.Context, b *bench) error {
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	// A plugin that dies of the signal may answer once more; it cannot answer
	// all of these, each after one more signal.
	for range 25 {
		p.runner.signalGroup(syscall.SIGTERM)
		if _, _, err := p.Health(ctx, false); err != nil {
			return fmt.Errorf("after SIGTERM the plugin does not answer: %w\n"+
				"catch and ignore SIGTERM, SIGINT and SIGHUP; the host decides when a plugin ends", err)
		}
	}
	return nil
}

func endsWithHost(ctx context.Context, b *bench) error {
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	if err := p.runner.lifeline.Close(); err != nil {
		return fmt.Errorf("close the lifeline: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	if p.runner.Wait(ctx) != nil {
		return fmt.Errorf("the plugin still runs %s after its standard input was closed; "+
			"when CERTWRIGHT_LIFELINE is stdin, read stdin until its end and then exit", b.patience)
	}
	return nil
}
