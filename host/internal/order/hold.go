package order

import (
	"cmp"
	"context"
	"slices"
)

// claim is one exclusive resource that an instance of the order needs.
type claim struct {
	key string
	*batch
}

// hold takes what the instances of an order need for themselves: all of it
// before anything is performed, and sorted. Instances wait for each other (for
// a name that they prove together, for DNS), so an order that took a resource
// while it holds another could wait for ever for an order that does the same the
// other way round.
func (h *handler) hold(ctx context.Context, batches map[string]*batch) (err error) {
	var claims []claim
	for _, b := range batches {
		if b.instance, err = h.Instances(ctx, b.name); err != nil {
			return err
		}
		for _, key := range h.ResourceKeys(b.instance) {
			claims = append(claims, claim{key, b})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.name, b.name)) })
	for i, c := range claims {
		release, err := h.Resources.Hold(ctx, c.name, []string{c.key})
		if err != nil {
			for _, taken := range claims[:i] {
				taken.letGo()
			}
			return err
		}
		c.held = append(c.held, release)
	}
	return nil
}

// letGo gives back what the instance held.
func (b *batch) letGo() {
	for _, release := range slices.Backward(b.held) {
		release()
	}
	b.held = nil
}
