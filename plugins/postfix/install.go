package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// staging is what was asked for. How main.cf is to be is found out when it is
// written.
type staging struct {
	paths sdk.Paths
	// changed: something was different when it was staged first. By the next
	// name of the certificate it may be written already.
	changed bool
}

// plan is how main.cf is to be.
type plan struct {
	was, is  []byte
	remarks  []string
	unproven []string
	// endpoints are where it is to be seen.
	endpoints []sdk.Endpoint
}

func (p plan) changed() bool { return !bytes.Equal(p.was, p.is) }

// Deploy stages the certificate. Postfix has one for all names.
func (p *postfix) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	if err := checkPaths(d.ConfigPaths); err != nil {
		return err
	}
	if err := p.turn.enter(ctx); err != nil {
		return err
	}
	defer p.turn.leave()
	if d.DryRun {
		return p.preview(ctx, d, r)
	}
	if err := p.edits.Unrecovered(ctx); err != nil {
		r.Progress("", fmt.Sprintf("an interrupted deployment is not undone yet: %v", err))
	}
	return p.edits.Stage(ctx, func(s *staging) error {
		if s.paths == (sdk.Paths{}) {
			// Nothing of ours is in place yet: what is wrong now is not our doing.
			if err := p.ready(ctx); err != nil {
				return fmt.Errorf("nothing was changed: %w", err)
			}
		}
		plan, err := p.plan(ctx, d.ConfigPaths)
		if err != nil {
			return err
		}
		if s.paths == (sdk.Paths{}) {
			plan.tell(r)
		}
		s.paths, s.changed = d.ConfigPaths, s.changed || plan.changed()
		r.Result(sdk.Result{Subject: d.Name, Changed: s.changed, Endpoints: plan.endpoints})
		return nil
	})
}

func (p *postfix) preview(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	plan, err := p.plan(ctx, d.ConfigPaths)
	if err != nil {
		return err
	}
	if err := p.ready(ctx); err != nil {
		r.Progress("", fmt.Sprintf("a deployment would fail: %v", err))
	}
	plan.tell(r)
	result := sdk.Result{Subject: d.Name, Changed: plan.changed(), Endpoints: plan.endpoints}
	result.Diff = strings.ToValidUTF8(checkpoint.Diff(p.settings.mainCF(), plan.was, plan.is), "?")
	r.Result(result)
	return nil
}

func (p plan) tell(r sdk.Reporter) {
	for _, text := range p.remarks {
		r.Progress("", text)
	}
	for _, text := range p.unproven {
		r.Progress("", "not proven by a handshake: "+text)
	}
}

// checkPaths refuses what main.cf cannot name: lists are separated by white
// space and commas, and nothing quotes them.
func checkPaths(paths sdk.Paths) error {
	if paths.Fullchain == "" || paths.Privkey == "" {
		return sdk.Problemf(sdk.Internal, "the host has handed over no paths for Postfix's configuration")
	}
	for _, path := range []string{paths.Privkey, paths.Fullchain} {
		if strings.ContainsAny(path, " \t\r\n,$") {
			err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "name %q in main.cf: a path with white space, a comma or a dollar sign cannot be given there", path))
			return sdk.Hint(err, "use another state directory")
		}
	}
	return nil
}

// ready says whether Postfix is in order before anything is changed.
func (p *postfix) ready(ctx context.Context) error {
	if err := p.programs.check(ctx); err != nil {
		return err
	}
	up, err := p.programs.running(ctx)
	if err == nil && !up && !p.systemd.owns(ctx, p.programs) {
		err = p.stopped()
	}
	return err
}

// asked are the parameters that a plan depends on, besides those of the rules.
var asked = append([]string{
	"smtpd_enforce_tls", "smtp_enforce_tls", "smtpd_tls_wrappermode", "smtpd_upstream_proxy_protocol",
	"postscreen_upstream_proxy_protocol", "inet_interfaces", "inet_protocols",
}, certificates...)

// plan finds out how main.cf is to be.
func (p *postfix) plan(ctx context.Context, paths sdk.Paths) (plan, error) {
	var out plan
	rules := p.settings.rules(p.version)
	names := slices.Clone(asked)
	for _, r := range rules {
		names = append(names, r.name)
	}
	main, err := p.programs.postconf(ctx, append([]string{"-x"}, names...)...)
	if err != nil {
		return out, err
	}
	written, err := p.programs.postconf(ctx, "-n") // as they are in main.cf
	if err != nil {
		return out, err
	}
	services, err := p.services(ctx)
	if err != nil {
		return out, err
	}
	options, err := p.programs.postconf(ctx, "-P") // as they are in master.cf
	if err != nil {
		return out, err
	}
	maps.Copy(written, options)
	chain := []string{paths.Privkey, paths.Fullchain}
	if err := p.foreign(main[certificates[0]], paths); err != nil {
		return out, err
	}
	if bad := worse(services, rules, main, chain); len(bad) > 0 {
		if !p.settings.IgnoreOverrides {
			return out, p.overridden(bad)
		}
		for _, o := range bad {
			out.remarks = append(out.remarks, "left alone in master.cf: "+o.String())
		}
	}
	edits, remarks := changes(rules, main, written, chain)
	out.remarks = append(out.remarks, remarks...)
	for name, value := range edits {
		main[name] = value
	}
	if out.endpoints, out.unproven = endpoints(services, main, chain); len(p.endpoints) > 0 {
		out.endpoints, out.unproven = p.endpoints, nil
	}
	if out.was, err = os.ReadFile(p.settings.mainCF()); err != nil {
		return out, p.explain(err)
	}
	out.is = out.was
	if len(edits) == 0 {
		return out, nil
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(edits)) {
		words = append(words, name+" = "+edits[name])
	}
	out.is, err = p.programs.edited(ctx, filepath.Join(p.stateDir, "edit"), out.was, words)
	return out, err
}

// changes gives the parameters that must be different. written are those of
// main.cf, and with a service before the name those of master.cf.
func changes(rules []rule, main, written map[string]string, chain []string) (edits map[string]string, remarks []string) {
	edits = map[string]string{}
	if !slices.Equal(splitList(main[certificates[0]]), chain) {
		edits[certificates[0]] = strings.Join(chain, ", ")
		for _, name := range certificates {
			if main[name] != "" && written[name] != "" {
				remarks = append(remarks, fmt.Sprintf("takes the place of %s = %s", name, main[name]))
			}
		}
	}
	for _, name := range certificates[1:] {
		switch {
		case written[name] == "":
		case referred(written, name):
			remarks = append(remarks, name+" stays in main.cf, because something else refers to it; smtpd does not use it any more")
		default:
			edits[name] = ""
		}
	}
	for _, r := range rules {
		if value, needed := r.better(main[r.name], main); needed {
			edits[r.name] = value
		}
	}
	return edits, remarks
}

// referred says whether another parameter takes its value from this one.
func referred(written map[string]string, name string) bool {
	for other, value := range written {
		if slices.Contains(certificates, other) {
			continue
		}
		for _, form := range []string{"$" + name, "${" + name, "$(" + name} {
			if strings.Contains(value, form) {
				return true
			}
		}
	}
	return false
}

// foreign refuses to take the place of another certificate that certwright
// keeps: each renewal would throw the other one out.
func (p *postfix) foreign(value string, paths sdk.Paths) error {
	own := filepath.Dir(paths.Fullchain)
	for _, path := range splitList(value) {
		dir := filepath.Dir(path)
		if dir == own || filepath.Dir(dir) != filepath.Dir(own) {
			continue
		}
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			continue // its certificate is deleted
		}
		err := sdk.Permanent(sdk.Problemf(sdk.Conflict, "Postfix has the certificate %s already, and one for all names", filepath.Base(dir)))
		return sdk.Hint(err, "put all names into one certificate, or delete the other one first: certwright delete --cert-name %s", filepath.Base(dir))
	}
	return nil
}

func (p *postfix) services(ctx context.Context) ([]service, error) {
	lines, err := p.programs.postconfLines(ctx, "-M", "-x")
	if err != nil {
		return nil, err
	}
	overrides, err := p.programs.postconfLines(ctx, "-P", "-x")
	if err != nil {
		return nil, err
	}
	return parseServices(lines, overrides), nil
}

func (p *postfix) overridden(bad []override) error {
	var lines []string
	for _, o := range bad {
		lines = append(lines, o.String())
	}
	problem := sdk.Problemf(sdk.Conflict, "services in %s override what is to be set in main.cf", p.settings.masterCF())
	problem.Detail = strings.Join(lines, "\n")
	problem.Subject, problem.Retry = "ignore_master_overrides", sdk.RetryNever
	return sdk.Hint(problem, "take these options (-o) out of master.cf, which certwright does not edit, or set ignore_master_overrides")
}

// Save writes main.cf.
func (p *postfix) Save(ctx context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	if err := p.turn.enter(ctx); err != nil {
		return sdk.Checkpoint{}, err
	}
	defer p.turn.leave()
	return p.edits.Save(ctx, req, func(ctx context.Context, s *staging, begin func() (*checkpoint.Draft, error)) error {
		plan, err := p.plan(ctx, s.paths)
		if err != nil || !plan.changed() {
			return err
		}
		draft, err := begin()
		if err != nil {
			return err
		}
		if err := draft.WriteFile(ctx, p.settings.mainCF(), plan.is, checkpoint.Attributes{}); err != nil {
			return p.explain(err)
		}
		r.Progress("", "wrote "+p.settings.mainCF())
		return nil
	})
}

// explain says what to do about a file that cannot be read or written.
func (p *postfix) explain(err error) error {
	switch {
	case errors.Is(err, checkpoint.ErrHeld):
		err = sdk.Hint(sdk.WithCode(err, sdk.Conflict), "wait until the other run of certwright has ended, and try again")
	case errors.Is(err, fs.ErrPermission):
		err = sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "run certwright as root")
	}
	return err
}
