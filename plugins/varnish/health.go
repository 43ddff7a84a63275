package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

const (
	// healthLimit is how long the probes of a new VCL have to find out what those
	// of the old one know.
	healthLimit = 45 * time.Second
	firstPause  = 5 * time.Millisecond
	mostPause   = 500 * time.Millisecond
)

// backend is what is known of one.
type backend struct {
	// Admin is what the operator has said: "probe" to have the probe decide.
	Admin string `json:"admin_health"`
	// Probe is the outcome: good ones, all, and "healthy" or "sick".
	Probe []any `json:"probe_message"`
}

func (b backend) sick() bool {
	return b.Admin == "sick" || b.Admin == "probe" && slices.Contains(b.Probe, any("sick"))
}

// auto has the probe decide, if there is one.
const auto = "auto"

// admin is what the operator has said, as backend.set_health wants it.
func (b backend) admin() string {
	if b.Admin == "sick" || b.Admin == "healthy" {
		return b.Admin
	}
	return auto
}

// backends gives those of a VCL, by their names in it.
func (c *cli) backends(ctx context.Context, vcl string) (map[string]backend, error) {
	text, err := c.do(ctx, "backend.list", "-j", vcl+".*")
	if err != nil {
		return nil, err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(text), &parts); err != nil || len(parts) == 0 {
		return nil, fmt.Errorf("the list of varnishd's backends cannot be read: %s", quote(text))
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(parts[len(parts)-1], &all); err != nil {
		return nil, fmt.Errorf("the list of varnishd's backends cannot be read: %w", err)
	}
	out := map[string]backend{}
	for name, part := range all {
		var b backend
		if short, ok := strings.CutPrefix(name, vcl+"."); ok && json.Unmarshal(part, &b) == nil {
			out[short] = b
		}
	}
	return out, nil
}

// settled makes the backends of a new VCL what those of another are: what the
// operator has set is set again, and its probes are given time.
func (c *cli) settled(ctx context.Context, name, original string) error {
	old, err := c.backends(ctx, original)
	if err != nil {
		return err
	}
	now, err := c.backends(ctx, name)
	if err != nil {
		return err
	}
	if err := c.copyHealth(ctx, name, old, now); err != nil {
		return err
	}
	return c.probed(ctx, name, original)
}

// probed waits until the probes of a VCL find healthy what those of the one in
// use do. A backend with a probe begins sick; a VCL that were used now would
// refuse requests.
func (c *cli) probed(ctx context.Context, name, used string) error {
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		old, err := c.backends(ctx, used)
		if err != nil {
			return err
		}
		now, err := c.backends(ctx, name)
		if err != nil {
			return err
		}
		var waiting []string
		for short, b := range now {
			if was, ok := old[short]; ok && b.admin() == auto && b.sick() && !was.sick() {
				waiting = append(waiting, short)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		if err := sleep(limited, pause); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			slices.Sort(waiting)
			err := sdk.Problemf(sdk.Timeout, "the VCL %s finds backends sick that %s finds healthy: %s", name, used, strings.Join(waiting, ", "))
			return sdk.Hint(err, "try again, or use listen, which needs no copy of the VCL")
		}
	}
}

// decided gives what the operator has said of backends, where the probe does not
// decide.
func decided(all map[string]backend) map[string]string {
	out := map[string]string{}
	for short, b := range all {
		if state := b.admin(); state != auto {
			out[short] = state
		}
	}
	return out
}

// giveBack makes the original what the operator has made of the copy that is in
// use: "backend.set_health default sick" is about that one.
func (c *cli) giveBack(ctx context.Context, all programs, now wrapped) error {
	original := all.behind(now.original)
	changed, err := c.backends(ctx, all.active())
	if err != nil {
		return err
	}
	old, err := c.backends(ctx, original)
	if err != nil {
		return err
	}
	for short, b := range changed {
		was, ok := now.health[short]
		if !ok {
			was = auto
		}
		if before, there := old[short]; !there || b.admin() == was || b.admin() == before.admin() {
			continue
		}
		if _, err := c.do(ctx, "backend.set_health", original+"."+short, b.admin()); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) copyHealth(ctx context.Context, name string, old, now map[string]backend) error {
	for short, was := range old {
		b, ok := now[short]
		if !ok || b.Admin == was.Admin {
			continue
		}
		if _, err := c.do(ctx, "backend.set_health", name+"."+short, was.admin()); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
