package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/hook"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

// team is every instance that a run may need. All are started at once, beside
// the first round trips to the CA, and stopped together.
type team struct {
	engine *Engine
	// byLineage leads from a lineage's name and an instance's name to the member.
	byLineage map[string]map[string]*member
	starting  sync.WaitGroup
	cas       *cas
	// hooks of the run, told those of each certificate.
	hooks *hook.Run
	told  map[string]*hook.Certificate
	// errs are what is wrong with an item before anything is started, by
	// lineage; the others go on.
	errs     map[string]error
	lineages map[string]model.Lineage
	want     Want
	// serial: an instance wants its orders one after the other.
	serial bool
}

// member is one instance with its settings: two lineages that were obtained
// with different settings of one instance name have two members.
type member struct {
	config      model.Instance
	secrets     map[string][]byte
	description sdk.Description
	// pos is where a file configures it, if one does.
	pos config.Pos

	started  chan struct{}
	mu       sync.Mutex
	instance *pluginhost.Instance
	err      error
}

// running is a member that can be called.
type running struct {
	*pluginhost.Instance
	config model.Instance
}

// prepare checks everything that can be checked without starting anything, then
// starts what is needed. If nothing is to be done, nothing is started.
func (e *Engine) prepare(ctx context.Context, w Want, p model.Plan, lineages map[string]model.Lineage) (*team, error) {
	t := &team{
		engine: e, byLineage: map[string]map[string]*member{}, cas: newCAs(e),
		errs: map[string]error{}, lineages: lineages, want: w, told: map[string]*hook.Certificate{},
		hooks: hook.New(hook.Deps{Story: e.Terminal, RunID: e.RunID, Verb: e.Verb, DryRun: e.DryRun, Rules: e.Config.HookRules}),
	}
	t.cas.hooks = t.hooks
	members := map[string]*member{}
	for _, item := range p.Items {
		var errs []error
		mine := map[string]*member{}
		for _, use := range uses(item) {
			l := lineages[item.Request.Name]
			c, err := e.resolve(ctx, item.Request, l, use.name)
			if err == nil {
				err = hasRole(item.Request.Name, use, c)
			}
			if err == nil && (use.role == sdk.RoleAuthenticator || l.Version == nil) {
				err = e.startable(c) // a renewal goes on, for the other targets and by itself
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			key := c.key()
			if members[key] == nil {
				members[key] = c
			}
			mine[use.name] = members[key]
		}
		if !w.preview && (item.Action == model.None || item.Action == model.Deploy) {
			e.idle(ctx, item.Request, lineages[item.Request.Name], mine, members)
		}
		t.byLineage[item.Request.Name] = mine
		errs = append(errs, noContention(item, mine), apart(item, mine), canEnhance(item, w, mine))
		if item.Action == model.Issue || item.Action == model.Renew {
			errs = append(errs, everyNameHasOne(item.Request))
		}
		if err := errors.Join(dedupe(errs)...); err != nil {
			t.errs[item.Request.Name] = err
		}
	}
	if len(p.Items) == 1 {
		if err := t.errs[p.Items[0].Request.Name]; err != nil {
			return nil, err // the whole run is one mistake of usage
		}
	}
	if err := t.dialogue(members); err != nil {
		return nil, err
	}
	for _, m := range members {
		m.started = make(chan struct{})
		t.starting.Go(func() {
			defer close(m.started)
			m.instance, m.err = e.start(ctx, m)
		})
	}
	for _, item := range p.Items {
		// Of thousands of which none is due nobody is told.
		if item.Action != model.None || len(t.byLineage[item.Request.Name]) > 0 {
			t.tellable(item.Request)
		}
	}
	t.cas.warm(ctx, p)
	return t, nil
}

// dialogue looks for an instance that has stdout to itself (a program drives
// it): results go to stderr then.
func (t *team) dialogue(members map[string]*member) error {
	for _, m := range members {
		if !slices.ContainsFunc(m.description.ExclusiveResources, func(r sdk.Resource) bool { return r.Kind == "stdout" }) {
			continue
		}
		if t.engine.Terminal.JSON {
			return &report.UsageError{Err: fmt.Errorf("the instance %s speaks on stdout itself, so --json cannot be used beside it", m.config.Name)}
		}
		t.engine.Terminal.GiveAway()
		t.serial = true
	}
	for _, m := range members {
		t.serial = t.serial || m.description.Serial
	}
	return nil
}

// parallel is how many certificates are worked on at once.
func (t *team) parallel() int {
	if t.serial {
		return 1
	}
	return parallel
}

// noContention refuses two authenticators of one order that claim the same
// thing for themselves: each would wait for the other.
func noContention(item model.Item, mine map[string]*member) error {
	claimed := map[string]string{}
	for _, use := range uses(item) {
		m := mine[use.name]
		if m == nil || use.role != sdk.RoleAuthenticator {
			continue
		}
		for _, key := range pluginhost.ResourceKeys(m.description, m.config.Name, m.config.Settings) {
			if other, taken := claimed[key]; taken && other != use.name {
				return &report.UsageError{Err: sdk.Hint(
					fmt.Errorf("%s: the instances %s and %s both claim %s", item.Request.Name, other, use.name, key),
					"give them different ports, or use one instance for both")}
			}
			claimed[key] = use.name
		}
	}
	return nil
}

type use struct{ name, role string }

// uses lists the instances that an item needs, and as what.
func uses(item model.Item) []use {
	var out []use
	if item.Action == model.Issue || item.Action == model.Renew {
		for _, rule := range item.Request.Authenticate {
			for _, name := range rule.Instances() {
				out = append(out, use{name, sdk.RoleAuthenticator})
			}
		}
		for _, name := range item.Request.AllHooks() {
			out = append(out, use{name, sdk.RoleHook})
		}
	}
	if item.Action != model.None {
		for _, name := range item.Deploy {
			out = append(out, use{name, sdk.RoleInstaller})
		}
	}
	return out
}

func everyNameHasOne(r model.Request) error {
	for _, id := range r.Identifiers {
		if len(r.Ways(id)) == 0 {
			return &report.UsageError{Err: sdk.Hint(
				fmt.Errorf("%s: no authenticator is named for %s", r.Name, id),
				"name one with -a, for instance -a standalone, or in authenticate of the configuration")}
		}
	}
	return nil
}

// resolve finds the settings of an instance (those that are configured now, or
// else those that the lineage was obtained with) and holds them against the
// plugin's description.
func (e *Engine) resolve(ctx context.Context, r model.Request, l model.Lineage, name string) (*member, error) {
	configured, bound, d, err := e.bind(ctx, r, l, name)
	if err != nil {
		return nil, err
	}
	e.mask(r, bound)
	return e.member(ctx, configured, bound, d, config.ReadSecret)
}

// mask keeps what an instance is given as it is out of sight, where it may be a
// secret.
func (e *Engine) mask(r model.Request, i model.Instance) {
	for _, values := range i.Literals {
		for _, value := range values {
			if !r.Public(value) {
				e.Secrets.Add([]byte(value))
			}
		}
	}
}

// bind is resolve without the secrets.
func (e *Engine) bind(ctx context.Context, r model.Request, l model.Lineage, name string) (config.Instance, model.Instance, sdk.Description, error) {
	configured, now := e.Config.Instance(name)
	saved, before := l.Instances[name]
	if before {
		configured = configured.Over(saved)
	}
	if !now {
		configured = config.Instance{Name: name, Plugin: name, Settings: map[string]config.Value{}}
		if before {
			configured.Plugin = saved.Plugin
		}
	}
	d, err := e.Plugins.Describe(ctx, configured.Plugin)
	if err != nil {
		return configured, saved, d, NoPlugin(e.Config, r.Name, name, err)
	}
	bound := saved
	if now || !before {
		if bound, err = config.Bind(configured, d); err != nil {
			return configured, bound, d, err
		}
	}
	if now := e.Config.HookSettings[bound.Plugin]; len(now) > 0 {
		bound.Settings = maps.Clone(bound.Settings)
		if bound.Settings == nil {
			bound.Settings = map[string]any{}
		}
		maps.Copy(bound.Settings, now)
	}
	return configured, bound, d, nil
}

// member checks settings and fetches secrets.
func (e *Engine) member(ctx context.Context, configured config.Instance, bound model.Instance, d sdk.Description, read secretReader) (*member, error) {
	var errs []error
	secrets := map[string][]byte{}
	var names []string
	for name, ref := range bound.Secrets {
		names = append(names, name)
		secret, err := read(ctx, ref)
		if err != nil {
			errs = append(errs, configured.AtSecret(name, err))
			continue
		}
		e.Secrets.Add(secret)
		secrets[name] = secret
		if ref.Env != "" {
			e.Plugins.Withhold(ref.Env)
		}
	}
	errs = append(errs, SettingErrors(configured, d, bound.Given(), names)...)
	return &member{config: bound, secrets: secrets, description: d, pos: configured.Pos}, errors.Join(errs...)
}

// SettingErrors holds settings against the plugin's schema; each error has the
// place of its setting.
func SettingErrors(i config.Instance, d sdk.Description, settings map[string]any, secrets []string) []error {
	var errs []error
	for _, p := range pluginhost.CheckSettings(d, settings, secrets) {
		errs = append(errs, i.At(p.Subject, "%v (see certwright plugins describe %s)", p, d.Name))
	}
	return errs
}

// key is the same for the same instance with the same settings.
func (m *member) key() string {
	text, err := json.Marshal(m.config) // maps are written in the order of their keys
	if err != nil {
		return m.config.Name
	}
	return string(text)
}

func (e *Engine) start(ctx context.Context, m *member) (*pluginhost.Instance, error) {
	if err := e.startable(m); err != nil {
		return nil, err
	}
	return e.Plugins.Start(ctx, m.spec())
}

func (m *member) spec() pluginhost.Spec {
	s := specOf(m.config)
	s.Key, s.Secrets = m.key(), m.secrets
	return s
}

// specOf is the process of an instance without its secrets.
func specOf(i model.Instance) pluginhost.Spec {
	return pluginhost.Spec{
		Name: i.Name, Plugin: i.Plugin, Settings: i.Given(), Timeout: i.Timeout, Sandbox: i.Sandbox, User: i.User,
	}
}

// get waits until an instance of a lineage is running.
func (t *team) get(ctx context.Context, lineage, name string) (running, error) {
	m := t.byLineage[lineage][name]
	if m == nil {
		return running{}, fmt.Errorf("the instance %s is not part of the plan for %s", name, lineage)
	}
	select {
	case <-m.started:
	case <-ctx.Done():
		return running{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return running{m.instance, m.config}, m.err
}

// usable refuses a first certificate for targets whose settings are wrong: that
// costs no order. A renewal goes on, for the other targets and by itself.
func (t *team) usable(ctx context.Context, l model.Lineage, targets []string) error {
	if l.Version != nil {
		return nil
	}
	var errs []error
	for _, name := range targets {
		var wrong *pluginhost.SettingsError
		if _, err := t.get(ctx, l.Name, name); errors.As(err, &wrong) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// fresh gives an instance whose process answers, by starting another if the one
// that there was is gone.
func (t *team) fresh(ctx context.Context, lineage, name string) (running, error) {
	r, err := t.get(ctx, lineage, name)
	if err == nil {
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, _, healthErr := r.Health(asking, false)
		cancel()
		if healthErr == nil {
			return r, nil
		}
	}
	m := t.byLineage[lineage][name]
	if m == nil {
		return r, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.instance != nil {
		if err := m.instance.Stop(ctx); err != nil {
			t.engine.Terminal.Detail(lineage, "stop what is left of %s: %v", name, err)
		}
	}
	m.instance, m.err = t.engine.start(ctx, m)
	return running{m.instance, m.config}, m.err
}

// configs gives the instances of a request as they are to be remembered: as
// they are used now, or as they were.
func (t *team) configs(r model.Request, l model.Lineage) map[string]model.Instance {
	out := map[string]model.Instance{}
	for _, name := range r.Uses() {
		if m := t.byLineage[r.Name][name]; m != nil {
			out[name] = m.config
		} else if saved, ok := l.Instances[name]; ok {
			out[name] = saved
		}
	}
	return out
}

// stop ends every process and waits for it.
func (t *team) stop(ctx context.Context) {
	t.starting.Wait()
	ctx = context.WithoutCancel(ctx)
	var all sync.WaitGroup
	seen := map[*member]bool{}
	for _, members := range t.byLineage {
		for _, m := range members {
			if seen[m] || m.instance == nil {
				continue
			}
			seen[m] = true
			all.Go(func() {
				if err := m.instance.Stop(ctx); err != nil {
					t.engine.Terminal.Warn("", "stop %s: %v", m.config.Name, err)
				}
			})
		}
	}
	all.Wait()
	t.cas.close()
}

func list(roles []string) string {
	if len(roles) == 0 {
		return "nothing"
	}
	out := roles[0]
	for _, r := range roles[1:] {
		out += " and " + r
	}
	return out
}

// dedupe keeps one of several errors with the same text: many certificates may
// use one instance that is wrong.
func dedupe(errs []error) []error {
	var out []error
	seen := map[string]bool{}
	for _, err := range errs {
		if err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			out = append(out, err)
		}
	}
	return out
}
