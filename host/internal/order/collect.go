package order

import (
	"fmt"
	"slices"
	"sync"

	"github.com/certwright/certwright/sdk"
)

// collector takes the results of Perform. Subjects that were not asked for are
// ignored.
type collector struct {
	sdk.Reporter
	batch *batch
}

func (c *collector) Result(r sdk.Result) {
	b := c.batch
	if !slices.ContainsFunc(b.proofs, func(p proof) bool { return p.asks(r.Subject) }) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Err != nil {
		b.failed[r.Subject] = r.Err
		return
	}
	b.ready[r.Subject] = true
	if len(r.Receipt) == 0 {
		return
	}
	if len(r.Receipt) > maxReceipt {
		b.Story.Warn(b.request.Name, "%s gave a receipt of %d bytes, which is not kept: the limit is %d",
			b.instance.Config.Name, len(r.Receipt), maxReceipt)
		return
	}
	b.receipts[r.Subject] = r.Receipt
	b.unwritten = append(b.unwritten, Receipt{ChallengeID: r.Subject, Data: r.Receipt})
	if !b.writing {
		b.writing = true
		b.writers.Go(b.write)
	}
}

// write brings receipts to the journal until there are none left.
func (b *batch) write() {
	for {
		b.mu.Lock()
		receipts := b.unwritten
		b.unwritten = nil
		if len(receipts) == 0 {
			b.writing = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		if err := b.entry.Receipts(receipts); err != nil {
			b.mu.Lock()
			b.journal = fmt.Errorf("journal the receipts: %w", err)
			b.mu.Unlock()
		}
	}
}

// cleaning takes the results of Cleanup.
type cleaning struct {
	sdk.Reporter
	mu     sync.Mutex
	failed map[string]error
	gone   map[string]bool
}

func (c *cleaning) Result(r sdk.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Err != nil {
		c.failed[r.Subject] = r.Err
		return
	}
	c.gone[r.Subject] = true
}
