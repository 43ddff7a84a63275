//go:build slow

package run

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/certwright/certwright/host/testca"
)

// The kill matrix: a run is killed by SIGKILL at each of its steps (every
// change in the store, every record of the journal, every answer of the CA,
// before, during and after every call of a plugin), and what the next runs make
// of that is looked at.

// workers is how many cases run at once: most of a case is waiting, for the CA
// that sleeps and for disks.
const workers = 6

func newRigs(t *testing.T) []*rig {
	var rigs []*rig
	for range workers {
		rigs = append(rigs, newRig(t, testca.Options{NonceReject: 15, Sleep: true, SleepSeconds: 3}))
	}
	return rigs
}

// each runs cases, several at once. Every worker prepares once what all of its
// cases begin with.
func each(t *testing.T, rigs []*rig, prepare func(*state), names []string, run func(s *state, n int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for w, r := range rigs {
		all.Go(func() {
			ready := t.Run(fmt.Sprintf("begin_%d", w), func(t *testing.T) {
				s := r.state(t)
				prepare(s)
				s.keep()
			})
			for i := int(next.Add(1)) - 1; ready && i < len(names); i = int(next.Add(1)) - 1 {
				t.Run(fmt.Sprintf("%03d_%s", i+1, names[i]), func(t *testing.T) { run(r.kept(t), i) })
			}
		})
	}
	all.Wait()
}

// trace runs what nobody kills. It gives the steps, by number, that are worth to
// be killed at: of those that come again and again while the CA is asked, three.
func trace(t *testing.T, r *rig, prepare func(*state), victim command) (steps []int, names []string) {
	s := r.state(t)
	prepare(s)
	all, _, _ := s.run(victim)
	seen := map[string]int{}
	for n, step := range append(all, "more", "more") {
		if seen[step]++; strings.HasPrefix(step, "answer: ") && seen[step] > 3 {
			continue
		}
		steps = append(steps, n+1)
		names = append(names, strings.NewReplacer(" ", "_", "/", "-", ":", "").Replace(step))
	}
	t.Logf("%d steps", len(steps))
	return steps, names
}

// calling are the steps of a trace at which a plugin is called, or about to be,
// or was.
func calling(all []int, allNames []string) (steps []int, names []string) {
	for n, name := range allNames {
		if moment, _, _ := strings.Cut(name, "_"); slices.Contains([]string{"before", "during", "after"}, moment) {
			steps, names = append(steps, all[n]), append(names, name)
		}
	}
	return steps, names
}

// everyStep runs a case for each step of a run, and for some more: what happens
// in parallel differs from run to run.
func everyStep(t *testing.T, rigs []*rig, least int, victim command, prepare func(*state), check func(s *state, victim command)) {
	steps, names := trace(t, rigs[0], prepare, victim)
	if len(steps) < least {
		t.Errorf("there are only %d steps: %q", len(steps), names)
	}
	each(t, rigs, prepare, names, func(s *state, n int) {
		v := victim
		v.KillAt = steps[n]
		check(s, v)
	})
}

func nothing(*state) {}

var (
	both  = command{Names: []string{"site"}}
	force = command{Names: []string{"site"}, Force: true}
	other = command{Names: []string{"other"}}
)

// The first certificate: the same command again ends what was begun.
func TestKilledFirst(t *testing.T) {
	t.Parallel()
	everyStep(t, newRigs(t), 60, both, nothing, func(s *state, victim command) {
		trace, _, _ := s.run(victim)
		s.quiet()
		key := s.accountKey()
		s.mustRun(both)
		s.finished(1)
		if now := s.accountKey(); key != "" && now != key {
			s.fail("the account has another key")
		}
		orders := s.orders()
		if orders > 2 {
			s.fail("%d orders were made", orders)
		}
		// What the CA was just looking at is taken away, and fails: no CA says that
		// it is looking. Before and after that the order is good.
		validating := slices.Contains(trace, "answer: POST chalZ") && !slices.Contains(trace, "before Cleanup by webroot")
		if slices.Contains(trace, "journal: order") && !validating && orders != 1 {
			s.fail("%d orders were made though the first was known", orders)
		}
	})
}

// A renewal, and then a run of another certificate with another authenticator:
// what was in flight is rolled back or forward, never half.
func TestKilledRenewal(t *testing.T) {
	t.Parallel()
	everyStep(t, newRigs(t), 60, force, (*state).firstVersion, func(s *state, victim command) {
		trace, _, _ := s.run(victim)
		s.quiet()
		s.mustRun(other)
		s.clean()
		s.live("other", "c.test")
		s.live("site", "a.test", "b.test")
		version, served := s.lineage("site").Version.Number, s.whole()
		if served < 1 || served > version {
			s.fail("version %d is served, %d is live", served, version)
		}
		if orders := s.orders(); orders > 2 {
			s.fail("%d orders were made, one of them for the other certificate", orders)
		}
		// The order can be finished from the moment when all is proven.
		if slices.Contains(trace, "answer: POST finalize-order") && version != 2 {
			s.fail("the new version is lost")
		}
		s.mustRun(both)
		s.finished(version)
	})
}

func (s *state) firstVersion() {
	s.mustRun(both)
	s.finished(1)
}

// A deployment that the target refuses: what it served before is served again.
func TestKilledGoingBack(t *testing.T) {
	t.Parallel()
	// The new version is there already; what is killed is its deployment.
	refused := func(s *state) {
		s.firstVersion()
		s.write("site/only", s.read("site/site.pem"), 0o600)
		v := force
		v.KillOn = "journal: deploy"
		if trace, killed, err := s.run(v); !killed {
			s.fail("not killed: %v, %q", err, trace)
		}
	}
	everyStep(t, newRigs(t), 40, both, refused, func(s *state, victim command) {
		_, _, _ = s.run(victim)
		s.quiet()
		s.mustRun(other)
		s.clean()
		if served := s.whole(); served != 1 {
			s.fail("version %d is served", served)
		}
		if s.read("site/site.pem") != s.read("site/only") {
			s.fail("the files are not what they were")
		}
		if err := os.Remove(filepath.Join(s.dir, "site", "only")); err != nil {
			s.t.Fatal(err)
		}
		s.mustRun(both)
		s.finished(2)
	})
}

// The run that cleans up is killed as well, at each of its steps.
func TestKilledAgain(t *testing.T) {
	t.Parallel()
	rigs := newRigs(t)
	for first, again := range map[string]command{
		"during Perform by webroot":        force, // goes on with the order
		"answer: POST finalize-order":      both,
		"store: link site":                 both,
		"after Save with a title by files": both,
		"after Restart by files":           both,
	} {
		t.Run(strings.ReplaceAll(first, " ", "_"), func(t *testing.T) {
			half := func(s *state) {
				s.firstVersion()
				v := force
				v.KillOn = first
				if trace, killed, err := s.run(v); !killed {
					s.fail("not killed: %v, %q", err, trace)
				}
				s.quiet()
			}
			everyStep(t, rigs, 30, again, half, func(s *state, victim command) {
				before := s.accountKey()
				_, _, _ = s.run(victim)
				s.quiet()
				s.mustRun(both)
				s.finished(s.lineage("site").Version.Number)
				if s.accountKey() != before {
					s.fail("the account has another key")
				}
			})
		})
	}
}

// The process of a plugin is killed at each of its calls: the run fails or not,
// and the next one has what it needs.
func TestPluginKilled(t *testing.T) {
	t.Parallel()
	rigs := newRigs(t)
	steps, names := calling(trace(t, rigs[0], (*state).firstVersion, force))
	if len(steps) < 20 {
		t.Errorf("there are only %d steps: %q", len(steps), names)
	}
	each(t, rigs, (*state).firstVersion, names, func(s *state, n int) {
		v := force
		v.Murder = steps[n]
		_, killed, err := s.run(v)
		if killed {
			s.fail("the host died: %v", err)
		}
		version, served := s.lineage("site").Version.Number, s.whole()
		if err == nil && (version != 2 || served != 2) {
			s.fail("all is said to be well, but version %d is live and %d is served", version, served)
		}
		s.clean()
		s.mustRun(both)
		s.finished(version)
	})
}
