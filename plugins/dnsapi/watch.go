package main

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of what is taken of the output of one call.
const (
	maxLine  = 4 << 10 // bytes of a line; what is longer comes in pieces
	maxStory = 200     // lines that are passed on
	maxSaid  = 100     // lines that are kept, the last ones
)

// watch reads both streams of a shell: marks, which tell how far it is, and what
// the script says between them. A call has ended when its mark has come on both.
type watch struct {
	nonce string
	// line is told each line; done the end of each call.
	line func(err bool, line string)
	done func(n, code int, said []string)

	mu      sync.Mutex
	timer   callTimer
	streams [2]*lines
	loaded  bool
	told    int
	ended   map[int]int      // how many streams have shown the end of a call
	said    map[int][]string // by the call; -1 before the first
	passed  map[int]int      // how many lines of a call were passed on
	fail    string
	closed  bool
}

func newWatch(nonce string, limit time.Duration, end context.CancelCauseFunc) *watch {
	w := &watch{
		nonce: nonce, timer: callTimer{limit: limit, end: end},
		ended: map[int]int{}, said: map[int][]string{}, passed: map[int]int{},
	}
	w.streams = [2]*lines{{watch: w, call: -1}, {watch: w, call: -1, err: true}}
	w.timer.begin() // for reading the script
	return w
}

func (w *watch) stream(err bool) io.Writer {
	if err {
		return w.streams[1]
	}
	return w.streams[0]
}

// end takes what is left when the shell has ended.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.stop()
	for _, l := range w.streams {
		l.flush()
	}
	w.closed = true // a process that was left may still print
}

// state says how many calls have ended, whether another one had begun, whether the
// script was read, and what was said since.
func (w *watch) state() (told int, begun, loaded bool, said []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	begun = w.streams[0].call == w.told
	at := w.told
	if !begun {
		at--
	}
	return w.told, begun, w.loaded, w.said[at]
}

func (w *watch) failure() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail
}

// take handles a line of a stream; the lock is held.
func (w *watch) take(l *lines, line string) {
	if mark, ok := strings.CutPrefix(line, w.nonce+" "); ok {
		w.mark(l, strings.Fields(mark))
		return
	}
	line = strings.ToValidUTF8(strings.TrimRight(line, " \t\r"), "?")
	if line == "" {
		return
	}
	w.said[l.call] = append(w.said[l.call], line)
	if over := len(w.said[l.call]) - maxSaid; over > 0 {
		w.said[l.call] = w.said[l.call][over:]
	}
	switch w.passed[l.call]++; {
	case w.passed[l.call] <= maxStory:
		w.line(l.err, line)
	case w.passed[l.call] == maxStory+1:
		w.line(l.err, "… (more is not shown)")
	}
}

func (w *watch) mark(l *lines, words []string) {
	n, code, numbered := numbers(words)
	switch {
	case len(words) == 0:
	case words[0] == "loaded":
		w.loaded = true
	case words[0] == "failed":
		w.fail = words[len(words)-1]
	case words[0] == "begin" && numbered:
		if l.call = n; !l.err {
			w.timer.begin()
		}
	case words[0] == "end" && numbered:
		if w.ended[n]++; w.ended[n] < len(w.streams) {
			return
		}
		w.told++
		w.done(n, code, w.said[n])
	}
}

// numbers reads those of a mark: of the call, and at its end its status.
func numbers(words []string) (n, code int, ok bool) {
	if len(words) < 2 {
		return 0, 0, false
	}
	n, err := strconv.Atoi(words[1])
	if err == nil && len(words) > 2 {
		code, err = strconv.Atoi(words[2])
	}
	return n, code, err == nil
}

// lines cuts a stream into lines, which belong to the call that has begun on it.
type lines struct {
	watch *watch
	err   bool
	call  int
	buf   []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.watch.mu.Lock()
	defer l.watch.mu.Unlock()
	if l.watch.closed {
		return len(b), nil
	}
	for rest := b; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			l.buf = append(l.buf, rest...)
			break
		}
		l.buf = append(l.buf, rest[:end]...)
		rest = rest[end+1:]
		l.flush()
	}
	for len(l.buf) > maxLine {
		l.watch.take(l, string(l.buf[:maxLine]))
		l.buf = append(l.buf[:0], l.buf[maxLine:]...)
	}
	return len(b), nil
}

func (l *lines) flush() {
	line := string(l.buf)
	l.buf = l.buf[:0]
	if line != "" {
		l.watch.take(l, line)
	}
}
