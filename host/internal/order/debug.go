package order

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// show tells what is in place and waits for the user, before the CA is told
// (--debug-challenges).
func (b *batch) show(ctx context.Context, challenges []model.Challenge) error {
	reporter := b.Story.Reporter(b.request.Name, b.instance.Config.Name)
	for _, c := range challenges {
		reporter.Progress("", describe(c))
	}
	_, err := reporter.Ask(ctx, "The challenges are in place. Press Enter to have the CA look at them. ")
	if errors.Is(err, sdk.ErrNotInteractive) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func describe(c model.Challenge) string {
	switch {
	case c.HTTP != nil:
		return fmt.Sprintf("http://%s%s has to give %s", c.Identifier.Value, c.HTTP.Path, c.HTTP.Body)
	case c.DNS != nil:
		return fmt.Sprintf("%s. has to have the TXT value %s", c.DNS.Name, c.DNS.Value)
	case c.ALPN != nil:
		return fmt.Sprintf("%s has to present the acme-tls/1 certificate", c.ALPN.ServerName)
	}
	return fmt.Sprintf("%s for %s", c.Type, c.Identifier)
}
