// Command certwright-plugin-sites is an installer for stories: its server's
// configuration is one line for each site, "NAME [tls=FILE] [redirect] [hsts]".
package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

type settings struct {
	Config    string   `setting:"config,required" doc:"the configuration"`
	Endpoints []string `setting:"endpoints" doc:"where it is served"`
}

type sites struct {
	settings settings
	edits    *checkpoint.Edits[[]change]
}

// change adds a word to the line of a name, in place of another one with the
// same beginning.
type change struct{ name, word string }

func main() {
	s := &sites{}
	sdk.Serve(sdk.Plugin{
		Name: "sites", Version: "1.0.0", Summary: "sites of a story", Settings: &s.settings, Installer: s,
		ExclusiveResources: []sdk.Resource{{Kind: "server", Value: sdk.FromSetting("config")}},
		// It is its own server too, which reads whatever the configuration names.
		Permissions: sdk.Permissions{Read: []sdk.Value{sdk.Literal("/")}, Write: []sdk.Value{sdk.FromSetting("config")}},
	})
}

func (s *sites) Configure(ctx context.Context, i sdk.Instance) error {
	if i.ValidateOnly {
		return nil
	}
	store, err := checkpoint.Open(i.StateDir)
	if err != nil {
		return err
	}
	s.edits = checkpoint.NewEdits[[]change](ctx, store)
	return nil
}

// Health fails by the word of the configuration; what "expired" says is found only
// by trying the credentials.
func (s *sites) Health(_ context.Context, deep bool) error {
	text, err := os.ReadFile(s.settings.Config)
	if err == nil && deep && bytes.Contains(text, []byte("expired")) {
		err = sdk.Hint(sdk.Problemf(sdk.Credentials, "the token has expired"), "make another token")
	}
	return err
}

func (s *sites) Names(context.Context) ([]sdk.Site, error) {
	text, err := os.ReadFile(s.settings.Config)
	if err != nil {
		return nil, err
	}
	var out []sdk.Site
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 {
			out = append(out, sdk.Site{ID: words[0], Names: words[:1], File: s.settings.Config, TLS: strings.Contains(line, "tls=")})
		}
	}
	return out, nil
}

func (s *sites) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	wanted := change{d.Name, "tls=" + d.ConfigPaths.Fullchain}
	was, is, err := s.render([]change{wanted})
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: d.Name, Changed: !bytes.Equal(was, is)}
	for _, address := range s.settings.Endpoints {
		result.Endpoints = append(result.Endpoints, sdk.Endpoint{Address: address})
	}
	if d.DryRun {
		result.Diff = checkpoint.Diff(s.settings.Config, was, is)
		r.Result(result)
		return nil
	}
	r.Result(result)
	return s.stage(ctx, wanted)
}

func (s *sites) Enhance(ctx context.Context, name, enhancement string, _ sdk.Reporter) error {
	if _, _, err := s.render([]change{{name, enhancement}}); err != nil {
		return err
	}
	return s.stage(ctx, change{name, enhancement})
}

func (s *sites) stage(ctx context.Context, c change) error {
	return s.edits.Stage(ctx, func(staged *[]change) error {
		*staged = append(*staged, c)
		return nil
	})
}

func (s *sites) render(changes []change) (was, is []byte, err error) {
	if was, err = os.ReadFile(s.settings.Config); err != nil {
		return nil, nil, err
	}
	lines := strings.SplitAfter(string(was), "\n")
	for _, c := range changes {
		at := slices.IndexFunc(lines, func(line string) bool {
			return strings.HasPrefix(line+" ", c.name+" ") || strings.HasPrefix(line, c.name+"\n")
		})
		if at < 0 {
			return nil, nil, sdk.Problemf(sdk.NotFound, "no site is called %s in %s", c.name, s.settings.Config)
		}
		words := strings.Fields(lines[at])
		kind, _, _ := strings.Cut(c.word, "=")
		if has := slices.IndexFunc(words, func(w string) bool { return w == kind || strings.HasPrefix(w, kind+"=") }); has >= 0 {
			words[has] = c.word
		} else {
			words = append(words, c.word)
		}
		lines[at] = strings.Join(words, " ") + "\n"
	}
	return was, []byte(strings.Join(lines, "")), nil
}

func (s *sites) Save(ctx context.Context, req sdk.SaveRequest, _ sdk.Reporter) (sdk.Checkpoint, error) {
	return s.edits.Save(ctx, req, func(ctx context.Context, staged *[]change, begin func() (*checkpoint.Draft, error)) error {
		was, is, err := s.render(*staged)
		if err != nil || bytes.Equal(was, is) {
			return err
		}
		draft, err := begin()
		if err != nil {
			return err
		}
		return draft.WriteFile(ctx, s.settings.Config, is, checkpoint.Attributes{})
	})
}

func (s *sites) ConfigTest(context.Context, sdk.Reporter) error {
	text, err := os.ReadFile(s.settings.Config)
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(string(text)) {
		if word == "broken" {
			return sdk.Problemf(sdk.ConfigTestFailed, "the configuration is broken")
		}
		if file, ok := strings.CutPrefix(word, "tls="); ok {
			if _, err := os.Stat(file); err != nil {
				return sdk.WithCode(err, sdk.ConfigTestFailed)
			}
		}
	}
	return nil
}

func (s *sites) Restart(context.Context, sdk.Reporter) error {
	text, err := os.ReadFile(s.settings.Config)
	if err != nil {
		return err
	}
	if bytes.Contains(text, []byte("down")) {
		return errors.New("the server is down")
	}
	return errors.Join(os.WriteFile(s.settings.Config+".live", text, 0o600), s.reload(string(text)))
}

// reload copies what the first site with TLS serves from now on.
func (s *sites) reload(text string) error {
	served := s.settings.Config + ".pem"
	for _, word := range strings.Fields(text) {
		file, ok := strings.CutPrefix(word, "tls=")
		if !ok {
			continue
		}
		chain, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		key, err := os.ReadFile(filepath.Join(filepath.Dir(file), "privkey.pem"))
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(served+".new", append(chain, key...), 0o600), os.Rename(served+".new", served))
	}
	if err := os.Remove(served); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *sites) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return s.edits.Rollback(ctx, count, r)
}
