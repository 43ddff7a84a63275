//go:build slow && linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// The kill matrix: the plugin, or the host above it, is killed by SIGKILL at
// every step of a run. What the next run finds it mends: the files are as they
// were or as they were to be, the server serves a pair that belongs together, and
// no challenge is left.

// killWorkers is how many cases run at once: most of a case is waiting.
const killWorkers = 4

// lab is a server and a program that is killed.
type lab struct {
	*program
	dir string // of the plugin
}

func newLab(t *testing.T, b string) *lab {
	t.Helper()
	s, _ := mixedServer(t, b)
	l := &lab{program: newProgram(s), dir: workDir(t)}
	l.plugins = l.dir
	from, err := os.Open(os.Args[0])
	must(t, err)
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(filepath.Join(l.dir, pluginName), os.O_WRONLY|os.O_CREATE, 0o755)
	must(t, err)
	_, err = io.Copy(to, from)
	must(t, err)
	must(t, to.Close())
	return l
}

// texts is the configuration without what differs from case to case.
func (l *lab) texts() map[string]string {
	out := map[string]string{}
	s := l.server
	same := strings.NewReplacer(s.dir, "DIR", l.program.dir, "STATE", ":"+strconv.Itoa(s.http), ":HTTP", ":"+strconv.Itoa(s.https), ":HTTPS")
	for path, entry := range s.look() {
		if strings.HasPrefix(path, "old.") {
			continue
		}
		mode, _, _ := strings.Cut(entry, " ")
		out[path] = mode + "\n" + same.Replace(textOf(entry))
	}
	return out
}

func (l *lab) trace(act func()) []string {
	path := filepath.Join(l.dir, traceFile)
	put(l.t, path, "", 0o644)
	act()
	steps := strings.Split(strings.TrimSpace(read(l.t, path)), "\n")
	must(l.t, os.Remove(path))
	return steps
}

func (l *lab) kill(who string, step int) {
	put(l.t, filepath.Join(l.dir, killFile), fmt.Sprint(who, " ", step), 0o644)
}

// killed says whether the step was reached.
func (l *lab) killed() bool {
	_, err := os.Stat(filepath.Join(l.dir, killFile))
	return err != nil
}

// challenges are the paths that a killed run has left in the configuration.
func (l *lab) challenges() []string {
	data, err := os.ReadFile(filepath.Join(l.server.dir, preName))
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range locationLine.FindAllStringSubmatch(string(data), -1) {
		out = append(out, m[1])
	}
	return out
}

var locationLine = regexp.MustCompile(`<Location "(.*)">`)

// sound holds what has to hold after every run.
func (l *lab) sound(wanted ...map[string]string) {
	l.t.Helper()
	now := l.texts()
	for path, text := range now {
		if strings.Contains(path, "certwright-challenge") || strings.Contains(text, "certwright-challenge") || strings.Contains(path, ".certwright-") {
			l.t.Errorf("a challenge or a temporary file is left in %s", path)
		}
	}
	found := false
	for _, want := range wanted {
		if fmt.Sprint(want) == fmt.Sprint(now) {
			found = true
		}
	}
	if !found {
		l.t.Error("the configuration is neither as it was nor as it was to be")
		equal(l.t, wanted[0], now)
	}
	s := l.server
	if ok, words := accepts(l.t, s.settings()); !ok {
		l.t.Errorf("httpd does not accept its configuration: %s", words)
	}
	if s.leaf(s.addr4(s.https), "a.test") == nil || s.leaf(s.addr6(s.https), "a.test") == nil {
		l.t.Errorf("nothing is served\n%s", s.log())
	}
	if _, err := os.Stat(filepath.Join(l.program.dir, "state", "plugins", "apache", "reload-owed")); err == nil {
		l.t.Error("httpd was not told to forget the challenges")
	}
}

// matrix runs a case for every step, from one on, and victim.
func matrix(t *testing.T, steps []string, from int, run func(t *testing.T, who string, step int)) {
	type kill struct {
		who  string
		step int
	}
	var cases []kill
	for _, who := range []string{"plugin", "host"} {
		for step := from; step < len(steps); step++ {
			cases = append(cases, kill{who, step + 1})
		}
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range killWorkers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(cases); i = int(next.Add(1)) - 1 {
				k := cases[i]
				name := strings.Join(strings.FieldsFunc(steps[k.step-1], func(r rune) bool { return r == ' ' || r == '/' || r == ':' }), "_")
				t.Run(fmt.Sprintf("%s_%03d_%.40s", k.who, k.step, name), func(t *testing.T) { run(t, k.who, k.step) })
			}
		})
	}
	all.Wait()
	t.Logf("%d steps", len(steps))
}

var both = []string{"--apache", "-d", "a.test", "-d", "b.test"}

// A first certificate: challenges and the deployment.
func TestKilledRun(t *testing.T) {
	l := newLab(t, otherSite)
	before := l.texts()
	steps := l.trace(func() { l.succeeds("run", both...) })
	after := l.texts()
	l.sound(after)
	if len(steps) < 60 {
		t.Fatalf("there are %d steps only: %q", len(steps), steps)
	}
	matrix(t, steps, 0, func(t *testing.T, who string, step int) {
		l := newLab(t, otherSite)
		l.kill(who, step)
		l.run("run", both...)
		if !l.killed() {
			t.Error("nobody was killed")
		}
		left := l.challenges()
		l.run("renew") // mends, though nothing is due
		l.sound(before, after)
		for _, path := range left {
			for _, name := range []string{"a.test", "b.test"} {
				if !l.server.until(func() bool { return !strings.HasPrefix(l.server.get(l.server.addr4(l.server.http), name, path), "200") }) {
					t.Error("httpd ended")
				}
			}
		}
		l.succeeds("run", both...)
		l.sound(after)
		l.server.serves("a.test", l.live("a.test"))
		l.server.serves("b.test", l.live("a.test"))
	})
}

// The way back, by the user's word.
func TestKilledRollback(t *testing.T) {
	l := newLab(t, otherSite)
	before := l.texts()
	l.succeeds("run", both...)
	after := l.texts()
	steps := l.trace(func() { l.succeeds("rollback", "-i", "apache") })
	l.sound(before)
	if len(steps) < 15 {
		t.Fatalf("there are %d steps only: %q", len(steps), steps)
	}
	matrix(t, steps, 0, func(t *testing.T, who string, step int) {
		l := newLab(t, otherSite)
		l.succeeds("run", both...)
		l.kill(who, step)
		l.run("rollback", "-i", "apache")
		if !l.killed() {
			t.Error("nobody was killed")
		}
		l.run("renew")
		l.sound(before, after)
	})
}

// The way back within a run: what was deployed breaks the configuration.
func TestKilledWayBack(t *testing.T) {
	const breaks = "<IfFile {dir}/conf.d/b-le-ssl.conf>\n    NoSuchDirective on\n</IfFile>\n" + otherSite
	l := newLab(t, breaks)
	before := l.texts()
	steps := l.trace(func() {
		if code, out := l.run("run", both...); code == 0 {
			t.Fatalf("it is not broken: %s", out)
		}
	})
	l.sound(before)
	// That names are proven is killed above.
	from := slices.Index(steps, "cleanup: reloaded") + 1
	if len(steps)-from < 20 {
		t.Fatalf("there are %d steps only: %q", len(steps)-from, steps)
	}
	matrix(t, steps, from, func(t *testing.T, who string, step int) {
		l := newLab(t, breaks)
		l.kill(who, step)
		l.run("run", both...)
		if !l.killed() {
			t.Error("nobody was killed")
		}
		l.run("renew")
		l.sound(before)
	})
}
