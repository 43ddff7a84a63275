//go:build slow

package run

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The kill matrix of deployments to several targets, and of what is taken back.

var (
	pair      = command{Names: []string{"pair"}}
	pairAnew  = command{Names: []string{"pair"}, Force: true}
	recovered = command{} // nothing is wanted but to clean up
)

// undeployed is a version of pair that is at no target yet.
func (s *state) undeployed(c command) {
	s.t.Helper()
	c.KillOn = "journal: deploy"
	if trace, killed, err := s.run(c); !killed {
		s.fail("not killed: %v, %q", err, trace)
	}
	s.quiet()
	s.mustRun(recovered)
}

// pairServes holds that both targets serve the same version, with their pointers
// and what is written in step, and gives its number; 0: none.
func (s *state) pairServes() int {
	s.t.Helper()
	one, two := s.serves("one", s.one), s.serves("two", s.two)
	if one != two {
		s.fail("one serves version %d, two version %d", one, two)
	}
	conf := s.read("two/sites.conf")
	if (one == 0) != (conf == sitesConf) || one > 0 && !strings.Contains(conf, " redirect\n") || conf != s.read("two/sites.conf.live") && one > 0 {
		s.fail("version %d is served with the configuration\n%s", one, conf)
	}
	if site := s.read("one/site.pem"); (one == 0) != (site == "") || site != s.read("one/served.pem") {
		s.fail("version %d is served, site.pem has %d bytes", one, len(site))
	}
	return one
}

func (s *state) serves(instance string, target net.Listener) int {
	s.t.Helper()
	leaf := s.shown(target)
	link := filepath.Join(s.dir, "state", "deployed", instance, "pair")
	pointer, err := os.Readlink(link)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.fail("the pointer: %v", err)
	}
	if leaf == nil || pointer == "" {
		if leaf != nil || pointer != "" {
			s.fail("%s: the pointer leads to %q; something is served: %v", instance, pointer, leaf != nil)
		}
		return 0
	}
	cert, _ := pem.Decode([]byte(s.read("state/deployed/" + instance + "/pair/cert.pem")))
	if cert == nil || !bytes.Equal(cert.Bytes, leaf.Raw) {
		s.fail("%s: the pointer (%s) does not lead to what is served", instance, pointer)
	}
	version, err := strconv.Atoi(filepath.Base(pointer))
	if err != nil {
		s.fail("the pointer leads to %s", pointer)
	}
	return version
}

// pairFinished holds that everything is as after an undisturbed run.
func (s *state) pairFinished(version int) {
	s.t.Helper()
	s.clean()
	if served := s.pairServes(); served != version {
		s.fail("version %d is served, not %d", served, version)
	}
	l := s.lineage("pair")
	for _, name := range []string{"one", "two"} {
		target := l.Targets[name]
		if l.Version.Number != version || target.Deployed != version || target.Proven != version || target.Error != "" || target.Failures > 0 {
			s.fail("lineage: version %+v, %s %+v", l.Version, name, target)
		}
	}
}

// The first deployment, with an enhancement: at both targets or at none.
func TestKilledTogether(t *testing.T) {
	t.Parallel()
	everyStep(t, newRigs(t), 35, pair, func(s *state) { s.undeployed(pair) }, func(s *state, victim command) {
		trace, _, _ := s.run(victim)
		s.quiet()
		s.mustRun(recovered)
		s.clean()
		served := s.pairServes()
		if done := slices.Contains(trace, "journal: done"); done != (served == 1) {
			s.fail("version %d is served, though the deployment was ended: %v", served, done)
		}
		for name, target := range s.lineage("pair").Targets {
			if target.Deployed != served {
				s.fail("%s serves version %d, and %+v is remembered", name, served, target)
			}
		}
		s.mustRun(pair)
		s.pairFinished(1)
	})
}

// A renewal that one of them refuses when the other has been restarted already:
// both are taken back.
func TestKilledTogetherRefused(t *testing.T) {
	t.Parallel()
	begin := func(s *state) {
		s.mustRun(pair)
		s.pairFinished(1)
		s.write("one/only", s.read("one/site.pem"), 0o600)
		s.undeployed(pairAnew)
	}
	everyStep(t, newRigs(t), 50, pair, begin, func(s *state, victim command) {
		_, _, _ = s.run(victim)
		s.quiet()
		s.mustRun(recovered)
		s.clean()
		if served := s.pairServes(); served != 1 {
			s.fail("version %d is served", served)
		}
		if err := os.Remove(filepath.Join(s.dir, "one", "only")); err != nil {
			s.t.Fatal(err)
		}
		s.mustRun(pair)
		s.pairFinished(2)
	})
}

// A plugin dies at one of its calls: the run itself puts both back, or ends well.
func TestPluginKilledTogether(t *testing.T) {
	t.Parallel()
	rigs := newRigs(t)
	begin := func(s *state) { s.undeployed(pair) }
	steps, names := calling(trace(t, rigs[0], begin, pair))
	if len(steps) < 20 {
		t.Errorf("there are only %d steps: %q", len(steps), names)
	}
	each(t, rigs, begin, names, func(s *state, n int) {
		v := pair
		v.Murder = steps[n]
		_, killed, err := s.run(v)
		if killed {
			s.fail("the host died: %v", err)
		}
		s.clean()
		if served := s.pairServes(); (err == nil) != (served == 1) {
			s.fail("version %d is served after %v", served, err)
		}
		s.mustRun(pair)
		s.pairFinished(1)
	})
}

// What is taken back on the user's word, once begun, is taken back by the next
// run; what is remembered is what is served.
func TestKilledRollback(t *testing.T) {
	t.Parallel()
	begin := func(s *state) {
		s.firstVersion()
		s.mustRun(force)
		s.finished(2)
	}
	everyStep(t, newRigs(t), 15, command{Rollback: "files"}, begin, func(s *state, victim command) {
		trace, _, _ := s.run(victim)
		s.quiet()
		s.mustRun(recovered)
		s.clean()
		served, target := s.whole(), s.lineage("site").Targets["files"]
		if begun := slices.Contains(trace, "journal: deploy"); begun != (served == 1) {
			s.fail("version %d is served, though it was begun: %v", served, begun)
		}
		if target.Deployed != served || len(target.Checkpoints) != served || (served == 1) != (target.RolledBack == 2) {
			s.fail("version %d is served, and %+v is remembered", served, target)
		}
		s.mustRun(both) // what was taken back stays so
		if now := s.whole(); now != served {
			s.fail("version %d is served, and then %d", served, now)
		}
	})
}

// A plugin dies at one of its calls while a deployment is taken back: what was
// begun is ended by the next run, and the server serves what is on disk.
func TestPluginKilledRollback(t *testing.T) {
	t.Parallel()
	rigs := newRigs(t)
	begin := func(s *state) {
		s.firstVersion()
		s.mustRun(force)
		s.finished(2)
	}
	back := command{Rollback: "files"}
	steps, names := calling(trace(t, rigs[0], begin, back))
	if len(steps) < 6 {
		t.Errorf("there are only %d steps: %q", len(steps), names)
	}
	each(t, rigs, begin, names, func(s *state, n int) {
		v := back
		v.Murder = steps[n]
		_, killed, err := s.run(v)
		if killed {
			s.fail("the host died: %v", err)
		}
		s.mustRun(recovered)
		s.clean()
		served, target := s.whole(), s.lineage("site").Targets["files"]
		if err == nil && served != 1 {
			s.fail("all is said to be well, but version %d is served", served)
		}
		if target.Deployed != served || target.Error != "" || (served == 1) != (target.RolledBack == 2) {
			s.fail("version %d is served, and %+v is remembered", served, target)
		}
	})
}
