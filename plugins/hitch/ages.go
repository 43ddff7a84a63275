package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// step is by how much a time is later: file systems keep whole seconds, some two.
const step = 2 * time.Second

// ages are the latest times that each file had. hitch reads a file again only if
// its time is later than that of the one that it has, whatever is in it; the
// clock may have been set back, and a rollback brings back the old time.
type ages struct {
	path string
	mu   sync.Mutex
}

// note remembers the time that a file has now.
func (a *ages) note(file string) error { return a.change(file, false) }

// renew gives a file a time later than any before.
func (a *ages) renew(file string) error { return a.change(file, true) }

func (a *ages) change(file string, renew bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a rollback has removed it: so will hitch
	}
	if err != nil {
		return err
	}
	all := a.read()
	latest := all[file]
	if info.ModTime().After(latest) {
		latest = info.ModTime()
	}
	if renew {
		now := time.Now()
		if latest = latest.Add(step); now.After(latest) {
			latest = now
		}
	}
	all[file] = latest
	if err := a.write(all); err != nil {
		return fmt.Errorf("remember the time of %s: %w", file, err)
	}
	if !renew {
		return nil
	}
	if err := os.Chtimes(file, time.Time{}, latest); err != nil {
		return fmt.Errorf("give %s a new time, without which hitch would not read it: %w", file, err)
	}
	return nil
}

// read gives nothing if the file is missing or broken: the times on disk count
// then.
func (a *ages) read() map[string]time.Time {
	all := map[string]time.Time{}
	data, err := os.ReadFile(a.path)
	if err != nil || json.Unmarshal(data, &all) != nil {
		return map[string]time.Time{}
	}
	return all
}

func (a *ages) write(all map[string]time.Time) error {
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(a.path), ".ages-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), a.path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}
