package service

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun(t *testing.T) {
	t.Setenv("SECRET", "not for it")
	out, err := Run(t.Context(), program(t, `pwd; echo "$PATH"; echo "$SECRET$1" >&2; exit 3`), "argument")
	var exit *exec.ExitError
	if want := "/\n" + searchPath + "\nargument"; out != want || !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("%q, %v", out, err)
	}
	// One that leaves a process with the output open has ended all the same.
	if out, err := Run(t.Context(), program(t, "read line <&0 & echo done")); out != "done" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, "/bin/true"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestTail(t *testing.T) {
	if got := Tail("short"); got != "short" {
		t.Error(got)
	}
	long := strings.Repeat("é", tailLimit) + "the end"
	if got := Tail(long); len(got) > tailLimit+len("… ") || !strings.HasSuffix(got, "the end") || !strings.HasPrefix(got, "… é") {
		t.Errorf("%d bytes: %.20q", len(got), got)
	}
}

func TestUnit(t *testing.T) {
	booted := t.TempDir()
	systemctl := program(t, `case "$*" in
"show there.service --value --property=LoadState") echo loaded;;
"show there.service --value --property=ActiveState") echo inactive;;
"start there.service") echo started;;
"show "*) echo not-found;;
*) echo "cannot: $*"; exit 1;;
esac
`)
	there := Unit{Name: "there.service", Program: systemctl, Booted: booted}
	if !there.Exists(t.Context()) || there.Active(t.Context()) {
		t.Error("a unit that is loaded and inactive is not known as such")
	}
	if out, err := there.Do(t.Context(), "start"); out != "started" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := there.Do(t.Context(), "reload"); out != "cannot: reload there.service" || err == nil {
		t.Errorf("%q, %v", out, err)
	}
	if (Unit{Name: "other.service", Program: systemctl, Booted: booted}).Exists(t.Context()) {
		t.Error("a unit that is not found exists")
	}
	if (Unit{Name: "there.service", Program: systemctl, Booted: filepath.Join(booted, "no")}).Exists(t.Context()) {
		t.Error("systemd is asked where it does not run")
	}
}
