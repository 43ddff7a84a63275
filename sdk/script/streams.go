package script

import (
	"fmt"
	"io"
	"os"
	"time"
)

// streams are the pipes that a command prints to. They are read until the last
// process closes them, also when the command has ended and nothing is kept any
// more: a process in the background would be ended by its next word otherwise.
type streams struct {
	write  []*os.File
	copied chan error
	// until is how long their end is awaited, if the command was told to end.
	until time.Time
}

func (o *output) open(stdout, stderr io.Writer) (*streams, error) {
	s := &streams{copied: make(chan error, 2)}
	for i, to := range []io.Writer{stdout, stderr} {
		read, write, err := os.Pipe()
		if err != nil {
			s.close()
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		s.write = append(s.write, write)
		go func() {
			_, err := io.Copy(keeper{o, i, to}, read)
			read.Close()
			s.copied <- err
		}()
	}
	return s, nil
}

// close leaves the pipes to those that have inherited them.
func (s *streams) close() {
	for _, f := range s.write {
		f.Close()
	}
}

// await waits for their end, and says whether somebody holds one open. The error
// is that of whom the output is passed on to.
func (s *streams) await() (held bool, err error) {
	if s.until.IsZero() {
		s.until = time.Now().Add(grace)
	}
	timer := time.NewTimer(time.Until(s.until))
	defer timer.Stop()
	for range s.write {
		select {
		case one := <-s.copied:
			if err == nil {
				err = one
			}
		case <-timer.C:
			return true, err
		}
	}
	return false, err
}
