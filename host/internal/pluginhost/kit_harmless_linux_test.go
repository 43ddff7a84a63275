package pluginhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// TestKitFloods: a gigabyte of standard error costs the host neither memory nor
// its log, and the plugin serves on. How much may be logged is counted by the time
// that it took. That some is dropped is sure: it is more lines than may be logged
// until the deadline of an act.
func TestKitFloods(t *testing.T) {
	w := newKitWorld(t, sandbox.Required)
	begun := time.Now()
	i := w.instance(t, "kit", "kit")
	if told, done := w.try(t, i, "flood", fmt.Sprint(1<<30)); !done {
		t.Fatal(told)
	}
	// What is dropped is told with a later line, when there is room for it.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !strings.Contains(w.log.String(), "the plugin logs too much") && ctx.Err() == nil {
		if told, done := w.try(t, i, "flood", "1"); !done {
			t.Fatal(told)
		}
	}
	if err := ctx.Err(); err != nil {
		t.Errorf("the log does not say that something is missing: %v", err)
	}
	if err := i.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	log := w.log.String()
	most := lineBurst + int(lineRate*time.Since(begun).Seconds()) + 1
	logged := 0
	for line := range strings.Lines(log) {
		if strings.Contains(line, "ffff") {
			logged++
		}
		if len(line) > 2*maxLogLine {
			t.Errorf("a line of %d bytes was logged", len(line))
		}
	}
	if logged == 0 || logged > most {
		t.Errorf("%d lines were logged, and %d may be", logged, most)
	}
}

// TestKitSendsTooMuch: a message over the limit breaks that call, and no other.
func TestKitSendsTooMuch(t *testing.T) {
	w := newKitWorld(t, sandbox.Required)
	i := w.instance(t, "kit", "kit")
	message := func(size int) (results []sdk.Result, err error) {
		var heard silent
		err = i.Authenticator().Perform(t.Context(), []sdk.Challenge{
			{ID: "1", Type: sdk.HTTP01, Token: "message", KeyAuthorization: fmt.Sprint(size)}}, &heard)
		return heard.results, err
	}
	results, err := message(17 << 20)
	if err == nil || len(results) > 0 {
		t.Fatalf("17 MiB came through: %v", err)
	}
	mention(t, err, "instance kit", "Perform", "larger than max")
	if results, err := message(client.MaxMessage - 1<<10); err != nil || len(results) != 1 {
		t.Errorf("what is within the limit does not come through: %v", err)
	}
}

// pinned is a lock file with one binary, in which between is called after the check.
type pinned struct {
	hash    string
	between func()
}

func (p *pinned) Verify(_ string, f io.ReaderAt) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, math.MaxInt64)); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != p.hash {
		return errors.New("it is not what is locked")
	}
	if p.between != nil {
		p.between()
	}
	return nil
}

func (p *pinned) Permit(sdk.Description) error { return nil }

// TestKitSwaps: a binary that is replaced after it was checked is not executed,
// and the one that was checked is; the next start checks again.
func TestKitSwaps(t *testing.T) {
	w := newKitWorld(t, sandbox.Required)
	path := filepath.Join(w.plugins, binaryPrefix+"kit")
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	lock := &pinned{hash: hex.EncodeToString(sum[:])}
	w.opts.Lock = lock
	if _, err := w.Describe(t.Context(), "kit"); err != nil {
		t.Fatal(err)
	}
	ran := filepath.Join(w.base, "ran")
	lock.between = func() {
		w.write(t, path+".new", "#!/bin/sh\n: >"+ran+"\n")
		err := os.Chmod(path+".new", 0o700)
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if told, done := w.try(t, w.instance(t, "kit", "kit"), "nothing", ""); !done {
		t.Error(told)
	}
	_, err = w.Start(context.Background(), Spec{Name: "next", Plugin: "kit", Sandbox: string(sandbox.Required)})
	mention(t, err, "next", "it is not what is locked")
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what replaced the binary was executed (%v)", err)
	}
}

// TestKitIsRefused: a plugin that asks for no sandbox does not start where one is
// required; and the host says loudly when there is none.
func TestKitIsRefused(t *testing.T) {
	r := newRig(t, "good")
	_, err := r.Start(t.Context(), Spec{Name: "web", Plugin: "good", Sandbox: string(sandbox.Required)})
	mention(t, err, "instance web", "sandbox: required", "unconfined")
	w := newKitWorld(t, sandbox.Off)
	w.instance(t, "kit", "kit")
	if text := w.log.String(); !strings.Contains(text, "[WARN]") || !strings.Contains(text, "WITHOUT A SANDBOX") {
		t.Errorf("nobody is warned: %s", text)
	}
}
