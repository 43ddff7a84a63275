package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// maxDescription bounds what `describe` may print.
const maxDescription = 1 << 20

// Describe gives what `certwright-plugin-X describe` prints, after the trust
// rule has allowed the binary. The answer is kept for the life of the host;
// failures are not.
func (h *Host) Describe(ctx context.Context, plugin string) (sdk.Description, error) {
	ctx, leave, err := h.enter(ctx)
	if err != nil {
		return sdk.Description{}, fmt.Errorf("describe plugin %s: %w", plugin, err)
	}
	defer leave()

	h.mu.Lock()
	entry := h.descriptions[plugin]
	if entry == nil {
		entry = &descriptionEntry{lock: make(chan struct{}, 1)}
		h.descriptions[plugin] = entry
	}
	h.mu.Unlock()
	select {
	case entry.lock <- struct{}{}:
		defer func() { <-entry.lock }()
	case <-ctx.Done():
		return sdk.Description{}, fmt.Errorf("describe plugin %s: %w", plugin, context.Cause(ctx))
	}
	if entry.known {
		return entry.value, nil
	}
	d, err := h.describe(ctx, plugin)
	if err != nil {
		return sdk.Description{}, err
	}
	entry.known, entry.value = true, d
	return d, nil
}

func (h *Host) describe(ctx context.Context, plugin string) (sdk.Description, error) {
	if at, running := h.opts.Dev.Running[plugin]; running {
		return h.describeRunning(ctx, plugin, at)
	}
	path, err := h.find(plugin)
	if err != nil {
		return sdk.Description{}, err
	}
	b, err := h.open(path)
	if err != nil {
		return sdk.Description{}, err
	}
	defer b.file.Close()
	output, err := h.runDescribe(ctx, b)
	if err == nil {
		var d sdk.Description
		if d, err = readDescription(output, plugin); err == nil {
			if h.opts.Lock == nil {
				return d, nil
			}
			if err := h.opts.Lock.Permit(d); err != nil {
				return d, fmt.Errorf("plugin binary %s is refused: %w", path, err)
			}
			return d, nil
		}
	}
	return sdk.Description{}, fmt.Errorf("describe plugin %s: run `%s describe`: %w", plugin, b.path, err)
}

// runDescribe runs the binary to its end, or ends it.
func (h *Host) runDescribe(ctx context.Context, b *binary) ([]byte, error) {
	slow := fmt.Errorf("it did not end within %s and was killed; it must print its description and exit", h.limits.describe)
	ctx, cancel := context.WithTimeoutCause(ctx, h.limits.describe, slow)
	defer cancel()

	out := &boundedBuffer{max: maxDescription, full: make(chan struct{})}
	// Its words are wanted for an error only: nobody has asked it to work yet.
	pump := newLogPump(hclog.NewNullLogger(), h.masks)
	defer pump.close(h.limits.reap)
	policy := b.describePolicy()
	if err := h.enclose(&policy, h.describeWrites...); err != nil {
		return nil, err
	}
	p, err := launch(b, policy, h.environment(sdk.Description{}), false, out, pump.writer(), nil)
	if err != nil {
		return nil, err
	}
	var failure error
	select {
	case <-p.gone:
	case <-out.full:
		failure = fmt.Errorf("it prints more than %d bytes", maxDescription)
	case <-ctx.Done():
		failure = context.Cause(ctx)
	}
	p.kill()
	<-p.gone
	switch fate := p.fate(); {
	case failure != nil:
		return nil, failure
	case fate != "ended with exit status 0":
		return nil, fmt.Errorf("it %s%s", fate, quoteLastWords(pump.lastWords()))
	}
	return out.Bytes(), nil
}

// describePolicy is that of a plugin of which nothing is known yet: it may print.
func (b *binary) describePolicy() sandbox.Policy {
	c := &sandbox.Confinement{Write: []string{devNull}, Read: commonReads}
	c.Children = b.script // a shell script is little without them
	p := b.policy([]string{"describe"}, Sandbox{Confinement: c})
	p.Limits = c.Limits(nil)
	return p
}

// readDescription checks what a plugin says of itself as far as this host
// relies on it. Unknown fields are ignored: a later SDK may have added them.
func readDescription(output []byte, plugin string) (sdk.Description, error) {
	var d sdk.Description
	dec := json.NewDecoder(bytes.NewReader(output))
	if err := dec.Decode(&d); err != nil {
		return d, fmt.Errorf("it does not print JSON (%w); it must print its description and nothing else", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return d, errors.New("it prints more than its description; it must print nothing else")
	}
	switch {
	case d.Name != plugin:
		return d, fmt.Errorf("it says that its name is %q; a binary must be called %s and its name", d.Name, binaryPrefix)
	case len(d.Roles) == 0:
		return d, errors.New("it names no role; it must be authenticator, installer or hook")
	case !slices.ContainsFunc(client.Majors(), func(m int) bool { return slices.Contains(d.Protocol, m) }):
		major := 0
		if len(d.Protocol) > 0 {
			major = slices.Min(d.Protocol)
		}
		return d, fmt.Errorf("it speaks the protocol majors %v, this host speaks %s; %s", d.Protocol, majors(), versionAdvice(major))
	}
	return d, nil
}

// boundedBuffer keeps up to max bytes and tells when there are more.
type boundedBuffer struct {
	max  int
	full chan struct{}
	once sync.Once
	buf  bytes.Buffer
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.max {
		b.once.Do(func() { close(b.full) })
		return len(p), nil
	}
	return b.buf.Write(p)
}

func (b *boundedBuffer) Close() error { return nil }

// Bytes may be called when nothing is written any more.
func (b *boundedBuffer) Bytes() []byte { return b.buf.Bytes() }
