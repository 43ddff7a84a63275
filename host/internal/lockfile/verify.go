package lockfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// Platform of this program, as hashes are kept by.
const Platform = runtime.GOOS + "/" + runtime.GOARCH

// Sum gives the hash of an open file, whatever its position is.
func Sum(f io.ReaderAt) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return "", fmt.Errorf("read it: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Verify holds an open binary against the lock. Without a lock, or a fragment
// that names the plugin, there is nothing to hold it against.
func (l *Lock) Verify(name string, f io.ReaderAt) error {
	p := l.plugins[name]
	if p == nil {
		return l.unknown(name)
	}
	want := p.SHA256[Platform]
	if want == "" {
		return sdk.Hint(fmt.Errorf("%s locks %s %s for other platforms, not for %s", p.file, name, p.Version, Platform),
			"if you trust the binary, run: certwright plugins lock %s", name)
	}
	got, err := Sum(f)
	if err != nil {
		return err
	}
	if got != want {
		return sdk.Hint(fmt.Errorf("it is another binary than the one that was locked:\n  - sha256 %s  (version %s, %s)\n  + sha256 %s",
			want, p.Version, p.file, got), "if you have updated it, run: certwright plugins lock %s", name)
	}
	return nil
}

// Permit holds what a plugin says of itself against what it was granted.
func (l *Lock) Permit(d sdk.Description) error {
	p := l.plugins[d.Name]
	if p == nil {
		return l.unknown(d.Name)
	}
	more := grown(p.Permissions, d.Permissions)
	if len(more) == 0 {
		return nil
	}
	return sdk.Hint(fmt.Errorf("it asks for more than it was granted in %s:\n  + may %s", p.file, strings.Join(more, "\n  + may ")),
		"if you agree, run: certwright plugins lock %s", d.Name)
}

func (l *Lock) unknown(name string) error {
	if !l.whole {
		return nil
	}
	return sdk.Hint(fmt.Errorf("%s does not name it", l.path), "if you trust it, run: certwright plugins lock %s", name)
}
