package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A manifest is a file of JSON lines: the header, one line for each path before
// it is changed, and the closing line. Each line is durable before what it
// announces is done, so a torn last line announces nothing and is ignored.
const (
	manifestName    = "manifest"
	manifestVersion = 1
)

type record struct {
	Header *header  `json:"header,omitempty"`
	Entry  *entry   `json:"entry,omitempty"`
	Final  *closing `json:"final,omitempty"`
}

type header struct {
	Version int `json:"v"`
	// Token makes the names of temporary files unique over all stores that
	// write into the same directory.
	Token     string    `json:"token"`
	Label     string    `json:"label,omitempty"`
	Temporary bool      `json:"temporary,omitempty"`
	Begun     time.Time `json:"begun"`
}

// entry is a path as it was before the first change.
type entry struct {
	Path string `json:"path"`
	Kind kind   `json:"kind"`
	// Copy is the name of the file's copy in the checkpoint's directory.
	Copy string `json:"copy,omitempty"`
	// Link is where a symlink leads.
	Link string `json:"link,omitempty"`
	// Mode, UID, GID: not for absent. MTime and XAttrs: files only.
	Mode   fs.FileMode       `json:"mode,omitempty"`
	UID    int               `json:"uid,omitempty"`
	GID    int               `json:"gid,omitempty"`
	MTime  time.Time         `json:"mtime,omitzero"`
	XAttrs map[string][]byte `json:"xattrs,omitempty"`
	// Command is run by an undo; there is no path then.
	Command []string `json:"command,omitempty"`
}

type kind string

const (
	absent  kind = "absent"
	regular kind = "file"
	symlink kind = "symlink"
	// noDirectory is a path at which a directory is about to be made.
	noDirectory kind = "no directory"
	// undoCommand is no path but a command.
	undoCommand kind = "command"
)

type closing struct {
	Title     string    `json:"title"`
	Operation string    `json:"operation,omitempty"`
	Created   time.Time `json:"created"`
	// After is the SHA-256 of each file as the checkpoint left it; a path that
	// was no file then is not in it. Nil: not known.
	After map[string]string `json:"after"`
}

type manifest struct {
	header  header
	entries []entry
	final   closing
}

func (m manifest) files() []string {
	var out []string
	for _, e := range m.entries {
		if e.Kind != undoCommand {
			out = append(out, e.Path)
		}
	}
	slices.Sort(out)
	return out
}

// holds gives the first of the paths that the manifest has registered.
func (m manifest) holds(paths ...string) (string, bool) {
	for _, e := range m.entries {
		if slices.Contains(paths, e.Path) {
			return e.Path, true
		}
	}
	return "", false
}

// readManifest reads the manifest of a checkpoint's directory. Without a whole
// first line nothing was announced: that is an empty manifest.
func readManifest(dir string) (manifest, error) {
	var m manifest
	path := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return m, nil
		}
		data = rest
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return m, fmt.Errorf("%s line %d is damaged: %w", path, n, err)
		}
		switch {
		case r.Header != nil && r.Header.Version > manifestVersion:
			return m, fmt.Errorf("%s has format %d, of a newer version; this one reads up to %d: update the plugin",
				path, r.Header.Version, manifestVersion)
		case r.Header != nil:
			m.header = *r.Header
		case r.Entry != nil:
			m.entries = append(m.entries, *r.Entry)
		case r.Final != nil:
			m.final = *r.Final
		}
	}
}

// appendRecord makes a record durable. If that fails, nothing of it stays, so
// that a later record does not follow a torn one.
func appendRecord(f *os.File, r record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	return nil
}
