package order

import (
	"context"
	"errors"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// DNS finds out where records go and waits until they are seen.
type DNS interface {
	// Locate follows aliases and delegations of a name to where its TXT record
	// has to go. Names have no final dot.
	Locate(ctx context.Context, name string) (fqdn, zone string, err error)
	// Wait waits until every value of every record is seen. An error that is
	// about some of the records only says so by a method About(name), which
	// gives nil for a record that is seen.
	Wait(ctx context.Context, records []DNSRecord) error
}

// DNSRecord is a TXT record that was written; several may have one name.
type DNSRecord struct {
	Name, Zone string
	Values     []string
}

// partly is an error of Wait that is not about every record.
type partly interface {
	error
	About(name string) error
}

// place is where a record goes.
type place struct{ name, zone string }

// hostDNS says that DNS is the host's to see to. A plugin that does not say
// whose it is leaves it to the host.
func hostDNS(d sdk.Description) bool { return d.DNS != sdk.SelfDNS }

// locate finds the places of a proof's records, if an instance of its way
// leaves that to the host.
func (h *handler) locate(ctx context.Context, p *proof, asked map[string]preferred) error {
	hosted := false
	for _, name := range p.way {
		hosted = hosted || hostDNS(asked[name].instance.Description)
	}
	for _, c := range p.challenges {
		if c.DNS == nil || !hosted {
			continue
		}
		if h.DNS == nil {
			return errors.New("it leaves DNS to the host, which does not see to it here")
		}
		name, zone, err := h.DNS.Locate(ctx, c.DNS.Name)
		if err != nil {
			return err
		}
		if p.places == nil {
			p.places = map[string]place{}
		}
		p.places[c.ID] = place{name, zone}
	}
	return nil
}

// challengesFor gives the challenges as an instance is to get them: with the
// place of the record only if it leaves that to the host.
func (p proof) challengesFor(d sdk.Description) []model.Challenge {
	var out []model.Challenge
	for _, c := range p.challenges {
		if at, ok := p.places[c.ID]; ok && hostDNS(d) {
			dns := *c.DNS
			dns.Name, dns.Zone = at.name, at.zone
			c.DNS = &dns
		}
		out = append(out, c)
	}
	return out
}

// propagation is the one wait for all records of an order.
type propagation struct {
	// done is closed when it is over.
	done chan struct{}
	err  error
}

// propagate waits for every record that is in place, once all instances that
// write records have performed.
func (h *handler) propagate(ctx context.Context, proofs []proof, batches map[string]*batch, seen *propagation) {
	defer close(seen.done)
	var records []DNSRecord
	for _, p := range proofs {
		if len(p.places) == 0 || p.inPlace(batches) != nil {
			continue
		}
		for _, c := range p.challenges {
			if at, ok := p.places[c.ID]; ok {
				records = append(records, DNSRecord{Name: at.name, Zone: at.zone, Values: []string{c.DNS.Value}})
			}
		}
	}
	switch {
	case ctx.Err() != nil:
		seen.err = context.Cause(ctx)
	case len(records) > 0:
		seen.err = h.DNS.Wait(ctx, records)
	}
}

// of waits for the records of a proof; one without does not wait. An error about
// the records of others is not its own.
func (s *propagation) of(p proof) error {
	if len(p.places) == 0 {
		return nil
	}
	<-s.done
	var part partly
	if !errors.As(s.err, &part) {
		return s.err
	}
	var errs []error
	for _, at := range p.places {
		errs = append(errs, part.About(at.name))
	}
	return errors.Join(errs...)
}
