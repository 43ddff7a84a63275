package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// ErrNoNames says that an installer does not know what its server serves.
var ErrNoNames = errors.New("it does not tell which names its server serves")

// Sites asks an installer for the virtual hosts of its server.
func (e *Engine) Sites(ctx context.Context, installer string) (sites []sdk.Site, err error) {
	// If it is not configured, it is as it was for a certificate.
	var known model.Lineage
	for _, l := range e.lineages() {
		if _, ok := l.Instances[installer]; ok && (known.Name == "" || l.Name < known.Name) {
			known = l
		}
	}
	m, err := e.resolve(ctx, model.Request{Name: "the names to choose from"}, known, installer)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(m.description.Features, sdk.FeatureNames) {
		return nil, ErrNoNames
	}
	instance, err := e.start(ctx, m)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, instance.Stop(context.WithoutCancel(ctx))) }()
	sites, err = e.target(running{instance, m.config}).Names(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask %s which names it serves: %w", installer, err)
	}
	return sites, nil
}
