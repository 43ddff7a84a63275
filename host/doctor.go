package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/host/internal/doctor"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// overdue: with less than this part of its lifetime left, a certificate should
// have been renewed by a timer long ago.
const overdue = 0.2

// Doctor looks for what will go wrong, and changes nothing but that each instance
// gets its directory. The error says that something needs a hand.
func Doctor(ctx context.Context, b Base) error {
	s, err := store.OpenReadOnly(b.Config.StateDir)
	if err != nil {
		return err
	}
	l, err := b.lock()
	if err != nil {
		return err
	}
	secrets := &report.Secrets{}
	b.Terminal.Redact = secrets.Redact
	plugins := b.pluginHost(secrets, l)
	defer func() { _ = plugins.Close(context.WithoutCancel(ctx)) }() // each process was stopped already
	e := &run.Engine{Config: b.Config, Store: s, Plugins: plugins, Terminal: b.Terminal, Secrets: secrets, Now: b.now(), Version: b.Version}
	list, err := s.Lineages()
	v := visit{base: b, engine: e, lineages: map[string]model.Lineage{}}
	if err != nil {
		v.add(doctor.Finding{Check: "state", Level: doctor.Problem, Text: err.Error(), Hint: report.Hint(err)})
	}
	for _, lineage := range list {
		v.lineages[lineage.Name] = lineage
	}
	if v.requests, err = b.everything(ctx, v.lineages); err != nil {
		return err
	}
	v.plugins(ctx)
	v.instances(ctx)
	if names := l.Names(); len(names) > 0 {
		v.add(doctor.Finding{Check: "lock", Level: doctor.OK, Text: fmt.Sprintf("%d plugins are locked", len(names))})
	} else {
		v.add(doctor.Finding{Check: "lock", Level: doctor.OK, Text: "no plugin is locked (certwright plugins lock)"})
	}
	for _, name := range l.Names() {
		if !slices.ContainsFunc(plugins.List(), func(f pluginhost.Found) bool { return f.Name == name }) {
			v.add(doctor.Finding{Check: "lock", Level: doctor.Warning, Text: fmt.Sprintf("plugin %s is locked, but not installed", name),
				Hint: "install it again, or remove its entry from " + l.File(name)})
		}
	}
	v.add(doctor.State(b.Config.StateDir)...)
	v.add(doctor.FileSystem(b.Config.StateDir))
	v.journal()
	v.network(ctx)
	v.renewals(ctx)
	return v.tell()
}

// visit collects what is found.
type visit struct {
	base     Base
	engine   *run.Engine
	lineages map[string]model.Lineage
	requests []model.Request
	// dns: a plugin in use leaves DNS to the host.
	dns      bool
	findings []doctor.Finding
}

func (v *visit) add(f ...doctor.Finding) { v.findings = append(v.findings, f...) }

// plugins looks at every plugin that is found, and for those that are used.
func (v *visit) plugins(ctx context.Context) {
	used, by := v.engine.Used(v.requests, v.lineages)
	good := 0
	for _, found := range v.engine.Plugins.List() {
		err := found.Refused
		var d sdk.Description
		if err == nil {
			d, err = v.engine.Plugins.Describe(ctx, found.Name)
		}
		if err == nil {
			good++
			v.dns = v.dns || d.DNS == sdk.HostDNS && slices.Contains(used, found.Name)
			continue
		}
		level := doctor.Warning
		if slices.Contains(used, found.Name) {
			level = doctor.Problem
		}
		v.add(doctor.Finding{Check: "plugins", Level: level, Text: err.Error(), Hint: report.Hint(err)})
	}
	for _, name := range used {
		if _, err := v.engine.Plugins.Describe(ctx, name); err != nil {
			f := doctor.Finding{Check: "plugins", Level: doctor.Problem, Text: fmt.Sprintf("%s needs it: %v", by[name], err), Hint: report.Hint(err)}
			if !slices.ContainsFunc(v.findings, func(have doctor.Finding) bool { return have.Text == err.Error() }) {
				v.add(f)
			}
		}
	}
	v.add(doctor.Finding{Check: "plugins", Level: doctor.OK, Text: fmt.Sprintf("%d can be used, %d are", good, len(used))})
}

// instances says what this kernel enforces for each instance, what is wrong with
// its settings and secrets, and what it says of its health.
func (v *visit) instances(ctx context.Context) {
	k := sandbox.ThisKernel()
	v.add(doctor.Kernel(k.Landlock, k.Seccomp))
	var boxes []doctor.Box
	var well []string
	for _, i := range v.engine.Instances(ctx, v.requests, v.lineages) {
		for _, err := range i.Errs {
			v.once(doctor.Finding{Check: "settings", Level: doctor.Problem, Text: err.Error(), Hint: report.Hint(err)})
		}
		for _, err := range i.Ailing {
			v.once(doctor.Finding{Check: "health", Level: doctor.Problem, Text: err.Error(), Hint: report.Hint(err)})
		}
		if len(i.Errs) == 0 && len(i.Ailing) == 0 && i.Refused == nil {
			well = append(well, i.Name)
		}
		if i.Refused != nil {
			v.once(doctor.Finding{Check: "sandbox", Level: doctor.Problem, Text: i.Refused.Error(), Hint: report.Hint(i.Refused)})
		} else if i.Sandbox.Level != "" {
			var can []string
			for _, s := range i.Sandbox.Shortfalls {
				can = append(can, s.String())
			}
			boxes = append(boxes, doctor.Box{
				Instance: i.Name, For: i.For, Finding: doctor.Sandbox(i.Name, string(i.Sandbox.Level), i.Sandbox.Unconfined, can),
			})
		}
	}
	if len(well) > 0 {
		slices.Sort(well) // certificates may use one with different settings
		v.add(doctor.Finding{Check: "health", Level: doctor.OK, Text: "nothing is known to keep these from working: " + strings.Join(slices.Compact(well), ", ")})
	}
	v.add(doctor.Boxes(boxes)...)
}

// once adds a finding that there is not yet: certificates share instances.
func (v *visit) once(f doctor.Finding) {
	if !slices.Contains(v.findings, f) {
		v.add(f)
	}
}

func (v *visit) journal() {
	entries, err := journal.Pending(filepath.Join(v.base.Config.StateDir, "journal"))
	var pending []string
	for _, entry := range entries {
		pending = append(pending, entry.String())
	}
	v.add(doctor.Journal(pending, err))
}

// network asks every CA and, if they are needed, the resolvers, all at once.
func (v *visit) network(ctx context.Context) {
	var newest time.Time
	for _, l := range v.lineages {
		if l.Version != nil && l.Version.NotBefore.After(newest) {
			newest = l.Version.NotBefore
		}
	}
	v.add(doctor.Clock(v.base.now()(), newest))

	var questions []func() []doctor.Finding
	seen := map[string]bool{}
	asked := v.requests
	if len(asked) == 0 || v.base.Config.ServerGiven {
		asked = append(slices.Clone(asked), model.Request{Server: v.base.Config.Server})
	}
	for _, r := range asked {
		if seen[r.Server] {
			continue
		}
		seen[r.Server] = true
		questions = append(questions, func() []doctor.Finding {
			client, err := v.engine.Asker(r)
			if err != nil {
				return []doctor.Finding{{Check: "ca", Level: doctor.Problem, Text: err.Error(), Hint: report.Hint(err)}}
			}
			agreed := ""
			if a, _, err := v.engine.Store.Account(r.Account); err == nil && a.Server == r.Server {
				agreed = a.Terms
			}
			return doctor.CA(ctx, client, r.Server, agreed, v.base.now())
		})
	}
	if v.dns && !v.base.Config.DNS.Skip {
		resolvers, err := v.engine.Resolvers()
		if err == nil && len(resolvers) == 0 {
			v.add(doctor.Finding{Check: "dns", Level: doctor.Problem, Text: "no resolver is known", Hint: "set dns.resolvers"})
		} else if err != nil {
			v.add(doctor.Finding{Check: "dns", Level: doctor.Problem, Text: err.Error()})
		}
		for _, address := range resolvers {
			questions = append(questions, func() []doctor.Finding { return []doctor.Finding{doctor.Resolver(ctx, address)} })
		}
	}
	answers := make([][]doctor.Finding, len(questions))
	var all sync.WaitGroup
	for i, ask := range questions {
		all.Go(func() { answers[i] = ask() })
	}
	all.Wait()
	v.add(slices.Concat(answers...)...)
}

// renewals says what is due, and what has been for too long.
func (v *visit) renewals(ctx context.Context) {
	p, err := v.engine.Due(ctx, run.Want{Requests: func(context.Context, map[string]model.Lineage) ([]model.Request, error) { return v.requests, nil }})
	if err != nil {
		v.add(doctor.Finding{Check: "renewals", Level: doctor.Problem, Text: err.Error(), Hint: report.Hint(err)})
		return
	}
	due := 0
	for _, item := range p.Items {
		if item.Action == model.None {
			continue
		}
		due++
		l := v.lineages[item.Request.Name]
		f := doctor.Finding{Check: "renewals", Level: doctor.Warning, Text: fmt.Sprintf("%s: %s", item.Request.Name, item.Why), Hint: "run: certwright renew"}
		switch {
		case l.Failures != nil && l.Failures.Count > 0:
			// After failures a plain renew may still be waiting for its time.
			f.Hint = "mend that, then run: certwright renew --cert-name " + item.Request.Name
			f.Level, f.Text = doctor.Problem, fmt.Sprintf("%s; it failed %d times, last with: %s", f.Text, l.Failures.Count, l.Failures.Error)
		case l.Version != nil && late(*l.Version, v.base.now()()):
			f.Level, f.Hint = doctor.Problem, "see that a timer runs: certwright renew"
		}
		v.add(f)
	}
	if due == 0 {
		v.add(doctor.Finding{Check: "renewals", Level: doctor.OK, Text: fmt.Sprintf("none of %d certificates is due", len(p.Items))})
	}
}

func late(v model.Version, now time.Time) bool {
	return float64(v.NotAfter.Sub(now)) < overdue*float64(v.NotAfter.Sub(v.NotBefore))
}

// tell shows the findings, in the order of the checks.
func (v *visit) tell() error {
	problems := 0
	for _, f := range v.findings {
		v.base.Terminal.Finding(f.Check, string(f.Level), f.Text, f.Hint)
		if f.Level == doctor.Problem {
			problems++
		}
	}
	switch problems {
	case 0:
		return nil
	case 1:
		return errors.New("1 thing needs a hand")
	}
	return fmt.Errorf("%d things need a hand", problems)
}
