package run

import (
	"context"
	"strings"
	"sync"

	"github.com/certwright/certwright/host/internal/dnswait"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/report"
)

// lookups are the DNS of one lineage's orders. All lineages of a run share what
// was found.
type lookups struct {
	engine  *Engine
	lineage string
}

var _ order.DNS = (*lookups)(nil)

// lookup is what finds zones; it is made when the first name has to be found.
type lookup struct {
	once   sync.Once
	finder *dnswait.Finder
	err    error
}

func (e *Engine) finder() (*dnswait.Finder, error) {
	l := &e.lookup
	l.once.Do(func() {
		c := e.Config.DNS
		l.finder, l.err = dnswait.New(dnswait.Options{
			Resolvers: c.Resolvers, Port: c.Port, Timeout: c.Timeout, Interval: c.Interval, Skip: c.Skip,
			Progress: func(format string, args ...any) { e.Terminal.Warn("", format, args...) },
		})
		if l.err != nil {
			l.err = &report.UsageError{Err: l.err}
		}
	})
	return l.finder, l.err
}

// Locate implements order.DNS.
func (l *lookups) Locate(ctx context.Context, name string) (fqdn, zone string, err error) {
	finder, err := l.engine.finder()
	if err != nil {
		return "", "", err
	}
	p, err := finder.Locate(ctx, name)
	return p.Name, p.Zone, err
}

// Wait implements order.DNS.
func (l *lookups) Wait(ctx context.Context, records []order.DNSRecord) error {
	if l.engine.Config.DNS.Skip {
		return nil
	}
	finder, err := l.engine.finder()
	if err != nil {
		return err
	}
	var all []dnswait.Record
	var zones []string
	seen := map[string]bool{}
	for _, r := range records {
		p, err := finder.Locate(ctx, r.Name) // it is known already
		if err != nil {
			return err
		}
		all = append(all, dnswait.Record{Place: p, Values: r.Values})
		if !seen[p.Zone] {
			seen[p.Zone] = true
			zones = append(zones, p.Zone)
		}
	}
	if len(zones) > 5 {
		zones = append(zones[:4:4], "others")
	}
	l.engine.Terminal.Tell(l.lineage, "waiting until every name server of %s shows what was written", strings.Join(zones, ", "))
	return finder.Wait(ctx, all)
}
