package main

import (
	"context"
	"fmt"
	"sync"
)

// desk lets one call at a time work on the configuration. A certificate that has
// begun to write keeps it from all others until its transaction is over, so that
// no draft ever meets another one's files; only what belongs to the same
// certificate comes in between.
type desk struct {
	mu      sync.Mutex
	busy    bool
	writer  string
	writing bool
	changed chan struct{}
}

// sit waits for the desk on behalf of a certificate; "" is for what belongs to
// none. The desk MUST be left by what is returned.
func (d *desk) sit(ctx context.Context, lineage string) (leave func(), err error) {
	for {
		d.mu.Lock()
		if !d.busy && (!d.writing || d.writer == lineage) {
			d.busy = true
			d.mu.Unlock()
			return d.leave, nil
		}
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed, writer, writing := d.changed, d.writer, d.writing
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			if writing && writer != lineage {
				return nil, fmt.Errorf("wait until the deployment of %s is over: %w", writer, context.Cause(ctx))
			}
			return nil, context.Cause(ctx)
		}
	}
}

func (d *desk) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = false
	d.wake()
}

func (d *desk) wake() {
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// write notes that a certificate has a draft, or has none any more. The caller
// sits at the desk.
func (d *desk) write(lineage string, writing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writer, d.writing = lineage, writing
	d.wake()
}

// whoever is the certificate that keeps the desk.
func (d *desk) whoever() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writer
}
