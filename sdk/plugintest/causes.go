package plugintest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// untried is why a check was not tried: another one failed, on which it builds.
// The cause is told once, by that one.
type untried string

func (u untried) Error() string {
	return string(u) + " failed, and nothing that builds on it can be tried before that is mended"
}

// What checks build on, beside challenge types, which stand for Perform of one.
const (
	launching   = "launch"
	configuring = "Configure"
)

// notStarted is the failure to start the plugin.
type notStarted struct{ error }

func (n notStarted) Unwrap() error { return n.error }

// remember notes what a failed check takes away from those after it.
func (b *bench) remember(check string, err error) {
	kind, rest, _ := strings.Cut(check, "/")
	var started notStarted
	switch {
	case errors.As(err, &started):
		b.causes[launching] = check
	case check == "configure/accept":
		b.causes[configuring] = check
	case rest == "perform" && slices.Contains(knownTypes, kind):
		b.causes[kind] = check
	}
}

// possible is nil, or an untried.
func (b *bench) possible(step string) error {
	if check := b.causes[step]; check != "" {
		return untried(check)
	}
	return nil
}

// removed says of something that the suite has put there why it is gone.
func removed(err error, what string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is gone: an earlier Cleanup of the plugin has removed the whole directory, which belongs to the site; "+
			"remove single responses only", what)
	}
	return err
}
