package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

// leavesOthers lets a plugin work among what is not its own, of which nothing
// may be gone or different afterwards, nor anything left.
func leavesOthers(ctx context.Context, b *bench, t string) error {
	inDir := t == sdk.HTTP01 && b.world.used[placeDir]
	inZone := t == sdk.DNS01 && b.world.used[placeDNS]
	if t == sdk.DNS01 && !inZone && b.views[t] != nil {
		return leavesOtherValues(ctx, b)
	}
	if !inDir && !inZone {
		if t == sdk.TLSALPN01 || t == sdk.HTTP01 && b.world.used[placeHTTPPort] {
			return notApplicable("the plugin answers " + t + " at a port of its own, which it shares with nobody")
		}
		return unseen("the suite cannot put anything there itself: use {dir} or {dns} in the settings, or say where to look")
	}
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	defer b.tidy(ctx, p, batch)
	for _, c := range batch {
		if err := b.world.addForeign(c, inDir); err != nil {
			return err
		}
	}
	before, err := b.world.contents()
	if err != nil {
		return err
	}
	if err := b.performAndCleanup(ctx, p, batch); err != nil {
		return err
	}
	after, err := b.world.contents()
	if err != nil {
		return err
	}
	return differs(before, after)
}

// leavesOtherValues lets another process put values at the same names: where the
// suite can put nothing itself, the plugin can.
func leavesOtherValues(ctx context.Context, b *bench) error {
	p, batch, err := b.start(ctx, sdk.DNS01)
	if err != nil {
		return err
	}
	another, others, err := b.start(ctx, sdk.DNS01)
	if err != nil {
		return err
	}
	defer b.tidy(ctx, another, others)
	if _, err := b.perform(operation(ctx, "of-another"), another, others); err != nil {
		return err
	}
	if err := b.performAndCleanup(ctx, p, batch); err != nil {
		return err
	}
	if err := b.expect(ctx, others, 1, "add and remove one value, never the record set"); err != nil {
		return fmt.Errorf("a value at the same name, which belongs to another order: %w", err)
	}
	if err := b.cleanup(operation(ctx, "cleanup-of-another"), another, others); err != nil {
		return err
	}
	return b.expect(ctx, others, 0, adviceGone)
}

// addForeign puts what another would have there beside the challenge.
func (w *world) addForeign(c sdk.Challenge, inDir bool) error {
	if inDir {
		for _, name := range []string{"index.html", challengeDir + "/of-another-client"} {
			if err := os.WriteFile(filepath.Join(w.dir, name), []byte("another's"), 0o644); err != nil {
				return fmt.Errorf("put a file there that is another's: %w", removed(err, "the directory of "+name+" in {dir}"))
			}
		}
		return nil
	}
	name := dns.Fqdn(c.DNS.Name)
	w.add(&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"another's"}})
	w.add(&dns.TXT{Hdr: dns.RR_Header{Name: w.zone, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"v=spf1 -all"}})
	return nil
}

// contents is every file and record of the world.
func (w *world) contents() ([]string, error) {
	out := w.zoneText()
	err := filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		out = append(out, fmt.Sprintf("%s with %q", strings.TrimPrefix(path, w.dir), abridged(content)))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) { // no {dir} is used
		err = nil
	}
	return out, err
}

func differs(before, after []string) error {
	var errs []error
	for _, one := range before {
		if !slices.Contains(after, one) {
			errs = append(errs, fmt.Errorf("gone: %s", one))
		}
	}
	for _, one := range after {
		if !slices.Contains(before, one) {
			errs = append(errs, fmt.Errorf("left behind: %s", one))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("after Perform and Cleanup the world is another:\n%w\nadd and remove one value, never the record set or the directory", errors.Join(errs...))
}

// cannotWrite puts a file where the directory for challenges should be: nobody,
// root included, can write there.
func cannotWrite(ctx context.Context, b *bench) error {
	if !slices.Contains(b.types(), sdk.HTTP01) {
		return notApplicable("the plugin does not answer " + sdk.HTTP01)
	}
	if b.world.used[placeHTTPPort] {
		return notApplicable("the plugin answers http-01 at a port of its own, and writes nothing")
	}
	if !b.world.used[placeDir] || b.WebrootPath != b.world.places[placeDir] {
		return unseen("the suite cannot block the place of the responses: use {dir} in the settings")
	}
	if err := b.possible(sdk.HTTP01); err != nil {
		return err
	}
	p, batch, err := b.start(ctx, sdk.HTTP01)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.world.dir, challengeDir)
	aside := filepath.Join(b.world.dir, ".aside")
	if err := os.Rename(dir, aside); err != nil {
		return fmt.Errorf("take the directory for challenges away: %w", removed(err, challengeDir+" in {dir}"))
	}
	putBack := func() error { return errors.Join(os.Remove(dir), os.Rename(aside, dir)) }
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		return errors.Join(err, os.Rename(aside, dir))
	}
	r := b.record()
	err = p.Authenticator().Perform(operation(ctx, "no-place"), batch, r)
	if err := putBack(); err != nil {
		return fmt.Errorf("put the directory for challenges back: %w", err)
	}
	if p.runner.hasExited() {
		return fmt.Errorf("the plugin ended: %w\nreport a Problem", err)
	}
	for _, result := range r.all() {
		if result.Err == nil {
			return fmt.Errorf("Perform reports %q as in place, and it cannot be: a file is where its directory should be\n"+adviceInPlace, result.Subject)
		}
	}
	if err == nil && len(r.all()) == 0 {
		return errors.New("Perform reports neither a result nor a problem although nothing could be written")
	}
	return b.performAndCleanup(ctx, p, batch)
}
