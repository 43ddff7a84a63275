package dnswait

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// firstPauses: the first pause is the interval through this, each further
	// one twice as long until it is the interval.
	firstPauses = 16
	// blindAfter is how often in a row every server of a zone has to fail before
	// the zone counts as out of reach.
	blindAfter = 3
)

// Record is a TXT record that has to be seen.
type Record struct {
	Place Place
	// Values that it must have, among others: a name and its wildcard are
	// proven by two values of one name.
	Values []string
}

// Wait waits until every authoritative server of every record's zone shows each
// of its values. Servers that cannot be reached, or do not hold the zone, are
// told of and left out while another one answers.
//
// Then the resolvers of the options are asked, if there are any, for as long as
// it makes sense: what they lack is only told of, unless none of the zone's own
// servers could be reached.
//
// The error is a TimeoutError, an UnreachableError, both of them joined, or the
// context's cause.
func (f *Finder) Wait(ctx context.Context, records []Record) error {
	if f.skip || len(records) == 0 {
		return nil
	}
	bounded, cancel := f.clock.bound(ctx, f.timeout)
	defer cancel()
	b := newBoard(merge(records))
	f.observe(bounded, b)
	if err := over(ctx); err != nil {
		return err
	}
	late := &TimeoutError{Timeout: f.timeout}
	blind := &UnreachableError{}
	var confirm []*row
	for _, r := range b.rows {
		switch state := r.state(); {
		case state == agreed || state == unreachable && f.checks:
			confirm = append(confirm, r)
		case state == unreachable:
			blind.Lacks = append(blind.Lacks, r.lacks()...)
			blind.names = append(blind.names, r.Place.Name)
		default:
			late.Lacks = append(late.Lacks, r.lacks()...)
		}
	}
	b.warn(f.progress)
	if f.checks && bounded.Err() == nil {
		late.Lacks = append(late.Lacks, f.confirm(bounded, confirm)...)
	} else {
		late.Lacks = append(late.Lacks, unseen(confirm)...)
	}
	if err := over(ctx); err != nil {
		return err
	}
	return joined(late, blind)
}

// over gives the cause of a context that is done.
func over(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// merge makes one record of several of one name.
func merge(records []Record) []Record {
	var out []Record
	for _, r := range records {
		i := slices.IndexFunc(out, func(o Record) bool { return same(o.Place.Name, r.Place.Name) })
		if i < 0 {
			out = append(out, Record{Place: r.Place, Values: slices.Clone(r.Values)})
			continue
		}
		out[i].Values = append(out[i].Values, lacking(r.Values, out[i].Values)...)
	}
	return out
}

// observe polls every server for every record until it is decided what became
// of all of them, or the time is over.
func (f *Finder) observe(ctx context.Context, b *board) {
	var all sync.WaitGroup
	defer all.Wait()
	polling, stop := context.WithCancel(ctx)
	defer stop()
	type report struct {
		cell *cell
		look look
	}
	reports := make(chan report)
	for _, r := range b.rows {
		for _, c := range r.cells {
			all.Go(func() {
				for pause := f.interval / firstPauses; ; pause = min(2*pause, f.interval) {
					l := f.look(polling, c.server, r.Record)
					select {
					case reports <- report{c, l}:
					case <-polling.Done():
						return
					}
					if l.seen() {
						return
					}
					f.clock.pause(polling, pause)
				}
			})
		}
	}
	for !b.decided() {
		select {
		case r := <-reports:
			r.cell.note(r.look)
		case <-ctx.Done():
			return
		}
	}
}

// look is what one server shows of one record.
type look struct {
	missing []string
	// failed is why the server shows nothing. It is out if it will not for
	// others either: it cannot be reached, or does not hold the zone.
	failed error
	out    bool
}

func (l look) seen() bool { return l.failed == nil && len(l.missing) == 0 }

func (f *Finder) look(ctx context.Context, s Server, r Record) look {
	reply, err := f.exchange(ctx, s.Address, ask(r.Place.Name, dns.TypeTXT, false))
	switch {
	case err != nil:
		return look{missing: r.Values, failed: err, out: true}
	case reply.Rcode == dns.RcodeServerFailure:
		// It is loading the zone, or cannot get it: that may pass.
		return look{missing: r.Values, failed: lame(reply)}
	case lame(reply) != nil:
		return look{missing: r.Values, failed: lame(reply), out: true}
	}
	return look{missing: lacking(r.Values, texts(reply, r.Place.Name))}
}

// confirm asks the resolvers for records that the zones' servers show, or could
// not be asked for.
func (f *Finder) confirm(ctx context.Context, rows []*row) []Lack {
	lacks := make([]*Lack, len(rows))
	var all sync.WaitGroup
	for i, r := range rows {
		all.Go(func() { lacks[i] = f.resolved(ctx, r) })
	}
	all.Wait()
	var out []Lack
	for i, r := range rows {
		switch {
		case lacks[i] == nil:
		case r.state() == agreed:
			f.progress("all name servers show %s, but %v", r.Place.Name, lacks[i])
		default:
			out = append(out, *lacks[i])
			out = append(out, r.lacks()...)
		}
	}
	return out
}

// resolved asks until a resolver shows the record. What it remembers is waited
// for if it will be forgotten in time; else there is no sense in waiting.
func (f *Finder) resolved(ctx context.Context, r *row) *Lack {
	decides := r.state() != agreed
	var last *Lack
	for failures := 0; ; {
		reply, resolver, err := f.recurse(ctx, r.Place.Name, dns.TypeTXT)
		if ctx.Err() != nil {
			if last == nil {
				last = &Lack{Name: r.Place.Name, Zone: r.Place.Zone, Server: resolverOf(""), Missing: r.Values, Err: errors.New("there was no time to ask it")}
			}
			return last
		}
		if child := refers(reply, r.Place.Name); child != "" {
			err = fmt.Errorf("it is no resolver: it refers to the name servers of %s", child)
		}
		last = &Lack{Name: r.Place.Name, Zone: r.Place.Zone, Server: resolverOf(resolver), Missing: r.Values, Err: err}
		pause := f.interval
		if err != nil {
			if failures++; !decides && failures >= blindAfter {
				return last
			}
		} else {
			if last.Missing = lacking(r.Values, texts(reply, r.Place.Name)); len(last.Missing) == 0 {
				return nil
			}
			pause = max(pause, remembered(reply))
		}
		if left := f.clock.left(ctx); pause > left {
			if err == nil {
				last.Err = fmt.Errorf("it remembers its old answer for another %s", remembered(reply).Round(time.Second))
			}
			return last
		}
		f.clock.pause(ctx, pause)
	}
}

func resolverOf(address string) Server { return Server{Name: "the resolver", Address: address} }

// unseen are records whose servers could not be reached and for which there was
// no time to ask a resolver.
func unseen(rows []*row) []Lack {
	var out []Lack
	for _, r := range rows {
		if r.state() == unreachable {
			out = append(out, r.lacks()...)
		}
	}
	return out
}
