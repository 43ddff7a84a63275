package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/host/testca"
)

// Who repeats a command that was interrupted wants the same once, not twice.
func TestRollbackRepeated(t *testing.T) {
	t.Parallel()
	s := newRig(t, testca.Options{}).state(t)
	for range 3 {
		s.mustRun(command{Names: []string{"site"}, Force: true})
	}
	s.finished(3)
	s.keep()
	for _, at := range []string{"journal: deploy", "after Rollback 1 by files", "before Restart by files", "after Restart by files"} {
		t.Run(at, func(t *testing.T) {
			s := s.kept(t)
			back := command{Rollback: "files", KillOn: at}
			if trace, killed, err := s.run(back); !killed {
				t.Fatalf("not killed: %v, %q", err, trace)
			}
			s.quiet()
			back.KillOn = ""
			s.mustRun(back)
			s.clean()
			if served, target := s.whole(), s.lineage("site").Targets["files"]; served != 2 || target.Deployed != 2 || target.RolledBack != 3 {
				s.fail("version %d is served, and %+v is remembered", served, target)
			}
			s.mustRun(back) // one that was not interrupted
			if served := s.whole(); served != 1 {
				s.fail("version %d is served", served)
			}
			// The last one: afterwards there is none that could name the installer.
			back = command{Rollback: "any", KillOn: "after Rollback 1 by files"}
			if trace, killed, err := s.run(back); !killed {
				t.Fatalf("not killed: %v, %q", err, trace)
			}
			s.quiet()
			back.KillOn = ""
			s.mustRun(back)
			if target := s.lineage("site").Targets["files"]; target.Deployed != 0 || target.RolledBack != 1 || s.read("site/site.pem") != "" {
				s.fail("what is remembered: %+v", target)
			}
		})
	}
}

// What is older is not put over what could not be undone.
func TestRollbackThatCannotBeEnded(t *testing.T) {
	t.Parallel()
	s := newRig(t, testca.Options{}).state(t)
	for range 3 {
		s.mustRun(command{Names: []string{"site"}, Force: true})
	}
	s.finished(3)
	back := command{Rollback: "files", KillOn: "journal: deploy"}
	if trace, killed, err := s.run(back); !killed {
		t.Fatalf("not killed: %v, %q", err, trace)
	}
	s.quiet()
	back.KillOn = ""
	site, away := filepath.Join(s.dir, "site"), filepath.Join(s.dir, "away")
	if err := os.Rename(site, away); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(site, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := s.lineage("site").Targets["files"]
	if _, _, err := s.run(back); err == nil || !strings.Contains(s.story.String(), "error: roll back at files: what an interrupted run has left there could not be undone") {
		s.fail("error %v", err)
	}
	if err := os.Remove(site); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, site); err != nil {
		t.Fatal(err)
	}
	if target := s.lineage("site").Targets["files"]; len(target.Checkpoints) != len(before.Checkpoints) {
		s.fail("%+v was %+v", target, before)
	}
	s.mustRun(back)
	if served := s.whole(); served != 2 {
		s.fail("version %d is served", served)
	}
}

// What could not be undone in time does not take back a later deployment.
func TestOvertakenDeployment(t *testing.T) {
	t.Parallel()
	s := newRig(t, testca.Options{}).state(t)
	s.mustRun(command{Names: []string{"site"}})
	if trace, killed, err := s.run(command{Names: []string{"site"}, Force: true, KillOn: "after Restart by files"}); !killed {
		t.Fatalf("not killed: %v, %q", err, trace)
	}
	s.quiet()
	left, away := filepath.Join(s.dir, "state", "journal"), filepath.Join(s.dir, "left")
	if err := os.Rename(left, away); err != nil {
		t.Fatal(err)
	}
	s.mustRun(command{Names: []string{"site"}, Force: true})
	s.finished(3)
	if err := os.RemoveAll(left); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, left); err != nil {
		t.Fatal(err)
	}
	s.mustRun(command{})
	s.finished(3)
}
