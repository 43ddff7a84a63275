package run

import (
	"context"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/pluginhost"
)

// orderDeps gives an order the instances of its lineage.
func (e *Engine) orderDeps(client *ca, t *team, r model.Request, l model.Lineage) order.Deps {
	lineage := r.Name
	url, resumed := e.resumable(r)
	instances := func(get func(context.Context, string, string) (running, error)) order.Instances {
		return func(ctx context.Context, name string) (order.Instance, error) {
			r, err := get(ctx, lineage, name)
			if err != nil {
				return order.Instance{}, err
			}
			return order.Instance{Config: r.config, Description: r.Description(), Authenticator: e.authenticator(r)}, nil
		}
	}
	return order.Deps{
		CA: client, Instances: instances(t.get), Fresh: instances(t.fresh),
		Journal: journalling{e.Journal, t.configs(r, l), number(l), resumed, r, e}, Keys: e.Store, Story: e.Terminal, RunID: e.RunID,
		Resources: claims{e.held(), t, lineage}, DNS: &lookups{engine: e, lineage: lineage},
		Resume: url, Now: e.Now, Debug: e.Debug, NewKey: e.NewKey || exposed(l),
		ResourceKeys: func(i order.Instance) []string {
			return pluginhost.ResourceKeys(i.Description, i.Config.Name, i.Config.Settings)
		},
	}
}

// exposed says that the key of the newest version must not be used again.
func exposed(l model.Lineage) bool {
	return l.Version != nil && l.Version.Revoked != nil && l.Version.Revoked.Reason == model.KeyCompromise
}

var _ order.CA = (*ca)(nil)
var _ order.Registrar = (*ca)(nil)

// claims are what the orders of a lineage hold: in the name of the process, not
// of the instance, which may have several with different settings.
type claims struct {
	*resources
	team    *team
	lineage string
}

// Hold implements order.Resources.
func (c claims) Hold(ctx context.Context, instance string, keys []string) (func(), error) {
	holder := instance
	if m := c.team.byLineage[c.lineage][instance]; m != nil {
		holder = m.key()
	}
	return c.resources.Hold(ctx, holder, keys)
}
