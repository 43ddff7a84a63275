package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// namePattern is what a token or a name may be to become a file of its name.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,250}$`)

// Perform writes what dehydrated writes itself, then calls deploy_challenge for
// everything; only when all is in place is the CA asked.
func (d *dehydrated) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	d.signing(sdk.OperationFrom(ctx), challenges)
	for _, c := range challenges {
		if err := d.write(c); err != nil {
			return sdk.Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)
		}
	}
	if err := d.each(ctx, "deploy_challenge", challenges, r, nil); err != nil {
		return err
	}
	for _, c := range challenges {
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

// Cleanup removes the files and calls clean_challenge for everything.
func (d *dehydrated) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	d.signing(sdk.OperationFrom(ctx), challenges)
	removed := map[string]error{}
	for _, c := range challenges {
		removed[c.ID] = d.remove(c)
	}
	return d.each(ctx, "clean_challenge", challenges, r, func(c sdk.Challenge, err error) {
		r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(errors.Join(removed[c.ID], err), c.ID)})
	})
}

// each calls the hook for each challenge, or once for all of them (HOOK_CHAIN).
// Without done the first failure ends it.
func (d *dehydrated) each(
	ctx context.Context, name string, challenges []sdk.Challenge, r sdk.Reporter, done func(sdk.Challenge, error),
) error {
	groups := [][]sdk.Challenge{challenges}
	if !d.config.chain {
		groups = nil
		for _, c := range challenges {
			groups = append(groups, []sdk.Challenge{c})
		}
	}
	for _, group := range groups {
		var args []string
		for _, c := range group {
			args = append(args, domain(c), c.Token, value(c))
		}
		err := d.call(ctx, r, name, args...)
		if ctx.Err() != nil || err != nil && done == nil {
			return err
		}
		for _, c := range group {
			if done != nil {
				done(c, err)
			}
		}
	}
	return nil
}

// signing exports what is known when an order is worked on.
func (d *dehydrated) signing(op sdk.Operation, challenges []sdk.Challenge) {
	d.certificate(op.Lineage, "")
	if len(challenges) > 0 {
		d.export("CHALLENGETYPE", challenges[0].Type)
	}
	if len(op.Identifiers) > 0 {
		d.export("altnames", strings.Join(names(op.Identifiers), " "))
	}
}

func names(ids []sdk.Identifier) []string {
	var out []string
	for _, id := range ids {
		out = append(out, id.String())
	}
	return out
}

// domain is the identifier; that of an address in tls-alpn-01 is its reverse
// name, which the CA asks for.
func domain(c sdk.Challenge) string {
	if c.ALPN != nil {
		return c.ALPN.ServerName
	}
	return c.Identifier.Value
}

func value(c sdk.Challenge) string {
	switch {
	case c.DNS != nil:
		return c.DNS.Value
	case c.ALPN != nil:
		sum := sha256.Sum256([]byte(c.KeyAuthorization))
		return strings.ReplaceAll(fmt.Sprintf("% x", sum), " ", ":")
	}
	return c.KeyAuthorization
}

// files are what dehydrated puts in place itself.
func (d *dehydrated) files(c sdk.Challenge) (map[string][]byte, error) {
	switch {
	case c.HTTP != nil && namePattern.MatchString(c.Token):
		return map[string][]byte{filepath.Join(d.config.wellknown, c.Token): c.HTTP.Body}, nil
	case c.ALPN != nil && namePattern.MatchString(domain(c)):
		base := filepath.Join(d.config.alpnCertDir, domain(c))
		return map[string][]byte{base + ".crt.pem": c.ALPN.CertPEM, base + ".key.pem": c.ALPN.KeyPEM}, nil
	case c.DNS != nil:
		return nil, nil
	}
	return nil, sdk.Permanent(sdk.Problemf(sdk.Unsupported, "no file can be named after the token %q of %s", c.Token, c.Identifier))
}

func (d *dehydrated) write(c sdk.Challenge) error {
	files, err := d.files(c)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644) // for the web server
	if c.ALPN != nil {
		mode = 0o640
		if err := os.MkdirAll(d.config.alpnCertDir, 0o700); err != nil {
			return fmt.Errorf("make ALPNCERTDIR: %w", err)
		}
	}
	for path, data := range files {
		err := os.WriteFile(path, data, 0o600)
		if err == nil {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			return fmt.Errorf("put the response in place: %w", err)
		}
	}
	return nil
}

func (d *dehydrated) remove(c sdk.Challenge) error {
	files, err := d.files(c)
	if err != nil {
		return nil //nolint:nilerr // then nothing was written either
	}
	var errs []error
	for path := range files {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
