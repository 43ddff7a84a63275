package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/certwright/certwright/sdk"
)

// panel is what Plesk's own pages are served with.
type panel struct {
	// Before is the file with certificate and key that there was before us.
	Before string `json:"before"`
	// Content is the fingerprint of what was set; empty: it is not known.
	Content string `json:"content"`
}

// secure gives Plesk itself the certificate, if that is wanted. What it had is
// written down first.
func (j *job) secure(ctx context.Context, w wanted) error {
	if j.settings.Certmng == "" {
		return nil
	}
	if j.there.Panel == nil {
		before, err := os.ReadFile(j.settings.PanelFile)
		if err != nil {
			err = sdk.WithCode(fmt.Errorf("keep the certificate of Plesk itself: %w", err), sdk.InvalidConfig)
			return sdk.Subject(sdk.Hint(err, "set panel_file to the file that certmng writes"), "panel_file")
		}
		j.there.Panel = &panel{Before: string(before)}
	}
	if j.there.Panel.Content == w.Fingerprint {
		return nil
	}
	j.there.Panel.Content = ""
	if err := j.keep("before Plesk itself is secured"); err != nil {
		return err
	}
	if err := j.certmng(ctx, w.Key+w.Leaf+w.Chain); err != nil {
		return err
	}
	j.there.Panel.Content = w.Fingerprint
	return j.keep("after Plesk itself is secured")
}

// unsecure gives Plesk back what it had.
func (j *job) unsecure(ctx context.Context) error {
	if j.there.Panel == nil {
		return nil
	}
	j.there.Panel.Content = ""
	if err := j.keep("before Plesk itself has what it had"); err != nil {
		return err
	}
	if now, err := os.ReadFile(j.settings.PanelFile); err != nil || string(now) != j.there.Panel.Before {
		if err := j.certmng(ctx, j.there.Panel.Before); err != nil {
			return err
		}
	}
	j.there.Panel = nil
	return j.keep("after Plesk itself has what it had")
}

// certmng hands the certificate over in a file: there is a key in it.
func (p *plesk) certmng(ctx context.Context, content string) error {
	const what = "secure Plesk itself"
	if p.settings.Certmng == "" {
		err := sdk.Problemf(sdk.InvalidConfig, "%s: the setting certmng is missing", what)
		return sdk.Subject(sdk.Hint(err, "set it as it was when Plesk was given the certificate"), "certmng")
	}
	file, err := os.CreateTemp(p.stateDir, "panel-*") // mode 0600
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.WriteString(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	p.step("certmng")
	var out head
	cmd := exec.CommandContext(ctx, p.settings.Certmng, "--setup-cp-certificate", "--certificate="+file.Name())
	cmd.Env, cmd.Dir = environment, "/"
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, holdLimit
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		problem := sdk.Problemf(sdk.Unavailable, "%s: %s: %w", what, p.settings.Certmng, err)
		problem.Summary, problem.Detail = what, fmt.Sprintf("%v: %s", err, out.words())
		return sdk.Subject(sdk.Hint(problem, "run certwright as root on the machine of Plesk, and check the path of certmng"), "certmng")
	}
	return nil
}
