package script

import (
	"io"
	"strings"
	"sync"
)

// tailLimit bounds what an error quotes, in bytes.
const tailLimit = 4 << 10

// output is what a command prints.
type output struct {
	limit    int
	overflow func()

	mu    sync.Mutex
	kept  [2]strings.Builder
	tail  []byte
	total int
	cut   bool
	// left says that nobody wants it any more.
	left bool
}

func newOutput(c Command, overflow func()) *output {
	o := &output{limit: c.Output, overflow: overflow}
	if o.limit <= 0 {
		o.limit = defaultOutput
	}
	return o
}

// keeper takes one of the streams, and passes it on.
type keeper struct {
	output *output
	stream int
	to     io.Writer
}

func (k keeper) Write(b []byte) (int, error) {
	o := k.output
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total += len(b)
	switch flooded := o.total > flood; {
	case flooded && o.left:
		return 0, errFlood
	case o.left:
		return len(b), nil
	case flooded:
		o.overflow()
	}
	kept := &o.kept[k.stream]
	if room := o.limit - kept.Len(); room >= len(b) {
		kept.Write(b)
	} else {
		kept.Write(b[:room])
		o.cut = true
	}
	o.tail = append(o.tail, b[max(0, len(b)-tailLimit):]...)
	if over := len(o.tail) - tailLimit; over > 0 {
		o.tail = append(o.tail[:0], o.tail[over:]...)
	}
	if k.to != nil {
		return k.to.Write(b)
	}
	return len(b), nil
}

// result is what was kept; what comes later is not, nor is it passed on.
func (o *output) result() Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = true
	r := Result{Stdout: o.kept[0].String(), Stderr: o.kept[1].String(), Cut: o.cut}
	// A message to the host must be valid UTF-8.
	r.Tail = strings.TrimSpace(strings.ToValidUTF8(string(o.tail), "?"))
	if o.total > len(o.tail) && r.Tail != "" {
		r.Tail = "… " + r.Tail
	}
	return r
}
