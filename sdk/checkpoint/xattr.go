package checkpoint

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// readXAttrs gives the extended attributes of a regular file, ACLs and labels
// among them. It is not nil, also where the file system has none.
func readXAttrs(path string) (map[string][]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return fileXAttrs(f), nil
}

// fileXAttrs gives those that can be read: they are kept as far as permitted.
func fileXAttrs(f *os.File) map[string][]byte {
	out := map[string][]byte{}
	fd := int(f.Fd())
	names, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if err != nil {
		return out
	}
	for name := range strings.SplitSeq(string(names), "\x00") {
		if name == "" {
			continue
		}
		if value, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) }); err == nil {
			out[name] = value
		}
	}
	return out
}

// writeXAttrs makes the attributes of a file these, as far as is permitted;
// those that a new file inherits from its directory are removed if they are not
// among them.
func writeXAttrs(f *os.File, want map[string][]byte) {
	have := fileXAttrs(f)
	fd := int(f.Fd())
	for name := range have {
		if _, ok := want[name]; !ok {
			_ = unix.Fremovexattr(fd, name)
		}
	}
	for name, value := range want {
		if old, ok := have[name]; !ok || !bytes.Equal(old, value) {
			_ = unix.Fsetxattr(fd, name, value, 0)
		}
	}
}

// grow calls read with a buffer that is large enough, also if what is read
// grows meanwhile.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := read(nil)
		if err != nil || size == 0 {
			return []byte{}, err
		}
		buf := make([]byte, size)
		n, err := read(buf)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		return buf[:max(n, 0)], err
	}
}
