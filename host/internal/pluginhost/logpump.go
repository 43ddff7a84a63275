package pluginhost

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	maxLogLine = 8 << 10
	// lineRate is how many lines a second of one plugin are logged, and how
	// many at once; the rest is counted.
	lineRate  = 200
	lineBurst = 200
	// tailLines are kept for the error when a plugin dies.
	tailLines = 20
	// lastWordsLimit bounds each of them in the error.
	lastWordsLimit = 200
)

// logPump takes everything that a plugin writes for people, from several
// goroutines, and logs it from one of its own: a slow log drops lines, it does
// not hold the plugin up.
type logPump struct {
	log   hclog.Logger
	masks *masker

	queue chan rawLine
	done  chan struct{}

	mu      sync.Mutex
	closed  bool
	tail    []rawLine
	inTrace bool // a panic's stack trace is being printed
	key     keyLines
	limit   bucket
	dropped int
}

// rawLine is parsed only when it is wanted: a flood must stay cheap.
type rawLine struct {
	text string
	// level, unless zero, makes the text a plain message of that level.
	level hclog.Level
}

func newLogPump(log hclog.Logger, masks *masker) *logPump {
	p := &logPump{
		log: log, masks: masks,
		queue: make(chan rawLine, 2*lineBurst), done: make(chan struct{}),
		limit: bucket{rate: lineRate, size: lineBurst, tokens: lineBurst, now: time.Now},
	}
	go p.run()
	return p
}

// writer gives a place to write log lines to.
func (p *logPump) writer() *lineWriter {
	return &lineWriter{max: maxLogLine, emit: func(line []byte, cut bool) {
		text := string(line)
		if cut {
			text = p.masks.maskCut(text) + "…"
		}
		p.add(rawLine{text: text})
	}}
}

// add never blocks.
func (p *logPump) add(l rawLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.TrimSpace(l.text) == "" || p.closed || p.key.hide(l.text) {
		return
	}
	p.remember(l)
	if !p.limit.take() {
		p.dropped++
		return
	}
	p.tellDropped()
	if !p.enqueue(l) {
		p.dropped++
	}
}

// remember keeps the line for lastWords, but of a panic only what it says: its
// stack trace would push everything else out.
func (p *logPump) remember(l rawLine) {
	p.inTrace = isPanic(l.text) || p.inTrace && isTrace(l.text)
	if p.inTrace && !isPanic(l.text) {
		return
	}
	if p.tail = append(p.tail, l); len(p.tail) > tailLines {
		p.tail = p.tail[1:]
	}
}

func (p *logPump) enqueue(l rawLine) bool {
	select {
	case p.queue <- l:
		return true
	default:
		return false
	}
}

func (p *logPump) tellDropped() {
	if p.dropped == 0 {
		return
	}
	text := fmt.Sprintf("%d lines dropped: the plugin logs too much", p.dropped)
	if p.enqueue(rawLine{level: hclog.Warn, text: text}) {
		p.dropped = 0
	}
}

func (p *logPump) run() {
	defer close(p.done)
	for l := range p.queue {
		line := p.parse(l)
		p.log.Log(line.level, line.message, line.pairs...)
	}
}

// parse masks after parsing, so that a secret cannot hide behind JSON's
// escapes, and before, so that it cannot be torn apart.
func (p *logPump) parse(l rawLine) logLine {
	var out logLine
	if l.level != 0 {
		out = logLine{level: l.level, message: printable(p.masks.mask(l.text))}
	} else {
		out = parseLogLine(p.masks.mask(l.text))
	}
	out.message = p.masks.mask(out.message)
	for i, v := range out.pairs {
		if s, ok := v.(string); ok {
			out.pairs[i] = p.masks.mask(s)
		}
	}
	return out
}

// lastWords gives the last lines, without stack traces.
func (p *logPump) lastWords() []string {
	p.mu.Lock()
	tail := append([]rawLine(nil), p.tail...)
	p.mu.Unlock()
	var out []string
	for _, l := range tail {
		text := p.parse(l).String()
		if runes := []rune(text); len(runes) > lastWordsLimit {
			text = string(runes[:lastWordsLimit]) + "…"
		}
		out = append(out, text)
	}
	return out
}

// close ends the pump. It waits until all is logged, but not for a log that
// has stopped taking lines.
func (p *logPump) close(wait time.Duration) {
	p.mu.Lock()
	if !p.closed {
		p.tellDropped()
		p.closed = true
		close(p.queue)
	}
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// bucket is a token bucket.
type bucket struct {
	rate, size, tokens float64
	last               time.Time
	now                func() time.Time
}

func (b *bucket) take() bool {
	now := b.now()
	if !b.last.IsZero() {
		b.tokens = min(b.size, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
