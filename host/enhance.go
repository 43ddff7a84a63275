package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/sdk"
)

// EnhanceRequest says what is to be set where.
type EnhanceRequest struct {
	CertName string
	// Args name the installers, the enhancements and the names of the
	// certificate; without names they are for all of them.
	Args config.Args
}

// Enhance sets more than a certificate at installers that it is deployed to, in
// the same transaction as a deployment.
func Enhance(ctx context.Context, b Base, r EnhanceRequest) (outcomes []Outcome, err error) {
	targets := r.Args.Installers
	switch {
	case r.CertName == "":
		return nil, noCertName()
	case len(r.Args.Enhance) == 0:
		return nil, UsageError(sdk.Hint(errors.New("nothing is to be set"), "say what: --redirect, --hsts or both"))
	case len(targets) == 0:
		return nil, UsageError(sdk.Hint(errors.New("no installer is named"), "name one with -i, for instance -i nginx"))
	}
	if err := r.Args.CheckSets(targets); err != nil {
		return nil, err
	}
	asked, err := config.ParseIdentifiers(r.Args.Domains())
	if err != nil {
		return nil, UsageError(err)
	}
	e, closeEngine, err := b.engine(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	want := run.Want{DeployTo: targets, Enhance: map[string]map[string][]string{}}
	want.Requests = func(_ context.Context, lineages map[string]model.Lineage) ([]model.Request, error) {
		l, err := mustHave(lineages, r.CertName)
		if err != nil {
			return nil, err
		}
		names, err := enhanced(l, model.Names(asked))
		if err != nil {
			return nil, err
		}
		for _, target := range targets {
			if l.Targets[target].Deployed == 0 {
				return nil, UsageError(sdk.Hint(fmt.Errorf("%s is not deployed to %s", l.Name, target),
					"deploy it first: certwright install --cert-name %s -i %s", l.Name, target))
			}
			want.Enhance[target] = map[string][]string{}
			for _, enhancement := range r.Args.Enhance {
				want.Enhance[target][enhancement] = names
			}
		}
		return []model.Request{l.Request}, nil
	}
	return e.Run(ctx, want)
}

// enhanced gives the names that are asked for, which are to be the certificate's.
func enhanced(l model.Lineage, asked []string) ([]string, error) {
	have := l.Request.Names()
	if l.Version != nil {
		have = l.Version.Names
	}
	if len(asked) == 0 {
		return have, nil
	}
	for _, name := range asked {
		if !slices.Contains(have, name) {
			return nil, UsageError(fmt.Errorf("%s is no name of the certificate %s: it has %s", name, l.Name, strings.Join(have, ", ")))
		}
	}
	return asked, nil
}

func noCertName() error {
	return UsageError(sdk.Hint(errors.New("no certificate is named"), "name the certificate with --cert-name, see certwright certificates"))
}
