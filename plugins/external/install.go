package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/certwright/certwright/sdk"
)

// Deploy tells of a certificate for one name.
func (e *external) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	if e.marcan() {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "variant marcan proves names only, it takes no certificates"))
		return sdk.Hint(err, "leave the instance %s out of deploy, or choose variant out", e.instance.Name)
	}
	if d.DryRun {
		r.Result(sdk.Result{Subject: d.Name})
		return nil
	}
	info, err := os.Stat(d.Paths.Cert)
	if err != nil {
		return fmt.Errorf("look at the certificate of %s: %w", d.Name, err)
	}
	o := object{
		{"cmd", "deploy_cert"}, {"domain", d.Name}, {"cert_path", d.Paths.Cert}, {"key_path", d.Paths.Privkey},
		{"chain_path", d.Paths.Chain}, {"fullchain_path", d.Paths.Fullchain},
		{"timestamp", e.started.Unix()}, {"cert_timestamp", seconds(info.ModTime())},
	}
	e.say(o, r)
	fresh := info.ModTime().Unix() >= e.started.Unix()
	if e.byHandler() {
		stage := "unchanged_cert"
		if fresh {
			stage = "deploy_cert"
		}
		if err := e.call(ctx, stage, o, r); err != nil {
			return fmt.Errorf("deploy %s: %w", d.Name, err)
		}
	}
	r.Result(sdk.Result{Subject: d.Name, Changed: fresh})
	return nil
}

// Save tells of a save; there is nothing to write.
func (e *external) Save(_ context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	var title any
	if req.Title != "" {
		title = req.Title
	}
	e.say(object{{"cmd", "save"}, {"title", title}, {"temporary", req.Temporary}}, r)
	return sdk.Checkpoint{Title: req.Title}, nil
}

// Restart tells that the certificate is to be made live.
func (e *external) Restart(_ context.Context, r sdk.Reporter) error {
	e.say(object{{"cmd", "restart"}}, r)
	return nil
}

// seconds is a time as Python's os.path.getmtime gives it.
func seconds(t time.Time) float64 { return float64(t.Unix()) + 1e-9*float64(t.Nanosecond()) }
