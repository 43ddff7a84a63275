package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

// ledgerVersion is that of the file's format; another one is refused.
const ledgerVersion = 1

// ledger is the file in the instance's state directory that tells a later
// process which directories this plugin made, and which files are in use by
// which lineage. Runs of the host share it, so it is locked while it is open.
type ledger struct{ dir string }

// page is what is known of one webroot.
type page struct {
	// Made lists the levels that this plugin made, outermost first.
	Made []string `json:"made,omitempty"`
	// Tokens are the files in use, with the lineages that use them.
	Tokens map[string][]string `json:"tokens,omitempty"`
}

type ledgerFile struct {
	Version int              `json:"v"`
	Roots   map[string]*page `json:"roots"`
}

// receipt says the same of one root to a Cleanup that finds no ledger.
type receipt struct {
	Root string   `json:"root"`
	Made []string `json:"made,omitempty"`
}

// openBook is the ledger, locked and read.
type openBook struct {
	path  string   // empty: it could not be read, and is not written
	lock  *os.File // nil: not locked
	pages map[string]*page
	saved []byte
	fresh bool // there was no file: receipts know more
}

// open locks and reads. The lock is the kernel's, so a process that dies lets go.
func (l ledger) open(ctx context.Context) (*openBook, error) {
	lock, err := lockFile(ctx, filepath.Join(l.dir, "lock"))
	if err != nil {
		return nil, err
	}
	b := &openBook{path: filepath.Join(l.dir, "webroot.json"), lock: lock}
	if err := b.read(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the plugin's state: %w", err)
	}
	// The kernel's blocking call cannot be cancelled, and the lock is held for
	// moments only.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			_ = f.Close()
			return nil, fmt.Errorf("lock the plugin's state %s: %w", path, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		}
	}
}

func (b *openBook) read() error {
	raw, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		b.pages, b.fresh = map[string]*page{}, true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the plugin's state: %w", err)
	}
	content := ledgerFile{Roots: map[string]*page{}}
	if err := json.Unmarshal(raw, &content); err != nil {
		err = fmt.Errorf("read the plugin's state %s: %w", b.path, err)
		return sdk.Hint(err, "remove %s if no certificate is being obtained now", b.path)
	}
	if content.Version != ledgerVersion {
		err := fmt.Errorf("the plugin's state %s has format %d, this version of the plugin knows %d", b.path, content.Version, ledgerVersion)
		return sdk.Hint(sdk.Permanent(err), "use the version of the webroot plugin that wrote it")
	}
	for root, p := range content.Roots {
		if p == nil || !filepath.IsAbs(root) {
			delete(content.Roots, root)
		}
	}
	b.pages, b.saved = content.Roots, raw
	return nil
}

// save writes the book so that a crash leaves the old one or the new one.
func (b *openBook) save() error {
	if b.path == "" {
		return nil
	}
	maps.DeleteFunc(b.pages, func(_ string, p *page) bool { return len(p.Made) == 0 && len(p.Tokens) == 0 })
	raw, err := json.MarshalIndent(ledgerFile{Version: ledgerVersion, Roots: b.pages}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the plugin's state: %w", err)
	}
	if slices.Equal(raw, b.saved) {
		return nil
	}
	if err := replace(b.path, raw); err != nil {
		return fmt.Errorf("write the plugin's state: %w", err)
	}
	b.saved = raw
	return nil
}

func replace(path string, content []byte) error {
	temp := path + ".new" // one name: the lock is held
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// close lets the next one in.
func (b *openBook) close() {
	if b.lock != nil {
		_ = b.lock.Close()
	}
}

// page gives the page of a root, empty if there is none.
func (b *openBook) page(root string) *page {
	if b.pages[root] == nil {
		b.pages[root] = &page{}
	}
	return b.pages[root]
}

func (b *openBook) rootsWith(token string) []string {
	var out []string
	for root, p := range b.pages {
		if _, ok := p.Tokens[token]; ok {
			out = append(out, root)
		}
	}
	return out
}

func (b *openBook) receipt(root string) []byte {
	raw, err := json.Marshal(receipt{Root: root, Made: b.page(root).Made})
	if err != nil {
		return nil // strings always encode, and a receipt may be missing
	}
	return raw
}

// remove takes a token's file away, unless another lineage uses it: a CA may
// give one pending authorization to two orders. A caller without a lineage
// removes for everybody.
func (b *openBook) remove(root, token, owner string) error {
	p := b.page(root)
	others := slices.DeleteFunc(slices.Clone(p.Tokens[token]), func(o string) bool { return o == owner || o == "" })
	if owner != "" && len(others) > 0 {
		p.Tokens[token] = others
		return nil
	}
	if err := removeFile(root, token); err != nil {
		return err
	}
	delete(p.Tokens, token)
	return nil
}

func (p *page) hold(token, owner string) {
	if p.Tokens == nil {
		p.Tokens = map[string][]string{}
	}
	if !slices.Contains(p.Tokens[token], owner) {
		p.Tokens[token] = append(p.Tokens[token], owner)
	}
}

// own notes levels as made by this plugin, disown that they are not.
func (p *page) own(made []string) {
	for _, level := range levels {
		if slices.Contains(made, level) && !slices.Contains(p.Made, level) {
			p.Made = append(p.Made, level)
		}
	}
}

func (p *page) disown(level string) {
	p.Made = slices.DeleteFunc(p.Made, func(l string) bool { return l == level })
}
