package pluginhost

import (
	"bytes"
	"sync"
)

// lineWriter cuts what is written to it into lines and bounds them: what is
// beyond max bytes of one is dropped. Line ends are "\n" or "\r\n".
type lineWriter struct {
	max int
	// emit is called for each line; the slice is only valid during the call.
	emit func(line []byte, cut bool)
	// closed, if set, is called once at the end.
	closed func()

	mu   sync.Mutex
	held []byte
	cut  bool
	open bool // something of a line was seen
	done bool
}

// Write never fails.
func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		part, rest, complete := bytes.Cut(b, []byte{'\n'})
		room := w.max - len(w.held)
		if len(part) > room {
			part, w.cut = part[:room], true
		}
		w.held, w.open = append(w.held, part...), true
		if complete {
			w.flush()
		}
		b = rest
	}
	return n, nil
}

// Close emits what has no line end. It may be called more than once.
func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil
	}
	w.done = true
	if w.open {
		w.flush()
	}
	if w.closed != nil {
		w.closed()
	}
	return nil
}

func (w *lineWriter) flush() {
	line := w.held
	if !w.cut {
		line = bytes.TrimSuffix(line, []byte{'\r'})
	}
	w.emit(line, w.cut)
	w.held, w.cut, w.open = w.held[:0], false, false
}
