package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
	"github.com/certwright/certwright/sdk/service"
)

// icecast is the installer: one instance is one running Icecast, which has one
// certificate.
type icecast struct {
	settings settings
	edits    *checkpoint.Edits[staging]
	unit     service.Unit
	// step, if set, is called before each change outside of this process. It is
	// there for tests that kill the process, or break something, at every step.
	step func(what string)

	mu sync.Mutex
	// lineage whose certificate is on its way, or is deployed by this process.
	lineage string
}

var _ interface {
	sdk.Installer
	sdk.Configurer
	sdk.ConfigTester
	sdk.Rollbacker
	sdk.Namer
	sdk.HealthChecker
} = (*icecast)(nil)

// staging is what is to be written.
type staging struct {
	content []byte
	owner   owner
	staged  bool
	// changed: something was different when it was staged first.
	changed bool
}

// bundleMode is that of the bundle: there is a key in it.
const bundleMode = 0o600

func newIcecast() *icecast {
	return &icecast{unit: service.Unit{Name: unit}}
}

func (i *icecast) at(format string, args ...any) {
	if i.step != nil {
		i.step(fmt.Sprintf(format, args...))
	}
}

// Configure checks the settings, and undoes what a crash left.
func (i *icecast) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := i.settings.check(); err != nil || instance.ValidateOnly {
		return err
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	store, err := checkpoint.Open(instance.StateDir)
	if err != nil {
		return err
	}
	store.Step = i.step
	i.edits = checkpoint.NewEdits[staging](ctx, store)
	i.edits.Dropped = func(*staging) { i.disown() }
	return nil
}

// Health says whether the configuration can be read, and whether Icecast runs as
// far as is known.
func (i *icecast) Health(ctx context.Context, _ bool) error {
	if _, err := i.document(); err != nil {
		return err
	}
	return i.running(ctx)
}

// document reads the configuration.
func (i *icecast) document() (document, error) {
	data, err := os.ReadFile(i.settings.Config)
	var d document
	if err == nil {
		d, err = read(data)
	}
	if err == nil {
		return d, nil
	}
	err = fmt.Errorf("read Icecast's configuration %s: %w", i.settings.Config, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d, sdk.Hint(sdk.Subject(sdk.WithCode(err, sdk.NotFound), "config"), "install Icecast, or correct the setting config")
	case errors.Is(err, fs.ErrPermission):
		return d, sdk.Hint(sdk.Subject(sdk.WithCode(err, sdk.PermissionDenied), "config"), "run certwright as root")
	}
	if sdk.ProblemOf(err).Hint == "" {
		err = sdk.Hint(err, "mend it; xmllint --noout %s shows where it is wrong", i.settings.Config)
	}
	return d, sdk.Subject(err, i.settings.Config)
}

// Deploy stages the bundle, after a look at whether Icecast is in order.
func (i *icecast) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	content, err := bundle(d)
	if err != nil {
		return err
	}
	doc, err := i.document()
	if err != nil {
		return fmt.Errorf("before anything was changed: %w", err)
	}
	owner, err := i.owner(doc)
	if err != nil {
		return err
	}
	s := &staging{content: content, owner: owner}
	c, err := i.change(s)
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: d.Name, Changed: c.needed(), Endpoints: i.endpoints(c.document)}
	if d.DryRun {
		result.Diff = c.diff(i.settings)
		if err := i.running(ctx); err != nil {
			r.Progress("", fmt.Sprintf("a deployment would fail: %v", err))
		}
		r.Result(result)
		return nil
	}
	if err := i.edits.Unrecovered(ctx); err != nil {
		r.Progress("", fmt.Sprintf("an interrupted deployment is not undone yet: %v", err))
	}
	err = i.edits.Stage(ctx, func(s *staging) error {
		if !s.staged {
			if err := i.running(ctx); err != nil && !i.unit.Exists(ctx) {
				return err
			}
		}
		if err := i.own(d.Lineage); err != nil {
			return err
		}
		*s = staging{content: content, owner: owner, staged: true, changed: s.changed || c.needed()}
		result.Changed = s.changed
		return nil
	})
	if err != nil {
		return err
	}
	r.Result(result)
	return nil
}

func (i *icecast) own(lineage string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.lineage != "" && i.lineage != lineage {
		err := sdk.Problemf(sdk.Conflict, "Icecast has the certificate %s already, so not %s", i.lineage, lineage)
		return sdk.Hint(sdk.Permanent(err), "put all names of one Icecast into one certificate")
	}
	i.lineage = lineage
	return nil
}

func (i *icecast) disown() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lineage = ""
}

// change is what is to be different on disk.
type change struct {
	wasBundle, bundle []byte
	// write: the bundle is to be written, for its content, mode or owner.
	write bool
	// wasConfig and config are the same if that is to stay.
	wasConfig, config []byte
	// document is the configuration as it is to be.
	document document
}

func (c change) needed() bool { return c.write || !bytes.Equal(c.wasConfig, c.config) }

func (c change) diff(s settings) string {
	out := checkpoint.Diff(s.Config, passwordless(c.wasConfig), passwordless(c.config))
	if !bytes.Equal(c.wasBundle, c.bundle) {
		out += checkpoint.DiffPEM(s.Bundle, c.wasBundle, c.bundle)
	} else if c.write {
		out += fmt.Sprintf("mode or owner of %s\n", s.Bundle)
	}
	return out
}

func (i *icecast) change(s *staging) (change, error) {
	doc, err := i.document()
	if err != nil {
		return change{}, err
	}
	c := change{bundle: s.content, wasConfig: doc.data}
	if c.config, err = doc.withTLS(i.settings.Bundle, i.settings.SSLPort); err == nil {
		c.document, err = read(c.config)
	}
	if err != nil {
		return c, sdk.Subject(fmt.Errorf("configure TLS in %s: %w", i.settings.Config, err), i.settings.Config)
	}
	c.wasBundle, err = os.ReadFile(i.settings.Bundle)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, explainFile(fmt.Errorf("look at what is in place: %w", err))
	}
	c.write = !bytes.Equal(c.wasBundle, c.bundle) || !s.owner.has(i.settings.Bundle)
	return c, nil
}

func (i *icecast) endpoints(d document) []sdk.Endpoint {
	addresses := i.settings.Endpoints
	if len(addresses) == 0 {
		addresses = d.endpoints()
	}
	var out []sdk.Endpoint
	for _, address := range addresses {
		out = append(out, sdk.Endpoint{Address: address, Kind: sdk.TLS})
	}
	return out
}

// Save writes the bundle, then the configuration that names it.
func (i *icecast) Save(ctx context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	return i.edits.Save(ctx, req, func(ctx context.Context, s *staging, begin func() (*checkpoint.Draft, error)) error {
		c, err := i.change(s)
		if err != nil || !c.needed() {
			return err
		}
		draft, err := begin()
		if err != nil {
			return err
		}
		if c.write {
			want := checkpoint.Attributes{Mode: bundleMode, UID: s.owner.uid, GID: s.owner.gid}
			if err := draft.WriteFile(ctx, i.settings.Bundle, c.bundle, want); err != nil {
				return explainFile(err)
			}
			r.Progress("", "wrote "+i.settings.Bundle)
		}
		if !bytes.Equal(c.wasConfig, c.config) {
			if err := draft.WriteFile(ctx, i.settings.Config, c.config, checkpoint.Attributes{}); err != nil {
				return explainFile(err)
			}
			r.Progress("", "configured TLS in "+i.settings.Config)
		}
		return nil
	})
}

func explainFile(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		err = sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "run certwright as root")
	}
	return err
}

// ConfigTest reads what Icecast will read. It has no test of its own, and starts
// without TLS where something is wrong with the certificate.
func (i *icecast) ConfigTest(context.Context, sdk.Reporter) error {
	i.at("test")
	doc, err := i.document()
	if err != nil {
		return sdk.WithCode(err, sdk.ConfigTestFailed)
	}
	c := doc.certificate()
	if c == nil || len(doc.endpoints()) == 0 {
		return nil // there is no TLS, as before a first deployment
	}
	file := doc.outside(c.text)
	if _, err := tls.LoadX509KeyPair(file, file); err != nil {
		p := sdk.Problemf(sdk.ConfigTestFailed, "Icecast would start without TLS: %w", err)
		p.Detail, p.Subject = fmt.Sprintf("%s is no certificate with its key", file), file
		p.Hint = "put the certificate, its chain and its key into it, or run certwright install"
		return p
	}
	return nil
}

// Rollback puts the files back.
func (i *icecast) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return i.edits.Rollback(ctx, count, r)
}

// Names gives the hostname of the configuration.
func (i *icecast) Names(context.Context) ([]sdk.Site, error) {
	doc, err := i.document()
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(strings.TrimSpace(doc.root.value("hostname")))
	if name == "" || name == "localhost" || strings.ContainsAny(name, " ?:/") {
		return nil, nil
	}
	return []sdk.Site{{ID: i.settings.Config, Names: []string{name}, File: i.settings.Config, TLS: len(doc.endpoints()) > 0}}, nil
}
