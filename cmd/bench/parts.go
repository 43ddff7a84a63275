package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// one is (a): certonly of one name by a process that starts, with an account
// that is known.
func one(ctx context.Context, s *stage) (figure, error) {
	f := figure{What: "certonly, one name, cold", Limits: limits{Wall: 0.15, PeakMB: 40, Requests: 11}}
	return s.single(ctx, f, s.ca.DirectoryURL(), s.runs)
}

// distant is (e): (a) from 50 ms away.
func distant(ctx context.Context, s *stage) (f figure, err error) {
	r, err := s.relay(ctx, 25*time.Millisecond)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	f = figure{What: "(a) with 50 ms of round trip", Limits: limits{Wall: 0.75}}
	return s.single(ctx, f, s.through(r), min(s.runs, 5))
}

// single obtains certificates of one name one after the other, by certwright
// and by the floor in turn.
func (s *stage) single(ctx context.Context, f figure, server string, runs int) (figure, error) {
	bare, err := newBareAccount(ctx, server, s.ca.TLSRoots())
	if err != nil {
		return f, err
	}
	// The first run registers the account and fills the caches of the kernel.
	if _, err := s.obtain(ctx, server, s.name()); err != nil {
		return f, err
	}
	for range runs {
		c, err := s.obtain(ctx, server, s.name())
		if err != nil {
			return f, err
		}
		if !c.Children && c.Own != c.All {
			return f, errors.New("no plugin was seen to run: the count of processes cannot be trusted")
		}
		f.took(c)
		floor, err := s.timeFloor(ctx, bare, 1, []string{s.name()})
		if err != nil {
			return f, err
		}
		f.floors = append(f.floors, floor)
	}
	return f, nil
}

// wide is (c): one certificate with 50 names.
func wide(ctx context.Context, s *stage) (figure, error) {
	f := figure{What: "certonly, 50 names", Limits: limits{Wall: 0.30}}
	if _, err := s.obtain(ctx, s.ca.DirectoryURL(), s.name()); err != nil {
		return f, err
	}
	bare, err := newBareAccount(ctx, s.ca.DirectoryURL(), s.ca.TLSRoots())
	if err != nil {
		return f, err
	}
	for range min(s.runs, 5) {
		c, err := s.obtain(ctx, s.ca.DirectoryURL(), s.fifty()...)
		if err != nil {
			return f, err
		}
		f.took(c)
		floor, err := s.timeFloor(ctx, bare, 1, s.fifty())
		if err != nil {
			return f, err
		}
		f.floors = append(f.floors, floor)
	}
	return f, nil
}

func (s *stage) fifty() []string {
	var names []string
	for range 50 {
		names = append(names, s.name())
	}
	return names
}

// certificates is how many (b) obtains.
const certificates = 500

// many is (b): 500 certificates by one process.
func many(ctx context.Context, s *stage) (figure, error) {
	f := figure{What: fmt.Sprintf("run, %d certificates", certificates), PerRun: certificates, Limits: limits{OfFloor: 0.60}}
	if _, err := s.obtain(ctx, s.ca.DirectoryURL(), s.name()); err != nil {
		return f, err
	}
	bare, err := newBareAccount(ctx, s.ca.DirectoryURL(), s.ca.TLSRoots())
	if err != nil {
		return f, err
	}
	for range min(s.runs, 3) {
		before, err := s.lineages()
		if err != nil {
			return f, err
		}
		if err := s.configure(); err != nil {
			return f, err
		}
		c, err := s.certwright(ctx, "run")
		if err != nil {
			return f, err
		}
		after, err := s.lineages()
		if err != nil {
			return f, err
		}
		if after-before != certificates {
			return f, fmt.Errorf("there are %d new certificates, not %d", after-before, certificates)
		}
		f.took(c)
		var names [][]string
		for range certificates {
			names = append(names, []string{s.name()})
		}
		floor, err := s.timeFloor(ctx, bare, atOnce, names...)
		if err != nil {
			return f, err
		}
		f.floors = append(f.floors, floor)
	}
	return f, nil
}

// configure writes a certwright.yaml that asks for certificates of new names.
func (s *stage) configure() error {
	var b strings.Builder
	fmt.Fprintf(&b, "server: %s\nca_bundle: %s\nagree_tos: true\n", s.ca.DirectoryURL(), s.path("ca.pem"))
	fmt.Fprintf(&b, "instances:\n  - {name: standalone, settings: {http_port: %d}}\ncertificates:\n", s.port)
	for range certificates {
		fmt.Fprintf(&b, "  - {names: [%s], authenticate: [{with: [standalone]}]}\n", s.name())
	}
	return os.WriteFile(s.path("certwright.yaml"), []byte(b.String()), 0o600)
}

func (s *stage) lineages() (int, error) {
	files, err := filepath.Glob(filepath.Join(s.path("state"), "lineages", "*.json"))
	return len(files), err
}

// timeFloor has the bare client obtain certificates, so many at once, over one
// new connection.
func (s *stage) timeFloor(ctx context.Context, account *bareAccount, atOnce int, certificates ...[]string) (floor, error) {
	a, err := s.answer(ctx)
	if err != nil {
		return floor{}, err
	}
	before := s.requests.Load()
	began := time.Now()
	err = account.issueAll(ctx, a, atOnce, certificates)
	f := floor{wall: time.Since(began).Seconds(), requests: s.requests.Load() - before}
	return f, errors.Join(err, a.close())
}

func (a *bareAccount) issueAll(ctx context.Context, answers *answers, atOnce int, certificates [][]string) error {
	c := a.connect()
	defer c.close()
	if err := c.discover(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, names := range certificates {
		group.Go(func() error { return c.issue(ctx, answers, names...) })
	}
	return group.Wait()
}

// relay stands in front of the CA.
func (s *stage) relay(ctx context.Context, delay time.Duration) (*relay, error) {
	u, err := url.Parse(s.ca.DirectoryURL())
	if err != nil {
		return nil, err
	}
	return newRelay(ctx, u.Host, delay)
}

// through is the directory as it is reached by way of a relay. Pebble makes its
// URLs of the name that it was asked by, so all that follows goes there too.
func (s *stage) through(r *relay) string {
	u, err := url.Parse(s.ca.DirectoryURL())
	if err != nil {
		return ""
	}
	u.Host = r.address()
	return u.String()
}
