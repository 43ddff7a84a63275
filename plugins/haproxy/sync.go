package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// errNotNamed: haproxy knows neither the certificate nor a place to put it.
var errNotNamed = errors.New("no bind line of the running haproxy names the certificate, its directory or the crt-list")

// errKept: haproxy keeps a certificate that is gone from disk.
var errKept = errors.New("haproxy keeps it until it is reloaded")

// wanted is what is on disk for one certificate.
type wanted struct {
	// file is its path.
	file string
	// content is nil if there is no file.
	content []byte
	// lines are those that it is to have in the crt-list, or for want of one in
	// the directory: what stands behind its name.
	lines []string
}

func (w wanted) listed() bool { return len(w.lines) > 0 }

// none says whether haproxy is not to have the certificate at all, unless a bind
// line names the very file.
func (w wanted) none() bool { return w.content == nil || !w.listed() }

// onDisk reads what haproxy would read.
func (h *haproxy) onDisk(file string) (wanted, error) {
	w := wanted{file: file}
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return w, nil
	case err != nil:
		return w, fmt.Errorf("read the certificate that haproxy is to serve: %w", err)
	}
	if w.content = payload(data); len(w.content) == 0 {
		return w, fmt.Errorf("read the certificate that haproxy is to serve: %s is empty", file)
	}
	if h.settings.CrtList == "" {
		w.lines = []string{""}
		return w, nil
	}
	list, err := h.readCrtList()
	if err != nil {
		return w, err
	}
	for _, e := range list.find(file, h.absolute()) {
		w.lines = append(w.lines, e.rest)
	}
	return w, nil
}

// print tells it from another state of the disk.
func (w wanted) print() [sha256.Size]byte {
	return sha256.Sum256(append(slices.Clone(w.content), strings.Join(w.lines, "\n")...))
}

// inMemory is what the running haproxy has of one certificate.
type inMemory struct {
	// name as haproxy spells it; empty: it does not know the certificate.
	name string
	// open is the certificate of an unfinished transaction.
	open string
	// list is the place for it, as haproxy spells it; empty: there is none.
	list   string
	listed bool
	detail
}

func (h *haproxy) inMemory(ctx context.Context, file string) (inMemory, error) {
	var m inMemory
	all, err := h.runtime.inventory(ctx)
	if err != nil {
		return m, err
	}
	m.open = all.open
	m.name = match(all.files, file)
	if m.name != "" {
		if m.detail, err = h.runtime.detail(ctx, m.name); err != nil {
			return m, err
		}
	}
	lists, err := h.runtime.lists(ctx)
	if err != nil {
		return m, err
	}
	place := filepath.Dir(file)
	if h.settings.CrtList != "" {
		place = h.settings.CrtList
	}
	if m.list = match(lists, place); m.list == "" || m.name == "" {
		return m, nil
	}
	number, err := h.runtime.lineOf(ctx, m.list, m.name)
	m.listed = number != ""
	return m, err
}

// agrees says whether there is nothing to do.
func (m inMemory) agrees(w wanted) bool {
	switch serial := serialOf(w.content); {
	case m.open != "" && samePath(m.open, w.file):
		return false
	case m.name == "":
		return w.none()
	case w.content == nil || serial == nil || m.serial == nil || m.serial.Cmp(serial) != 0:
		return false
	}
	return m.list == "" || m.listed == w.listed()
}

// sync makes the running haproxy serve what is on disk, without a reload. It
// may be repeated. What this process has brought already, and with lazy what
// seems to agree, is left alone: haproxy shows less than all of a certificate.
func (h *haproxy) sync(ctx context.Context, file string, lazy bool) error {
	h.at("sync: read %s", file)
	w, err := h.onDisk(file)
	if err != nil {
		return err
	}
	m, err := h.inMemory(ctx, file)
	if err != nil {
		return err
	}
	if (lazy || h.brought[file] == w.print()) && m.agrees(w) {
		return nil
	}
	if m.open != "" {
		if !samePath(m.open, file) {
			return transactionConflict(m.open)
		}
		// A run that was killed has left it.
		if err := h.runtime.abort(ctx, m.open); err != nil {
			return err
		}
	}
	delete(h.brought, file)
	if err := h.bring(ctx, w, m); err != nil {
		return fmt.Errorf("have haproxy serve %s: %w", file, err)
	}
	h.brought[file] = w.print()
	return nil
}

func (h *haproxy) bring(ctx context.Context, w wanted, m inMemory) error {
	if w.none() {
		gone, err := h.drop(ctx, w, m)
		if gone || err != nil {
			return err
		}
	}
	if m.status != "Used" && m.list == "" {
		return errNotNamed
	}
	if m.name == "" {
		return h.begin(ctx, w, m)
	}
	if err := h.runtime.replace(ctx, m.name, w.content); err != nil {
		return err
	}
	if m.list != "" && !m.listed {
		if err := h.insert(ctx, w, m); err != nil {
			return err
		}
	}
	return h.served(ctx, m.name, w)
}

// begin brings a certificate that haproxy does not know, and its place; or
// neither.
func (h *haproxy) begin(ctx context.Context, w wanted, m inMemory) error {
	m.name = w.file
	if !h.isList(m.list) { // a directory wants its own spelling
		m.name = filepath.Join(m.list, filepath.Base(w.file))
	}
	if err := h.runtime.create(ctx, m.name, w.content); err != nil {
		return err
	}
	if err := h.insert(ctx, w, m); err != nil {
		ctx, cancel := undoing(ctx)
		defer cancel()
		return errors.Join(err, h.runtime.takeOut(ctx, m.list, m.name), h.runtime.forget(ctx, m.name))
	}
	return h.served(ctx, m.name, w)
}

func (h *haproxy) insert(ctx context.Context, w wanted, m inMemory) error {
	for _, rest := range w.lines {
		if err := h.runtime.insert(ctx, m.list, m.name, rest); err != nil {
			return err
		}
	}
	return nil
}

// isList says whether a place is the crt-list, not a directory.
func (h *haproxy) isList(list string) bool {
	return h.settings.CrtList != "" && samePath(list, h.settings.CrtList)
}

// served asks haproxy whether it has what it was given.
func (h *haproxy) served(ctx context.Context, name string, w wanted) error {
	now, err := h.runtime.detail(ctx, name)
	if err != nil {
		return err
	}
	if serial := serialOf(w.content); serial == nil || now.serial == nil || now.serial.Cmp(serial) != 0 {
		return sdk.Problemf(sdk.Internal, "haproxy shows the serial number %X, not %X", now.serial, serial)
	}
	if now.status != "Used" {
		return errNotNamed
	}
	return nil
}

// drop takes a certificate away that was inserted and is gone from disk, or from
// the list. gone is false if haproxy goes on with it, by a bind line that names
// the file.
func (h *haproxy) drop(ctx context.Context, w wanted, m inMemory) (gone bool, err error) {
	if m.name == "" {
		return true, nil
	}
	if m.listed {
		if err := h.runtime.takeOut(ctx, m.list, m.name); err != nil {
			return false, fmt.Errorf("%w: %w", errKept, err)
		}
	}
	if w.content != nil {
		if now, err := h.runtime.detail(ctx, m.name); err != nil || now.status == "Used" {
			return false, err
		}
	}
	if err := h.runtime.forget(ctx, m.name); err != nil {
		return false, fmt.Errorf("%w: %w", errKept, err)
	}
	return true, nil
}

func (h *haproxy) readCrtList() (crtList, error) {
	data, err := os.ReadFile(h.settings.CrtList)
	if err != nil {
		err = sdk.Subject(fmt.Errorf("read the crt-list: %w", err), "crt_list")
		if errors.Is(err, fs.ErrNotExist) {
			err = sdk.Hint(sdk.WithCode(err, sdk.NotFound), "create %s, or correct the setting crt_list", h.settings.CrtList)
		}
		return crtList{}, err
	}
	return parseCrtList(data), nil
}

// absolute gives the function that completes names in the crt-list.
func (h *haproxy) absolute() func(string) string {
	c, err := readConfiguration(h.settings.Config)
	if err != nil {
		return configuration{}.absolute // the test of the configuration will tell
	}
	return c.absolute
}
