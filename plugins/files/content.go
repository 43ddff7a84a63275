package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// content is a file as it is to be.
type content struct {
	setting string
	path    string
	data    []byte
	want    checkpoint.Attributes
}

// render gives the files of one certificate.
func (c config) render(d sdk.Deployment) ([]content, error) {
	// The host makes only harmless names; but they become parts of paths here.
	if d.Lineage == "" || d.Lineage == "." || d.Lineage == ".." || strings.ContainsAny(d.Lineage, "/\x00") {
		return nil, sdk.Problemf(sdk.Internal, "the certificate's name %q cannot be part of a path", d.Lineage)
	}
	var out []content
	seen := map[string]string{}
	for _, t := range c.targets {
		f := content{
			setting: t.setting, path: strings.ReplaceAll(t.path, placeholder, d.Lineage),
			want: checkpoint.Attributes{Mode: t.mode, UID: c.uid, GID: c.gid},
		}
		for _, p := range t.parts {
			piece, err := pieceOf(d, p)
			if err != nil {
				return nil, fmt.Errorf("%s for %s: %w", f.path, d.Lineage, err)
			}
			f.data = append(f.data, piece...)
		}
		if err := checkDirectory(filepath.Dir(f.path)); err != nil {
			return nil, sdk.Subject(sdk.WithCode(fmt.Errorf("%s for %s: %w", t.setting, d.Lineage, err), sdk.NotFound), t.setting)
		}
		// Two settings may lead to one file by a symlink.
		resolved, err := checkpoint.Resolve(f.path)
		if err != nil {
			return nil, fmt.Errorf("%s for %s: %w", t.setting, d.Lineage, err)
		}
		if other, ok := seen[resolved]; ok {
			return nil, sdk.Permanent(sdk.Problemf(sdk.Conflict, "%s and %s are the same file, %s", other, t.setting, resolved))
		}
		seen[resolved] = t.setting
		out = append(out, f)
	}
	return out, nil
}

// pieceOf gives a part as whole lines, so that parts can follow each other.
func pieceOf(d sdk.Deployment, p part) ([]byte, error) {
	var pem []byte
	switch p {
	case leaf:
		pem = d.LeafPEM
	case chain:
		pem = d.ChainPEM
	case full:
		pem = d.FullchainPEM
	case key:
		pem = d.KeyPEM
	}
	// A chain may be empty: the CA's own certificate may have signed the leaf.
	if len(pem) == 0 && p != chain {
		return nil, sdk.Problemf(sdk.Internal, "the host has handed over no %s", p)
	}
	if len(pem) > 0 && pem[len(pem)-1] != '\n' {
		pem = append(bytes.Clone(pem), '\n')
	}
	return pem, nil
}

// difference is how a file is to change.
type difference struct {
	content
	isNew    bool
	old      []byte
	mode     fs.FileMode
	uid, gid int
}

// compare looks at the file in place. ok is false if it is as it is to be.
func (c content) compare() (d difference, ok bool, err error) {
	d.content = c
	info, err := existing(c.path)
	if err == nil && info != nil {
		d.old, err = os.ReadFile(c.path)
	}
	if errors.Is(err, fs.ErrPermission) {
		err = sdk.WithCode(err, sdk.PermissionDenied)
	}
	if err != nil {
		return d, false, sdk.Subject(fmt.Errorf("look at what is in place for %s: %w", c.setting, err), c.setting)
	}
	if info == nil {
		d.isNew = true
		return d, true, nil
	}
	d.mode, d.uid, d.gid = info.Mode().Perm(), -1, -1
	if st, isStat := info.Sys().(*syscall.Stat_t); isStat {
		d.uid, d.gid = int(st.Uid), int(st.Gid)
	}
	return d, !bytes.Equal(d.old, c.data) || d.mode != c.want.Mode || d.ownerDiffers(), nil
}

func (d difference) ownerDiffers() bool {
	return d.want.UID != nil && *d.want.UID != d.uid || d.want.GID != nil && *d.want.GID != d.gid
}
