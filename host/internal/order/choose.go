package order

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// errNoPath says that no set of challenges can be answered.
var errNoPath = errors.New("none of the challenges that the CA offers can be answered")

// challengePath plans how to prove an identifier: the indices of the challenges
// that are to be answered. preferences are challenge types, most preferred
// first. combinations are sets of indices of which one suffices; without any,
// all challenges have to be answered.
func challengePath(offered []model.ACMEChallenge, preferences []string, combinations [][]int) ([]int, error) {
	if combinations == nil {
		return plainPath(offered, preferences)
	}
	return rankedPath(offered, preferences, combinations)
}

// rankedPath takes the combination of the lowest cost, the first one on a tie.
// A challenge costs its place among the preferences; one that is not among them
// costs more than all of them together, and a combination that holds one is
// never taken.
func rankedPath(offered []model.ACMEChallenge, preferences []string, combinations [][]int) ([]int, error) {
	most := 1
	for i := range preferences {
		most += i
	}
	var best []int
	lowest := most
	for _, combination := range combinations {
		cost := 0
		for _, i := range combination {
			if i < 0 || i >= len(offered) {
				cost = most
				break
			}
			if at := slices.Index(preferences, offered[i].Type); at >= 0 {
				cost += at
			} else {
				cost += most
			}
		}
		if cost < lowest {
			best, lowest = combination, cost
		}
	}
	if best == nil {
		return nil, errNoPath
	}
	return best, nil
}

// plainPath answers every challenge, and each must be supported.
func plainPath(offered []model.ACMEChallenge, preferences []string) ([]int, error) {
	var path []int
	for i, c := range offered {
		if !slices.Contains(preferences, c.Type) {
			return nil, errNoPath
		}
		path = append(path, i)
	}
	if len(path) == 0 {
		return nil, errNoPath
	}
	return path, nil
}

// singletons says that each challenge alone suffices, as in ACMEv2.
func singletons(a model.Authorization) [][]int {
	if a.Combinations != nil {
		return a.Combinations
	}
	out := [][]int{}
	for i := range a.Challenges {
		out = append(out, []int{i})
	}
	return out
}

// supported lists the challenge types that an instance can answer for an
// identifier, its own order.
func supported(d sdk.Description, id model.Identifier) []string {
	var out []string
	for _, t := range d.ChallengeTypes {
		ids := t.IdentifierTypes
		if len(ids) == 0 {
			ids = []string{"dns"}
		}
		if !slices.Contains(ids, id.Type) || id.Wildcard && !strings.HasPrefix(t.Type, "dns-") {
			continue
		}
		out = append(out, t.Type)
	}
	return out
}

// preferences gives the types to try: the user's order if there is one, else
// what the plugin prefers for this identifier, else its own order; always only
// those that it supports.
func preferences(user []string, d sdk.Description, p sdk.Preference) ([]string, error) {
	if p.Err != nil {
		return nil, p.Err
	}
	can := supported(d, p.Identifier)
	order := can
	if len(p.ChallengeTypes) > 0 {
		order = p.ChallengeTypes
	}
	if len(user) > 0 {
		order = user
	}
	var out []string
	for _, t := range order {
		if slices.Contains(can, t) && (len(user) == 0 || len(p.ChallengeTypes) == 0 || slices.Contains(p.ChallengeTypes, t)) {
			out = append(out, t)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case len(user) > 0:
		return nil, fmt.Errorf("none of the preferred challenges (%s) is supported", strings.Join(user, ", "))
	case p.Identifier.Wildcard:
		return nil, errors.New("it has no DNS challenge, which a wildcard needs")
	}
	return nil, fmt.Errorf("it has no challenge for identifiers of type %s", p.Identifier.Type)
}

func offeredTypes(a model.Authorization) string {
	var types []string
	for _, c := range a.Challenges {
		types = append(types, c.Type)
	}
	slices.Sort(types)
	return orNone(types)
}

func orNone(types []string) string {
	if len(types) == 0 {
		return "none"
	}
	return strings.Join(types, ", ")
}
