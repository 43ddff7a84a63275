package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "example.com/certwright-plugin-v1plugin/pluginv1"
)

// installer keeps one file. Its state directory holds what was there before:
// "unfinished" until a Save with a title, then one numbered file for each.
type installer struct {
	pb.UnimplementedInstallerServer
	*state
}

// absent is what is kept of a file that was not there.
const absent = "\x00"

func (i installer) Deploy(req *pb.DeployRequest, s stream) error {
	defer i.begin(req.GetOperation())()
	chain := req.GetDeployment().GetFullchainPem()
	now, err := os.ReadFile(i.settings.Target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return done(s, &pb.Done{Problem: failure(pb.Problem_PERMISSION, "the target could not be read", err)})
	}
	r := &pb.Result{Subject: i.settings.Target, Changed: !bytes.Equal(now, chain)}
	if req.GetDeployment().GetDryRun() {
		if r.GetChanged() {
			r.Diff = "+ a certificate for " + req.GetDeployment().GetName() + "\n"
		}
	} else {
		i.mu.Lock()
		i.staged = chain
		i.mu.Unlock()
	}
	if err := result(s, r); err != nil {
		return err
	}
	return done(s, &pb.Done{})
}

func (i installer) Save(req *pb.SaveRequest, s stream) error {
	defer i.begin(req.GetOperation())()
	i.mu.Lock()
	defer i.mu.Unlock()
	d := &pb.Done{}
	if err := i.save(req.GetTitle(), d); err != nil {
		d.Problem = failure(pb.Problem_PERMISSION, "the certificate could not be saved", err)
	}
	return done(s, d)
}

func (i installer) save(title string, d *pb.Done) error {
	unfinished := filepath.Join(i.stateDir, "unfinished")
	if title != "" {
		kept, err := filepath.Glob(filepath.Join(i.stateDir, "checkpoint-*"))
		if err != nil {
			return err
		}
		id := fmt.Sprintf("checkpoint-%06d", len(kept)+1)
		if err := os.Rename(unfinished, filepath.Join(i.stateDir, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		d.Checkpoint = &pb.Checkpoint{Id: id, Title: title, Created: timestamppb.Now(), Files: []string{i.settings.Target}}
		return nil
	}
	before, err := os.ReadFile(i.settings.Target)
	if errors.Is(err, fs.ErrNotExist) {
		before, err = []byte(absent), nil
	}
	if err != nil || i.staged == nil || bytes.Equal(before, i.staged) {
		return err
	}
	if _, err := os.Stat(unfinished); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(unfinished, before, 0o600); err != nil {
			return err
		}
	}
	return write(i.settings.Target, i.staged)
}

func (i installer) ConfigTest(req *pb.ConfigTestRequest, s stream) error {
	defer i.begin(req.GetOperation())()
	return done(s, &pb.Done{})
}

func (i installer) Restart(req *pb.RestartRequest, s stream) error {
	defer i.begin(req.GetOperation())()
	return done(s, &pb.Done{})
}

func (i installer) Rollback(req *pb.RollbackRequest, s stream) error {
	defer i.begin(req.GetOperation())()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.staged = nil
	kept, err := filepath.Glob(filepath.Join(i.stateDir, "checkpoint-*"))
	if err == nil {
		err = i.restore(filepath.Join(i.stateDir, "unfinished"))
	}
	for n := len(kept) - 1; err == nil && n >= 0 && len(kept)-n <= int(req.GetCount()); n-- {
		err = i.restore(kept[n])
	}
	d := &pb.Done{}
	if err != nil {
		d.Problem = failure(pb.Problem_PARTIAL, "the target could not be brought back", err)
	}
	return done(s, d)
}

func (i installer) restore(from string) error {
	before, err := os.ReadFile(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case string(before) == absent:
		err = os.Remove(i.settings.Target)
	default:
		err = os.WriteFile(i.settings.Target, before, 0o644)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(from)
}

type hook struct {
	pb.UnimplementedHookServer
	*state
}

func (h hook) Run(req *pb.RunRequest, s stream) error {
	defer h.begin(req.GetOperation())()
	h.mu.Lock()
	defer h.mu.Unlock()
	d := &pb.Done{HookResult: &pb.HookResult{}}
	f, err := os.OpenFile(filepath.Join(h.stateDir, "events"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, req.GetEvent().GetEvent(), req.GetEvent().GetLineage())
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		d.HookResult.Warnings = append(d.HookResult.Warnings, failure(pb.Problem_INTERNAL, "the event could not be noted", err))
	}
	return done(s, d)
}
