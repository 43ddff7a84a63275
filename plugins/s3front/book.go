package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/certwright/certwright/sdk"
)

// bookVersion is that of the files' format; another one is refused.
const bookVersion = 1

// book is what the instance knows of its certificates, in two files for each:
// NAME.json says what AWS is to have, is changed through checkpoints and so comes
// back on a rollback; NAME.made.json says what was put into AWS, so that nothing
// that nobody uses is left there.
type book struct {
	dir  string
	step func(string)
}

// wanted is what AWS is to have of one certificate.
type wanted struct {
	Version int `json:"v"`
	// Certificate that we serve; nil: none.
	Certificate *material `json:"certificate,omitempty"`
	// Distributions by ID.
	Distributions map[string]distributionState `json:"distributions"`
}

// distributionState says what one distribution is to serve.
type distributionState struct {
	// Ours: the certificate. If not, what is in Before.
	Ours bool `json:"ours"`
	// Before is the viewer certificate that it had before ours.
	Before viewer `json:"before"`
}

// made is a certificate that this instance has put into AWS.
type made struct {
	// Store is "acm" or "iam".
	Store string `json:"store"`
	// ID is the ARN, or the name in IAM.
	ID string `json:"id"`
	// Number is what a distribution names it by, if that is not the ID: IAM's.
	Number string `json:"number,omitempty"`
	// Kind of its key.
	Kind string `json:"kind"`
	// Current: it is what the certificate is served by, or was to be.
	Current bool `json:"current"`
}

type madeFile struct {
	Version int    `json:"v"`
	Made    []made `json:"made"`
	// Importing are the prints of what is being imported into ACM, or was when the
	// process ended: its ARN is not known.
	Importing []string `json:"importing,omitempty"`
}

var lineagePattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// file gives the path for a certificate's name, which the host has made harmless.
func (b book) file(lineage, suffix string) (string, error) {
	if !lineagePattern.MatchString(lineage) {
		return "", sdk.Problemf(sdk.Internal, "the certificate's name %q cannot be part of a path", lineage)
	}
	return filepath.Join(b.dir, lineage+suffix), nil
}

func (b book) wantedFile(lineage string) (string, error) { return b.file(lineage, ".json") }

// wanted reads what AWS is to have; nil: nothing is known.
func (b book) wanted(lineage string) (*wanted, error) {
	path, err := b.wantedFile(lineage)
	if err != nil {
		return nil, err
	}
	w := &wanted{}
	found, err := readJSON(path, w)
	if err != nil || !found {
		return nil, err
	}
	if w.Version != bookVersion {
		return nil, otherVersion(path, w.Version)
	}
	return w, nil
}

func (w *wanted) encode() ([]byte, error) {
	w.Version = bookVersion
	return json.MarshalIndent(w, "", "  ")
}

// observe writes what AWS has, outside of any checkpoint: the next one keeps it
// for a rollback.
func (b book) observe(lineage string, w *wanted) error {
	path, err := b.wantedFile(lineage)
	if err != nil {
		return err
	}
	data, err := w.encode()
	if err != nil {
		return err
	}
	return b.replace(path, data)
}

// made reads what was put into AWS.
func (b book) made(lineage string) ([]made, error) {
	content, _, err := b.madeFile(lineage)
	return content.Made, err
}

// importing reads the prints of what may be in ACM under an ARN that nobody
// lived to note.
func (b book) importing(lineage string) ([]string, error) {
	content, _, err := b.madeFile(lineage)
	return content.Importing, err
}

func (b book) madeFile(lineage string) (content madeFile, path string, err error) {
	if path, err = b.file(lineage, ".made.json"); err != nil {
		return madeFile{}, "", err
	}
	found, err := readJSON(path, &content)
	if err == nil && found && content.Version != bookVersion {
		err = otherVersion(path, content.Version)
	}
	if err != nil {
		return madeFile{}, path, err
	}
	return content, path, nil
}

// write changes what is known of what was put into AWS.
func (b book) write(lineage string, change func(*madeFile)) error {
	content, path, err := b.madeFile(lineage)
	if err != nil {
		return err
	}
	before := madeFile{Made: slices.Clone(content.Made), Importing: slices.Clone(content.Importing)}
	change(&content)
	if slices.Equal(before.Made, content.Made) && slices.Equal(before.Importing, content.Importing) {
		return nil
	}
	content.Version = bookVersion
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return b.replace(path, data)
}

func (b book) change(lineage string, change func([]made) []made) error {
	return b.write(lineage, func(f *madeFile) { f.Made = change(f.Made) })
}

// begin notes an import, before it is sent.
func (b book) begin(lineage, leaf string) error {
	return b.write(lineage, func(f *madeFile) {
		if !slices.Contains(f.Importing, leaf) {
			f.Importing = append(f.Importing, leaf)
		}
	})
}

// end forgets an import: it is known what has become of it.
func (b book) end(lineage, leaf string) error {
	return b.write(lineage, func(f *madeFile) {
		f.Importing = slices.DeleteFunc(f.Importing, func(one string) bool { return one == leaf })
	})
}

// add notes one, once, and as the current one if it is that. What is known of
// one stays known: its number is what a distribution that serves it is told by.
func (b book) add(lineage string, m made) error {
	return b.change(lineage, func(all []made) []made {
		at := slices.IndexFunc(all, m.same)
		if at < 0 {
			all, at = append(all, m), len(all)
		}
		m.Number = cmp.Or(m.Number, all[at].Number)
		m.Current = m.Current || all[at].Current
		all[at] = m
		if m.Current {
			for i := range all {
				all[i].Current = i == at
			}
		}
		return all
	})
}

// retire says that none is the current one.
func (b book) retire(lineage string) error {
	return b.change(lineage, func(all []made) []made {
		for i := range all {
			all[i].Current = false
		}
		return all
	})
}

func (b book) drop(lineage string, m made) error {
	return b.change(lineage, func(all []made) []made { return slices.DeleteFunc(all, m.same) })
}

func (m made) same(other made) bool { return m.Store == other.Store && m.ID == other.ID }

func readJSON(path string, into any) (found bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return false, fmt.Errorf("read the plugin's state %s: %w", path, err)
	}
	return true, nil
}

func otherVersion(path string, version int) error {
	err := fmt.Errorf("the plugin's state %s has format %d, this version of the plugin knows %d", path, version, bookVersion)
	return sdk.Hint(sdk.Permanent(err), "use the version of the s3front plugin that wrote it")
}

// replace writes so that a crash leaves the old file or the new one. The host
// lets one process at a time work on a certificate.
func (b book) replace(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	b.step("write " + filepath.Base(path))
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(data)
		if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
			err = os.Rename(temp, path)
		}
	}
	if err != nil {
		return fmt.Errorf("write the plugin's state: %w", err)
	}
	dir, err := os.Open(b.dir)
	if err != nil {
		return fmt.Errorf("write the plugin's state: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
