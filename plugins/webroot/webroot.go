package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Path string            `setting:"path" doc:"document root for the names that map does not name"`
	Map  map[string]string `setting:"map" doc:"document root by name; several names may share one, as in \"a.example,b.example\""`
}

// webroot is the authenticator.
type webroot struct {
	settings settings
	roots    roots
	ledger   ledger
}

var _ interface {
	sdk.Authenticator
	sdk.Configurer
	sdk.Preferrer
} = (*webroot)(nil)

// tokenPattern is base64url (RFC 8555 section 8.3): a token of this kind names
// a file in its directory and nothing else.
var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// Configure checks that every directory exists.
func (w *webroot) Configure(_ context.Context, instance sdk.Instance) error {
	roots, err := rootsOf(w.settings)
	if err != nil {
		return err
	}
	if instance.StateDir == "" && !instance.ValidateOnly {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	w.roots, w.ledger = roots, ledger{dir: instance.StateDir}
	return nil
}

// Prefer says which names have a directory.
func (w *webroot) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	out := make([]sdk.Preference, 0, len(ids))
	for _, id := range ids {
		p := sdk.Preference{Identifier: id}
		if _, p.Err = w.roots.of(id); p.Err == nil {
			p.ChallengeTypes = []string{sdk.HTTP01}
		}
		out = append(out, p)
	}
	return out, nil
}

// file is one response that is to be put in place.
type file struct {
	id    string
	token string
	body  []byte
}

// Perform writes one file for each challenge.
func (w *webroot) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	byRoot := map[string][]file{}
	for _, c := range challenges {
		root, f, err := w.fileOf(c)
		if err != nil {
			r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)})
			continue
		}
		byRoot[root] = append(byRoot[root], f)
	}
	if len(byRoot) == 0 {
		return nil
	}
	book, err := w.ledger.open(ctx)
	if err != nil {
		return err
	}
	defer book.close()
	owner := sdk.OperationFrom(ctx).Lineage
	for root, files := range byRoot {
		page := book.page(root)
		for _, f := range files {
			page.hold(f.token, owner)
		}
		if missing, err := missingLevels(root); err == nil { // if not, placing tells
			page.own(missing)
		}
	}
	// One write, before anything is created: a process that finds the book knows
	// all that may be there.
	if err := book.save(); err != nil {
		return err
	}
	for _, root := range slices.Sorted(maps.Keys(byRoot)) {
		files := byRoot[root]
		err := place(ctx, root, files, book, r)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		receipt := book.receipt(root)
		for _, f := range files {
			r.Result(sdk.Result{Subject: f.id, Err: sdk.Subject(err, f.id), Receipt: receipt})
		}
	}
	return book.save()
}

// fileOf says what is to be written for a challenge, and below which root. The
// root has no symbolic link left: if it is reached by one that is moved before
// Cleanup, say by a deployment, the file is still found.
func (w *webroot) fileOf(c sdk.Challenge) (string, file, error) {
	if c.Type != sdk.HTTP01 {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this plugin answers http-01 only"))
		return "", file{}, sdk.Hint(err, "choose another authenticator for this name")
	}
	if !tokenPattern.MatchString(c.Token) {
		return "", file{}, sdk.Permanent(sdk.Problemf(sdk.Unsupported, "token %q is not base64url, so no file is named after it", c.Token))
	}
	body := []byte(c.KeyAuthorization)
	if c.HTTP != nil {
		body = c.HTTP.Body
	}
	if len(body) == 0 {
		return "", file{}, sdk.Problemf(sdk.Internal, "the host sent no body")
	}
	dir, err := w.roots.of(c.Identifier)
	if err != nil {
		return "", file{}, err
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		err = fmt.Errorf("find webroot %s: %w", dir, err)
		return "", file{}, sdk.Hint(err, "create the directory, or correct the settings path and map")
	}
	return root, file{id: c.ID, token: c.Token, body: body}, nil
}

// Cleanup removes the files, then the directories that this plugin made and
// nobody uses any more.
func (w *webroot) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	book, err := w.ledger.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// The files can be removed without it.
		r.Progress("", fmt.Sprintf("%v; directories that were made for the challenges may stay", err))
		book = &openBook{pages: map[string]*page{}, fresh: true}
	}
	defer book.close()
	owner := sdk.OperationFrom(ctx).Lineage
	touched := map[string]bool{}
	for _, c := range challenges {
		if err := ctx.Err(); err != nil {
			return err
		}
		var errs []error
		if c.Type == sdk.HTTP01 && tokenPattern.MatchString(c.Token) { // nothing was written for another
			for _, root := range w.rootsToClean(c, book) {
				touched[root] = true
				errs = append(errs, book.remove(root, c.Token, owner))
			}
		}
		r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(errors.Join(errs...), c.ID)})
	}
	for _, root := range slices.Sorted(maps.Keys(touched)) {
		removeLevels(root, book.page(root), r)
	}
	return book.save()
}

// rootsToClean is every root below which the file may be: where it was written,
// by the book or the receipt, and where it would be written today. What the
// receipt says was made is taken into the book, which may have been lost.
func (w *webroot) rootsToClean(c sdk.Challenge, book *openBook) []string {
	roots := book.rootsWith(c.Token)
	var receipt receipt
	if json.Unmarshal(c.Receipt, &receipt) == nil && filepath.IsAbs(receipt.Root) {
		roots = append(roots, receipt.Root)
		if book.fresh {
			book.page(receipt.Root).own(receipt.Made)
		}
	}
	if dir, err := w.roots.of(c.Identifier); err == nil {
		root, err := filepath.EvalSymlinks(dir)
		if err == nil {
			roots = append(roots, root)
		} else if !errors.Is(err, fs.ErrNotExist) {
			roots = append(roots, dir) // removing will tell why not
		}
	}
	slices.Sort(roots)
	return slices.Compact(roots)
}
