package order

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// handler is the AuthHandler of one order: it chooses challenges, has them
// performed in batches, answers, polls and cleans up.
type handler struct {
	Deps
	request model.Request
	order   model.Order
	tried   map[model.Identifier][]string
}

// proof is one authorization and how it is going to be proven: by every
// instance of one way.
type proof struct {
	auth       model.Authorization
	way        []string
	challenges []model.Challenge
	urls       []string
	// places are where records go, by challenge, if the host sees to DNS.
	places map[string]place
}

func (p proof) types() string {
	var out []string
	for _, c := range p.challenges {
		out = append(out, c.Type)
	}
	return strings.Join(out, " and ")
}

// asks says whether a challenge is one of the proof's.
func (p proof) asks(id string) bool {
	return slices.ContainsFunc(p.challenges, func(c model.Challenge) bool { return c.ID == id })
}

// choose decides for each authorization which instance answers which
// challenges. Nothing is performed if one name has no way.
func (h *handler) choose(ctx context.Context, pending []model.Authorization) ([]proof, error) {
	asked := h.ask(ctx, pending)
	chosen := make([]proof, len(pending))
	errs := make([]error, len(pending))
	// Names may have to be looked up in DNS: side by side.
	var group errgroup.Group
	group.SetLimit(fetches)
	for i, a := range pending {
		group.Go(func() error {
			chosen[i], errs[i] = h.chooseOne(ctx, a, asked)
			return nil
		})
	}
	_ = group.Wait() // errors are in errs
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var failures []Failure
	for i, err := range errs {
		if err != nil {
			failures = append(failures, Failure{Identifier: pending[i].Identifier, Err: err})
		}
	}
	if len(failures) > 0 {
		return nil, &FailedError{failures}
	}
	return chosen, nil
}

func (h *handler) chooseOne(ctx context.Context, a model.Authorization, asked map[string]preferred) (proof, error) {
	if a.Status != model.StatusPending {
		return proof{}, failureOf(a)
	}
	ways := candidates(h.request, a.Identifier, h.tried)
	if len(ways) == 0 {
		return proof{}, errors.New("no authenticator is named for it: give one with -a or in authenticate")
	}
	var reasons []error
	for _, way := range ways {
		p, err := h.try(ctx, a, way, asked)
		if err == nil {
			return p, nil
		}
		reasons = append(reasons, err)
	}
	text := joined(reasons)
	if onlyDNS(a) {
		text += "; the CA takes proofs by DNS only, so an authenticator with a DNS plugin is needed"
	}
	return proof{}, &noWay{text, reasons}
}

func onlyDNS(a model.Authorization) bool {
	return len(a.Challenges) > 0 && !slices.ContainsFunc(a.Challenges, func(c model.ACMEChallenge) bool {
		return !strings.HasPrefix(c.Type, "dns-")
	})
}

// try finds the challenges that every instance of the way can answer.
func (h *handler) try(ctx context.Context, a model.Authorization, way []string, asked map[string]preferred) (proof, error) {
	var types []string
	for i, name := range way {
		mine, err := h.typesOf(a, asked[name])
		if err != nil {
			return proof{}, fmt.Errorf("%s: %w", name, err)
		}
		if i == 0 {
			types = mine
		}
		types = slices.DeleteFunc(types, func(t string) bool { return !slices.Contains(mine, t) })
	}
	path, err := challengePath(a.Challenges, types, singletons(a))
	if err != nil {
		return proof{}, fmt.Errorf("%s: %w: it has %s, the CA offers %s", label(way), err, orNone(types), offeredTypes(a))
	}
	p := proof{auth: a, way: way}
	for _, i := range path {
		c, err := h.material(a, a.Challenges[i])
		if err != nil {
			return proof{}, err
		}
		p.challenges = append(p.challenges, c)
		p.urls = append(p.urls, a.Challenges[i].URL)
	}
	if err := h.locate(ctx, &p, asked); err != nil {
		return proof{}, fmt.Errorf("%s: %w", label(way), err)
	}
	return p, nil
}

func (h *handler) typesOf(a model.Authorization, in preferred) ([]string, error) {
	if in.err != nil {
		return nil, pluginFailure{in.err}
	}
	return preferences(h.request.Preferred, in.instance.Description, in.of(a.Identifier))
}

// material computes what the plugin needs (RFC 8555 section 8, RFC 8737).
func (h *handler) material(a model.Authorization, offered model.ACMEChallenge) (model.Challenge, error) {
	c := model.Challenge{
		ID: ID(offered.URL), Type: offered.Type, Identifier: a.Identifier,
		Token: offered.Token, RawJSON: offered.RawJSON,
	}
	var err error
	if c.KeyAuthorization, err = h.CA.KeyAuthorization(offered.Token); err != nil {
		return c, err
	}
	switch offered.Type {
	case sdk.HTTP01:
		c.HTTP = &sdk.HTTPChallenge{Body: []byte(c.KeyAuthorization)}
		c.HTTP.Path, err = h.CA.HTTP01Path(offered.Token)
	case sdk.DNS01:
		c.DNS = &sdk.DNSChallenge{Name: "_acme-challenge." + a.Identifier.Value}
		c.DNS.Value, err = h.CA.DNS01Value(offered.Token)
	case sdk.DNSAccount01:
		c.DNS = &sdk.DNSChallenge{}
		if c.DNS.Name, err = h.CA.DNSAccount01Name(a.Identifier.Value); err == nil {
			c.DNS.Value, err = h.CA.DNS01Value(offered.Token)
		}
	case sdk.TLSALPN01:
		c.ALPN = &sdk.ALPNChallenge{ServerName: serverName(a.Identifier)}
		c.ALPN.CertPEM, c.ALPN.KeyPEM, err = h.CA.TLSALPN01Certificate(offered.Token, a.Identifier)
	}
	if err != nil {
		return c, fmt.Errorf("compute the %s challenge: %w", offered.Type, err)
	}
	return c, nil
}

// serverName is the SNI value that the CA will send. SNI cannot carry an
// address, so it is asked for by its reverse name (RFC 8738 section 6).
func serverName(id model.Identifier) string {
	ip, err := netip.ParseAddr(id.Value)
	if err != nil {
		return id.Value
	}
	raw := ip.AsSlice()
	slices.Reverse(raw)
	var b strings.Builder
	for _, octet := range raw {
		if ip.Is4() {
			fmt.Fprintf(&b, "%d.", octet)
		} else {
			fmt.Fprintf(&b, "%x.%x.", octet&0xf, octet>>4)
		}
	}
	if ip.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}

// preferred is an instance with what it says of the identifiers.
type preferred struct {
	instance Instance
	answers  map[model.Identifier]sdk.Preference
	err      error
}

func (p preferred) of(id model.Identifier) sdk.Preference {
	if a, ok := p.answers[id]; ok {
		return a
	}
	return sdk.Preference{Identifier: id}
}

// ask gets every instance that could be needed and its preferences, all at
// once.
func (h *handler) ask(ctx context.Context, pending []model.Authorization) map[string]preferred {
	ids := map[string][]model.Identifier{}
	for _, a := range pending {
		for _, name := range slices.Concat(candidates(h.request, a.Identifier, h.tried)...) {
			if !slices.Contains(ids[name], a.Identifier) {
				ids[name] = append(ids[name], a.Identifier)
			}
		}
	}
	out := map[string]preferred{}
	var mu sync.Mutex
	var group errgroup.Group
	for name, mine := range ids {
		group.Go(func() error {
			p := h.askOne(ctx, name, mine)
			mu.Lock()
			defer mu.Unlock()
			out[name] = p
			return nil
		})
	}
	_ = group.Wait() // errors are in the values
	return out
}

func (h *handler) askOne(ctx context.Context, name string, ids []model.Identifier) preferred {
	p := preferred{answers: map[model.Identifier]sdk.Preference{}}
	if p.instance, p.err = h.Instances(ctx, name); p.err != nil {
		return p
	}
	if !slices.Contains(p.instance.Description.Roles, sdk.RoleAuthenticator) {
		p.err = fmt.Errorf("the plugin %s is no authenticator", p.instance.Config.Plugin)
		return p
	}
	if !slices.Contains(p.instance.Description.Features, sdk.FeaturePrefer) {
		return p
	}
	answers, err := p.instance.Prefer(ctx, ids)
	if err != nil {
		p.err = err
		return p
	}
	for _, a := range answers {
		p.answers[a.Identifier] = a
	}
	return p
}
