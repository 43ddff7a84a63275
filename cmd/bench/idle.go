package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// stored is how many lineages (d) has.
const stored = 10_000

// idle is (d): renew with nothing due. It fails if the CA is reached or a
// process started.
func idle(ctx context.Context, s *stage) (f figure, err error) {
	f = figure{What: fmt.Sprintf("renew, nothing due, %d lineages", stored), Limits: limits{Wall: 0.5, PeakMB: 64}, Quiet: true}
	r, err := s.relay(ctx, 0)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	const template = "template.bench.test"
	if _, err := s.obtain(ctx, s.through(r), template); err != nil {
		return f, err
	}
	// What a first renew asks for once (renewal information) is asked for now.
	if _, err := s.certwright(ctx, "renew"); err != nil {
		return f, err
	}
	if r.connections.Load() == 0 {
		return f, errors.New("the relay saw no connection: its count cannot be trusted")
	}
	if err := s.copies(template); err != nil {
		return f, err
	}
	for range s.runs {
		before := r.connections.Load()
		c, err := s.certwright(ctx, "renew")
		if err != nil {
			return f, err
		}
		switch connections := r.connections.Load() - before; {
		case connections > 0 || c.requests > 0:
			return f, fmt.Errorf("nothing was due, and the CA saw %d connections and %d requests", connections, c.requests)
		case c.Children:
			return f, errors.New("nothing was due, and a process was started")
		}
		f.took(c)
		floor, err := s.readAll()
		if err != nil {
			return f, err
		}
		f.floors = append(f.floors, floor)
	}
	return f, nil
}

// copies makes one real lineage many. Public and private files are links to
// its own; nothing that decides reads them.
func (s *stage) copies(template string) error {
	state := s.path("state")
	text, err := os.ReadFile(filepath.Join(state, "lineages", template+".json"))
	if err != nil {
		return err
	}
	version := filepath.Join(state, "archive", template, "0001")
	files, err := os.ReadDir(version)
	if err != nil {
		return err
	}
	for i := 1; i < stored; i++ {
		name := fmt.Sprintf("copy%d.bench.test", i)
		mine := filepath.Join(state, "archive", name, "0001")
		if err := os.MkdirAll(mine, 0o755); err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Link(filepath.Join(version, f.Name()), filepath.Join(mine, f.Name())); err != nil {
				return err
			}
		}
		if err := os.Symlink("../archive/"+name+"/0001", filepath.Join(state, "live", name)); err != nil {
			return err
		}
		lineage := bytes.ReplaceAll(text, []byte(template), []byte(name))
		if err := os.WriteFile(filepath.Join(state, "lineages", name+".json"), lineage, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// readAll is the floor of (d): every file is read and looked at as JSON, in one
// loop.
func (s *stage) readAll() (floor, error) {
	dir := filepath.Join(s.path("state"), "lineages")
	began := time.Now()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return floor{}, err
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return floor{}, err
		}
		if !json.Valid(text) {
			return floor{}, fmt.Errorf("%s is not JSON", e.Name())
		}
	}
	if len(entries) != stored {
		return floor{}, fmt.Errorf("there are %d lineages, not %d", len(entries), stored)
	}
	return floor{wall: time.Since(began).Seconds()}, nil
}
