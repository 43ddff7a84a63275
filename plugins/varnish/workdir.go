package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// where gives varnishd's command line: as the settings say, or as varnishd
// itself tells in its working directory.
func (s settings) where() (target, error) {
	if s.Workdir == "" {
		return target{addresses: []string{s.Address}, secretFile: s.SecretFile}, nil
	}
	t, err := readWorkdir(s.Workdir)
	if err != nil {
		err = fmt.Errorf("look up varnishd's command line in %s: %w", s.Workdir, err)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = sdk.WithCode(fmt.Errorf("%w: %w", errNotRunning, err), sdk.NotRunning)
			return target{}, sdk.Hint(sdk.Subject(err, "workdir"), "start it, or set workdir to its option -n")
		case errors.Is(err, fs.ErrPermission):
			err = sdk.WithCode(err, sdk.PermissionDenied)
			return target{}, sdk.Hint(sdk.Subject(err, "workdir"), "run certwright as root or in varnishd's group, or use address and secret_file")
		}
		return target{}, sdk.Subject(err, "workdir")
	}
	return t, nil
}

// managerDir is where the manager publishes what it was started with: an index
// of lines "+ FILE OFFSET LENGTH CLASS IDENT" (vsm(7)), and the files.
const managerDir = "_.vsm_mgt"

func readWorkdir(dir string) (target, error) {
	dir = filepath.Join(dir, managerDir)
	index, err := os.ReadFile(filepath.Join(dir, "_.index"))
	if err != nil {
		return target{}, err
	}
	var t target
	for line := range strings.Lines(string(index)) {
		f := strings.Fields(line)
		const class, ident = 4, 5
		if len(f) <= ident || f[0] != "+" || f[class] != "Arg" || f[ident] != "-T" && f[ident] != "-S" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(f[1])))
		if err != nil {
			return target{}, err
		}
		data, _, _ = bytes.Cut(data, []byte{0})
		if f[ident] == "-S" {
			t.secretFile = strings.TrimSpace(string(data))
			continue
		}
		for address := range strings.Lines(string(data)) {
			if host, port, ok := strings.Cut(strings.TrimSpace(address), " "); ok {
				t.addresses = append(t.addresses, net.JoinHostPort(host, port))
			}
		}
	}
	if len(t.addresses) == 0 {
		err := sdk.Problemf(sdk.Unsupported, "varnishd says nothing of a command line (-T)")
		return target{}, sdk.Hint(err, "start varnishd with the option -T, or use listen")
	}
	return t, nil
}
