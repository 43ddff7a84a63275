package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
	"github.com/certwright/certwright/sdk/service"
)

// hitch is the installer: one instance is one running hitch.
type hitch struct {
	settings settings
	edits    *checkpoint.Edits[staging]
	ages     ages
	unit     service.Unit
	// step, if set, is called before each change outside of this process. It is
	// there for tests that kill the process, or break something, at every step.
	step func(what string)

	mu sync.Mutex
	// owners of each file.
	owners map[string]string
}

var _ interface {
	sdk.Installer
	sdk.Configurer
	sdk.ConfigTester
	sdk.Rollbacker
	sdk.Namer
	sdk.HealthChecker
} = (*hitch)(nil)

// staging is what is to be written for a certificate.
type staging struct {
	lineage, file string
	content       []byte
	// changed: something was different when it was staged first.
	changed bool
}

// fileMode is that of what is written: there is a key in it.
const fileMode = 0o600

func newHitch() *hitch {
	return &hitch{unit: service.Unit{Name: unit}, owners: map[string]string{}}
}

func (h *hitch) at(format string, args ...any) {
	if h.step != nil {
		h.step(fmt.Sprintf(format, args...))
	}
}

// Configure checks the settings, and undoes what a crash left.
func (h *hitch) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := h.settings.check(); err != nil || instance.ValidateOnly {
		return err
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	store, err := checkpoint.Open(instance.StateDir)
	if err != nil {
		return err
	}
	store.Step = h.step
	h.ages.path = filepath.Join(instance.StateDir, "ages.json")
	h.edits = checkpoint.NewEdits[staging](ctx, store)
	h.edits.Dropped = h.disown
	return nil
}

// Health says whether hitch runs, and with deep whether it accepts its
// configuration.
func (h *hitch) Health(ctx context.Context, deep bool) error {
	if err := h.running(ctx); err != nil || !deep {
		return err
	}
	return h.test(ctx)
}

// Deploy stages the file, after a look at whether hitch is in order.
func (h *hitch) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	file, err := h.fileOf(d.Lineage)
	if err != nil {
		return err
	}
	was, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explainFile(fmt.Errorf("look at what is in place: %w", err), file)
	}
	content, err := bundle(d, was)
	if err != nil {
		return err
	}
	c, err := h.conf()
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: d.Name, Changed: !h.inPlace(file, content), Endpoints: h.endpoints(c, file)}
	if len(result.Endpoints) == 0 {
		r.Progress("", "nobody will look at what hitch serves: no frontend of it has a host and port; set endpoints")
	}
	if d.DryRun {
		if result.Changed {
			result.Diff = checkpoint.DiffPEM(file, was, content)
		}
		if err := h.ready(ctx, c, file); err != nil {
			r.Progress("", fmt.Sprintf("a deployment would fail: %v", err))
		}
		r.Result(result)
		return nil
	}
	if err := h.edits.Unrecovered(ctx); err != nil {
		r.Progress("", fmt.Sprintf("an interrupted deployment is not undone yet: %v", err))
	}
	err = h.edits.Stage(ctx, func(s *staging) error {
		if s.file == "" {
			// Nothing of ours is in place yet: what is wrong now is not our doing.
			if err := h.ready(ctx, c, file); err != nil {
				return err
			}
		}
		if err := h.own(d.Lineage, file); err != nil {
			return err
		}
		s.lineage, s.file, s.content, s.changed = d.Lineage, file, content, s.changed || result.Changed
		result.Changed = s.changed
		return nil
	})
	if err != nil {
		return err
	}
	r.Result(result)
	return nil
}

// fileOf gives the path of a certificate.
func (h *hitch) fileOf(lineage string) (string, error) {
	if h.settings.PemFile != "" {
		return h.settings.PemFile, nil
	}
	if lineage == "" || strings.ContainsAny(lineage, "/\x00") {
		return "", sdk.Problemf(sdk.Internal, "the certificate's name %q cannot be part of a path", lineage)
	}
	return filepath.Join(h.settings.PemDir, lineage+".pem"), nil
}

func (h *hitch) own(lineage, file string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if owner, ok := h.owners[file]; ok && owner != lineage {
		err := sdk.Problemf(sdk.Conflict, "%s is deployed for the certificate %s already, so not for %s", file, owner, lineage)
		return sdk.Hint(sdk.Subject(sdk.Permanent(err), "pem_file"), "use pem_dir for several certificates")
	}
	h.owners[file] = lineage
	return nil
}

func (h *hitch) disown(s *staging) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.owners, s.file)
}

func (h *hitch) conf() (conf, error) {
	c, err := readConf(h.settings.Config)
	if err != nil {
		err = fmt.Errorf("read hitch's configuration: %w", err)
		if errors.Is(err, fs.ErrNotExist) {
			err = sdk.WithCode(err, sdk.NotFound)
		}
		return c, sdk.Hint(sdk.Subject(err, "config"), "correct the setting config")
	}
	return c, nil
}

// ready says whether hitch is in order before anything is changed, and whether
// it will read the file.
func (h *hitch) ready(ctx context.Context, c conf, file string) error {
	if err := h.served(c, file); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
		err := sdk.Problemf(sdk.NotFound, "%s is not a directory", filepath.Dir(file))
		return sdk.Hint(err, "create it with mode 0700, or correct the setting")
	}
	if err := h.running(ctx); err != nil && !h.startable(ctx) {
		return err
	}
	err := h.test(ctx)
	if p := sdk.ProblemOf(err); p != nil && p.Code == sdk.ConfigTestFailed {
		if _, missing := os.Stat(file); errors.Is(missing, fs.ErrNotExist) && strings.Contains(p.Detail, file) {
			return nil // it lacks the very file that is to be written
		}
		err = fmt.Errorf("before anything was changed: %w", err)
	}
	return err
}

// served says whether hitch.conf is such that hitch serves the file, once it is
// written, and nothing else that is there meanwhile.
func (h *hitch) served(c conf, file string) error {
	setting := "pem_dir"
	if h.settings.PemFile != "" {
		setting = "pem_file"
	}
	refuse := func(hint, format string, args ...any) error {
		err := sdk.Problemf(sdk.InvalidConfig, format, args...)
		err.Subject, err.Hint = setting, hint
		return err
	}
	if !c.loads(file) {
		return refuse(fmt.Sprintf("write pem-dir = %q or pem-file = %q into %s, or correct the setting %s", filepath.Dir(file), file, h.settings.Config, setting),
			"%s does not lead to %s, so hitch would not serve it", h.settings.Config, file)
	}
	if info, err := os.Lstat(file); err == nil && info.Mode().Type() == fs.ModeSymlink && !c.byName(file) {
		return refuse(fmt.Sprintf("remove the symlink, or write pem-file = %q into %s", file, h.settings.Config),
			"%s is a symlink, which hitch passes over in its pem-dir", file)
	}
	if named(c.keyed, file) {
		return refuse("remove private-key there: the key is in the same file as the certificate",
			"%s names a private-key for %s", h.settings.Config, file)
	}
	if c.global(checkpoint.Unfinished(followed(file))) {
		return refuse(fmt.Sprintf("write pem-dir-glob = \"*.pem\" into %s", h.settings.Config),
			"%s has hitch load whatever is in %s: it would not start with a file that is being written", h.settings.Config, c.pemDir)
	}
	return nil
}

func (h *hitch) inPlace(file string, content []byte) bool {
	was, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(was, content) {
		return false
	}
	info, err := os.Stat(file)
	return err == nil && info.Mode().Perm() == fileMode
}

// endpoints are where the host looks for the new leaf.
func (h *hitch) endpoints(c conf, file string) []sdk.Endpoint {
	addresses := h.settings.Endpoints
	if len(addresses) == 0 {
		addresses = c.endpoints(file)
	}
	var out []sdk.Endpoint
	for _, address := range addresses {
		out = append(out, sdk.Endpoint{Address: address, Kind: sdk.TLS})
	}
	return out
}

// Save writes the file.
func (h *hitch) Save(ctx context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	return h.edits.Save(ctx, req, func(ctx context.Context, s *staging, begin func() (*checkpoint.Draft, error)) error {
		if h.inPlace(s.file, s.content) {
			return nil
		}
		draft, err := begin()
		if err != nil {
			return err
		}
		// Before it is replaced, so that what is loaded now is known to be older.
		if err := h.ages.note(s.file); err != nil {
			return err
		}
		if err := draft.WriteFile(ctx, s.file, s.content, checkpoint.Attributes{Mode: fileMode}); err != nil {
			return explainFile(err, s.file)
		}
		r.Progress("", "wrote "+s.file)
		return nil
	})
}

func explainFile(err error, file string) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if target := followed(file); target != filepath.Join(followed(filepath.Dir(file)), filepath.Base(file)) {
		return sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "%s leads to %s: put a file in place of the symlink, or name that file in hitch.conf and as pem_file",
			file, target)
	}
	return sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "run certwright as root, or give its user %s", filepath.Dir(file))
}

// ConfigTest runs hitch --test, which loads every certificate and its key.
func (h *hitch) ConfigTest(ctx context.Context, _ sdk.Reporter) error { return h.test(ctx) }

// Restart has hitch read its files again. It reads a file only if that is newer
// than what it has, and one that was put back is older: it gets a new time.
func (h *hitch) Restart(ctx context.Context, r sdk.Reporter) error {
	if err := h.running(ctx); err != nil {
		return h.start(ctx, r, err)
	}
	files, err := h.concerned(ctx)
	if err != nil {
		return err
	}
	for _, file := range files {
		h.at("renew the time of %s", file)
		if err := h.ages.renew(file); err != nil {
			return explainFile(err, file)
		}
	}
	return h.reload(ctx)
}

// concerned gives the files of the operation's certificate; of an operation on
// no certain one, all that may be ours.
func (h *hitch) concerned(ctx context.Context) ([]string, error) {
	lineage := sdk.OperationFrom(ctx).Lineage
	if lineage == "" && h.settings.PemFile == "" {
		return filepath.Glob(filepath.Join(h.settings.PemDir, "*.pem"))
	}
	file, err := h.fileOf(lineage)
	return []string{file}, err
}

// Rollback puts the files back.
func (h *hitch) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return h.edits.Rollback(ctx, count, r)
}

// Names gives the names in the certificates that hitch has.
func (h *hitch) Names(context.Context) ([]sdk.Site, error) {
	c, err := h.conf()
	if err != nil {
		return nil, err
	}
	var out []sdk.Site
	for _, file := range c.every() {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // hitch's own test will tell
		}
		if leaf := leafOf(data); leaf != nil && len(leaf.DNSNames) > 0 {
			out = append(out, sdk.Site{ID: file, Names: leaf.DNSNames, File: file, TLS: true})
		}
	}
	return out, nil
}
