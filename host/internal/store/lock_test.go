package store

import (
	"bufio"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func TestTryLock(t *testing.T) {
	s := open(t, t.TempDir())
	for _, c := range []struct {
		first, second, free bool // exclusive, exclusive, second gets it
	}{{true, true, false}, {true, false, false}, {false, true, false}, {false, false, true}} {
		first, err := s.TryLock("account-a", c.first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.TryLock("account-a", c.second)
		var held *HeldError
		if (err == nil) != c.free || err != nil && !errors.As(err, &held) {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			second()
		}
		other, err := s.TryLock("account-b", true)
		if err != nil {
			t.Errorf("another name: %v", err)
		} else {
			other()
		}
		first()
		first()
	}
}

func TestLockNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"resource-tcp/80", "resource-tcp%2F80", "resource-..", "a/../b", "Ä", strings.Repeat("/", 300), strings.Repeat("/", 301)} {
		f := lockFile(name)
		if other, ok := seen[f]; ok || strings.Contains(f, "/") || len(f) > 255 {
			t.Errorf("%q is in %s, as is %q", name, f, other)
		}
		seen[f] = name
	}
}

// Another process holds the lock: its process is named, the wait ends with the
// context, and with the holder.
func TestLockAcrossProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir)
	cmd := childCommand(t.Context(), t, "hold", dir, -1, 0)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("child: %q, %v", line, err)
	}
	name := LineageLock(testName)
	_, err = s.TryLock(name, false)
	var held *HeldError
	if !errors.As(err, &held) || held.PID != cmd.Process.Pid || held.Name != name {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Lock(ctx, name, true); !errors.Is(err, context.Canceled) || !errors.As(err, &held) {
		t.Errorf("cancelled: %v", err)
	}

	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		unlock, err := s.Lock(ctx, name, true)
		if err == nil {
			unlock()
		}
		return err
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := g.Wait(); err != nil {
		t.Errorf("the lock outlived its holder: %v", err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the holder was not killed")
	}
}

// The first processes to come make the tree together.
func TestPrepareTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			s, err := Open(dir)
			if err != nil {
				return err
			}
			unlock, err := s.Lock(context.Background(), "x", true)
			if err == nil {
				unlock()
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	noTemp(t, dir)
}
