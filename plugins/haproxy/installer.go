package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// staging is what is to be written for a certificate.
type staging struct {
	file    string
	content []byte
	// changed: something was different when it was staged first. By the next
	// name of the certificate it may be written already.
	changed bool
}

// bundleMode is that of what is written: there is a key in it.
const bundleMode = 0o600

// Deploy stages the file, after a look at whether haproxy is in order.
func (h *haproxy) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	if h.settings.CrtDir == "" {
		return notInstaller()
	}
	file, err := h.fileOf(d.Lineage)
	if err != nil {
		return err
	}
	content, err := bundle(d)
	if err != nil {
		return err
	}
	change, err := h.change(file, content)
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: d.Name, Changed: change.needed(), Endpoints: h.endpoints(file)}
	if d.DryRun {
		result.Diff = change.diff
		if err := h.ready(ctx, file, r); err != nil {
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
			if err := h.ready(ctx, file, r); err != nil {
				return err
			}
		}
		h.note(ctx, file)
		s.file, s.content, s.changed = file, content, s.changed || change.needed()
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
func (h *haproxy) fileOf(lineage string) (string, error) {
	file := filepath.Join(h.settings.CrtDir, lineage+".pem")
	// The host makes only harmless names; but they become words of commands here.
	if lineage == "" || strings.ContainsAny(lineage, "/\x00") || !onSocket.MatchString(file) {
		return "", sdk.Problemf(sdk.Internal, "the certificate's name %q cannot be part of a path", lineage)
	}
	return file, nil
}

// ready says whether haproxy is in order before anything is changed. That the
// configuration lacks the very file that is to be written is no failure.
func (h *haproxy) ready(ctx context.Context, file string, r sdk.Reporter) error {
	info, err := os.Stat(h.settings.CrtDir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", h.settings.CrtDir)
	}
	if err != nil {
		err = sdk.Subject(sdk.WithCode(fmt.Errorf("setting crt_dir: %w", err), sdk.NotFound), "crt_dir")
		return sdk.Hint(err, "create %s with mode 0700, or correct the setting", h.settings.CrtDir)
	}
	up, err := h.running(ctx)
	if err != nil {
		return h.explain(err)
	}
	err = h.testConfiguration(ctx)
	if p := sdk.ProblemOf(err); p != nil && p.Code == sdk.ConfigTestFailed {
		if h.explainsFailure(file, p.Detail) {
			r.Progress("", "haproxy's configuration lacks the certificate that is about to be written")
			err = nil
		} else {
			err = fmt.Errorf("before anything was changed: %w", err)
		}
	}
	if err == nil && !up && !h.systemd.owns(ctx, h.settings.Config) {
		return h.start(ctx, r)
	}
	return err
}

// explainsFailure says whether a failed test is only about the missing file.
func (h *haproxy) explainsFailure(file, detail string) bool {
	if _, err := os.Stat(file); err == nil {
		return false
	}
	return strings.Contains(detail, "'"+file+"'") || strings.Contains(detail, noCertificate)
}

// change is what is to be different on disk.
type change struct {
	// file: it is to be written, for its content or its mode.
	file bool
	// list is nil if the crt-list stays as it is.
	list []byte
	diff string
}

func (c change) needed() bool { return c.file || c.list != nil }

func (h *haproxy) change(file string, content []byte) (change, error) {
	var c change
	was, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, h.explainFile(fmt.Errorf("look at what is in place: %w", err))
	}
	if !bytes.Equal(was, content) {
		c.file, c.diff = true, checkpoint.DiffPEM(file, was, content)
	}
	if info, err := os.Stat(file); err == nil && info.Mode().Perm() != bundleMode {
		c.file = true
		c.diff += fmt.Sprintf("mode of %s: %04o to %04o\n", file, info.Mode().Perm(), bundleMode)
	}
	before, after, err := h.listWith(file)
	if err == nil && after != nil {
		c.list = after
		c.diff += checkpoint.Diff(h.settings.CrtList, before, after)
	}
	return c, err
}

// listWith gives the crt-list as it is and, if it lacks the file, as it is to
// be.
func (h *haproxy) listWith(file string) (before, after []byte, err error) {
	if h.settings.CrtList == "" {
		return nil, nil, nil
	}
	list, err := h.readCrtList()
	if err != nil {
		return nil, nil, err
	}
	if len(list.find(file, h.absolute())) > 0 {
		return list.bytes(), nil, nil
	}
	return list.bytes(), list.add(file).bytes(), nil
}

// endpoints are where the host looks for the new leaf. Without any it is not
// proven.
func (h *haproxy) endpoints(file string) []sdk.Endpoint {
	c, err := readConfiguration(h.settings.Config)
	if err != nil {
		return nil // the test of the configuration tells
	}
	var out []sdk.Endpoint
	for _, address := range c.endpoints(file, h.settings.CrtDir, h.settings.CrtList) {
		out = append(out, sdk.Endpoint{Address: address, Kind: sdk.TLS})
	}
	return out
}

// Save writes the file, then the line that names it.
func (h *haproxy) Save(ctx context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	return h.edits.Save(ctx, req, func(ctx context.Context, s *staging, begin func() (*checkpoint.Draft, error)) error {
		c, err := h.change(s.file, s.content)
		if err != nil || !c.needed() {
			return err
		}
		draft, err := begin()
		if err != nil {
			return err
		}
		return h.explainFile(h.write(ctx, draft, s, c, r))
	})
}

func (h *haproxy) write(ctx context.Context, draft *checkpoint.Draft, s *staging, c change, r sdk.Reporter) error {
	if c.file {
		if err := draft.WriteFile(ctx, s.file, s.content, checkpoint.Attributes{Mode: bundleMode}); err != nil {
			return err
		}
		r.Progress("", "wrote "+s.file)
	}
	if c.list != nil {
		if err := draft.WriteFile(ctx, h.settings.CrtList, c.list, checkpoint.Attributes{}); err != nil {
			return err
		}
		r.Progress("", "named it in "+h.settings.CrtList)
	}
	return nil
}

func (h *haproxy) explainFile(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		err = sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "run certwright as root, or give its user %s", h.settings.CrtDir)
	}
	return err
}

// ConfigTest runs haproxy -c.
func (h *haproxy) ConfigTest(ctx context.Context, _ sdk.Reporter) error {
	return h.testConfiguration(ctx)
}

// Restart has haproxy serve what is on disk: by its runtime API, or by a reload
// where that is not configured or cannot do it.
func (h *haproxy) Restart(ctx context.Context, r sdk.Reporter) error {
	if h.settings.CrtDir == "" {
		return nil
	}
	up, err := h.running(ctx)
	if err != nil {
		return h.explain(err)
	}
	if !up {
		return h.start(ctx, r) // it reads the files
	}
	if h.settings.Socket == "" {
		return h.reload(ctx)
	}
	var errs []error
	for _, file := range h.concerned(ctx) {
		errs = append(errs, h.synced(ctx, file, false))
	}
	err = errors.Join(errs...)
	if err == nil || h.settings.Reload == "" || !reloadHelps(err) {
		return h.explain(err)
	}
	r.Progress("", fmt.Sprintf("reloading haproxy, because %v", err))
	return h.reload(ctx)
}

// concerned gives the files of the operation's certificate: the one of its name,
// in a new process too, and what was staged for it.
func (h *haproxy) concerned(ctx context.Context) []string {
	lineage := sdk.OperationFrom(ctx).Lineage
	h.mu.Lock()
	out := slices.Clone(h.staged[lineage])
	h.mu.Unlock()
	if file, err := h.fileOf(lineage); err == nil && !slices.Contains(out, file) {
		out = append(out, file)
	}
	return out
}

func (h *haproxy) note(ctx context.Context, file string) {
	lineage := sdk.OperationFrom(ctx).Lineage
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.staged[lineage], file) {
		h.staged[lineage] = append(h.staged[lineage], file)
	}
}

// reloadHelps says whether a failure is the runtime API's, not the
// certificate's.
func reloadHelps(err error) bool {
	return slices.ContainsFunc([]error{errLevel, errUnknown, errSilent, errNotNamed, errKept},
		func(target error) bool { return errors.Is(err, target) })
}

func (h *haproxy) synced(ctx context.Context, file string, lazy bool) error {
	if err := h.changing.enter(ctx); err != nil {
		return err
	}
	defer h.changing.leave()
	return h.sync(ctx, file, lazy)
}

// Rollback puts the files back, and the running haproxy with them.
func (h *haproxy) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	before, err := h.edits.Store().List()
	if err != nil {
		return err
	}
	err = h.edits.Rollback(ctx, count, r)
	if h.settings.Socket == "" || h.settings.CrtDir == "" {
		return err
	}
	after, listErr := h.edits.Store().List()
	errs := []error{err, listErr}
	files := h.takenBack(before, after)
	if count > 0 {
		files = append(files, h.concerned(ctx)...)
	}
	for _, file := range files {
		err := h.synced(ctx, file, true)
		switch {
		case errors.Is(err, errNotRunning), errors.Is(err, errLevel), errors.Is(err, errUnknown):
			// It has not got there what we could not bring there.
		case err != nil && h.settings.Reload != "" && reloadHelps(err):
			errs = append(errs, h.reload(ctx))
		default:
			errs = append(errs, h.explain(err))
		}
	}
	return errors.Join(errs...)
}

// takenBack gives the certificates whose checkpoints are gone.
func (h *haproxy) takenBack(before, after []checkpoint.Checkpoint) []string {
	var out []string
	for _, c := range before {
		if slices.ContainsFunc(after, func(a checkpoint.Checkpoint) bool { return a.ID == c.ID }) {
			continue
		}
		for _, path := range c.Files {
			file := filepath.Join(h.settings.CrtDir, filepath.Base(path))
			if filepath.Ext(path) == ".pem" && samePath(file, path) && !slices.Contains(out, file) {
				out = append(out, file)
			}
		}
	}
	return out
}
