package order

import (
	"context"
	"sync"
	"time"

	"github.com/certwright/certwright/sdk"
)

// deadline bounds one order, whatever the CA and the plugins do.
const deadline = 30 * time.Minute

// clock ends a context when its time is up. It stands still while a person is
// asked: nobody has to hurry.
type clock struct {
	mu     sync.Mutex
	timer  *time.Timer
	left   time.Duration
	since  time.Time
	asking int
}

// withClock gives a context that ends after d, with cause.
func withClock(ctx context.Context, d time.Duration, cause error) (context.Context, *clock, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &clock{left: d, since: time.Now(), timer: time.AfterFunc(d, func() { cancel(cause) })}
	return ctx, c, func() {
		c.timer.Stop()
		cancel(context.Canceled)
	}
}

// hold stops the clock until release is called; several may hold it.
func (c *clock) hold() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asking++; c.asking == 1 && c.timer.Stop() {
		c.left -= time.Since(c.since)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.asking--; c.asking == 0 {
			c.since = time.Now()
			c.timer.Reset(max(c.left, 0))
		}
	}
}

// patient is a story whose questions stop the clock.
type patient struct {
	Story
	clock *clock
}

func (p patient) Reporter(lineage, instance string) sdk.Reporter {
	return patientReporter{p.Story.Reporter(lineage, instance), p.clock}
}

type patientReporter struct {
	sdk.Reporter
	clock *clock
}

func (r patientReporter) Ask(ctx context.Context, text string) (string, error) {
	defer r.clock.hold()()
	return r.Reporter.Ask(ctx, text)
}
