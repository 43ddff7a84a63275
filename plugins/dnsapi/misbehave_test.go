package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// scripted writes a script of which the functions have these bodies; it keeps what
// it is called with in the file log.
func scripted(t *testing.T, addBody, rmBody string) (dir, log string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	log = filepath.Join(dir, "log")
	put(t, dir, "dns_x.sh", fmt.Sprintf("dns_x_add() {\necho add \"$@\" >>%[1]s\n%[2]s\n}\ndns_x_rm() {\necho rm \"$@\" >>%[1]s\n%[3]s\n}\n", log, addBody, rmBody))
	return dir, log
}

func calls(t *testing.T, log string) string {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

var one, two, three = challenge("a.test", "1"), challenge("b.test", "2"), challenge("c.test", "3")

// Whatever a script does, each challenge has an outcome that says what happened, the
// others are not drawn in where that can be helped, and the clean-up runs.
func TestScriptsThatMisbehave(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		// good says that the other records are added.
		good bool
		code sdk.Code
		says []string
		hint string
	}{
		"fails":                                 {`[ "$1" != b.test ] || { _err "no such zone"; return 3; }`, true, sdk.Unavailable, []string{"dns_x could not add the TXT record of b.test (status 3)", "no such zone"}, "plugins describe dnsapi"},
		"fails in silence":                      {`[ "$1" != b.test ]`, true, sdk.Unavailable, []string{"status 1", "said nothing"}, "DEBUG"},
		"exits":                                 {`[ "$1" != b.test ] || { echo bye; exit 7; }`, true, sdk.Unavailable, []string{"ended the shell (exit status 7)", "bye"}, "DEBUG"},
		"exits well":                            {`[ "$1" != b.test ] || exit 0`, true, sdk.Unavailable, []string{"ended the shell (exit status 0)"}, "DEBUG"},
		"is killed":                             {`[ "$1" != b.test ] || kill -SEGV $$`, true, sdk.Unavailable, []string{"was ended by the signal SIGSEGV"}, "DEBUG"},
		"hangs":                                 {`[ "$1" != b.test ] || { echo waiting; sleep 600; }`, false, sdk.Timeout, []string{"did not add the TXT record of b.test within 10s", "waiting"}, "call_timeout"},
		"hangs with children that heed nothing": {`[ "$1" != b.test ] || { sh -c 'trap "" TERM; sleep 600' & wait; }`, false, sdk.Timeout, []string{"within 10s"}, "call_timeout"},
		"floods":                                {`[ "$1" != b.test ] || while :; do echo "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"; done | cat`, false, sdk.Unavailable, []string{"printed more than"}, "output"},
		"floods one line":                       {`[ "$1" != b.test ] || tr '\000' x </dev/zero`, false, sdk.Unavailable, []string{"printed more than"}, "output"},
		"closes its output":                     {`[ "$1" != b.test ] || exec >/dev/null 2>&1`, true, sdk.Unavailable, []string{"b.test"}, ""},
		"reads its input":                       {`cat >/dev/null; [ "$1" != b.test ] || return 4`, true, sdk.Unavailable, []string{"status 4"}, "DEBUG"},
		"leaves a process":                      {`[ "$1" != b.test ] || { sleep 600 >/dev/null 2>&1 & echo $! >pid; kill $!; return 5; }`, true, sdk.Unavailable, []string{"status 5"}, ""},
		"changes the shell":                     {`cd / && set -f && IFS=x && PATH= && [ "$1" != b.test ]`, true, sdk.Unavailable, []string{"status 1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, log := scripted(t, c.body, "")
			d := configured(t, settings{Dir: dir, Script: "x", CallTimeout: map[bool]time.Duration{true: 10 * time.Second}[c.code == sdk.Timeout]}, t.TempDir())
			r := &recorder{}
			if err := d.Perform(t.Context(), []sdk.Challenge{one, two, three}, r); err != nil {
				t.Fatal(err)
			}
			if p := r.problem(t, one); p != nil {
				t.Errorf("the first: %v", p)
			}
			if p := r.problem(t, three); (p == nil) != c.good {
				t.Errorf("the third: %v", p)
			}
			p := r.problem(t, two)
			if p == nil {
				t.Fatal("it is added")
			}
			for _, words := range c.says {
				if !strings.Contains(p.Error(), words) {
					t.Errorf("%q does not say %q", p.Error(), words)
				}
			}
			if p.Code != c.code || !strings.Contains(p.Hint, c.hint) || len(p.Error()) > 40<<10 {
				t.Errorf("the problem is %+v", p)
			}
			cleaned(t, d, one, two, three)
			if got := calls(t, log); !strings.HasSuffix(got, "rm a.test 1\nrm b.test 2\nrm c.test 3") {
				t.Errorf("the script was called:\n%s", got)
			}
			if left, _ := filepath.Glob(filepath.Join(d.instance.StateDir, runPattern)); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

func TestAScriptThatLeavesAProcess(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, _ := scripted(t, "cat "+fifo+" &", "")
	d := configured(t, settings{Dir: dir, Script: "x"}, t.TempDir())
	r := performed(t, d, one)
	if err := os.WriteFile(fifo, nil, 0o600); err != nil { // now it can end
		t.Fatal(err)
	}
	if !strings.Contains(r.said, dir+"/dns_x.sh ended, and left a process in the background") {
		t.Errorf("said %q", r.said)
	}
}

func TestScriptsThatCannotBeRead(t *testing.T) {
	const good = "dns_x_add() { :; }\ndns_x_rm() { :; }\n"
	for name, c := range map[string]struct{ text, says string }{
		"a syntax error": {good + "if then\n", "dns_x.sh"},
		"an open quote":  {good + "a='\n", "dns_x.sh"},
		"no functions":   {"echo hello\n", "has no function dns_x_add"},
		"only one":       {"dns_x_add() { :; }\n", "has no function dns_x_rm"},
		"a binary":       {"\x7fELF\x00\x00", "has no function"},
		"nothing":        {"", "has no function"},
	} {
		dir := t.TempDir()
		_ = os.Chmod(dir, 0o700)
		put(t, dir, "dns_x.sh", c.text)
		for _, shell := range shells {
			d := &dnsapi{settings: given(settings{Dir: dir, Script: "x", Shell: shell})}
			err := d.Configure(t.Context(), sdk.Instance{StateDir: t.TempDir()})
			p := sdk.ProblemOf(err)
			if p == nil || p.Code != sdk.InvalidConfig || p.Subject != "script" || p.Hint == "" || !strings.Contains(p.Error(), c.says) {
				t.Errorf("%s, %s: %+v", name, shell, p)
			}
		}
	}
	// What only shows when it is read: each challenge says so.
	for name, c := range map[string]struct{ text, says string }{
		"exits when it is read":    {"exit 4\n" + good, "could not be read"},
		"returns when it is read":  {"echo 'not today' >&2\nreturn 1\n" + good, "not today"},
		"defines them under an if": {"if false; then\n" + good + "fi\n", "does not define dns_x_add and dns_x_rm"},
		"kills when it is read":    {"kill -9 $$\n" + good, "SIGKILL"},
		"hangs when it is read":    {"sleep 600\n" + good, "did not add the TXT record of a.test within 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_ = os.Chmod(dir, 0o700)
			put(t, dir, "dns_x.sh", c.text)
			limit := patience
			if strings.HasPrefix(name, "hangs") {
				limit = time.Second
			}
			d := configured(t, settings{Dir: dir, Script: "x", CallTimeout: limit}, t.TempDir())
			for _, call := range []func(context.Context, []sdk.Challenge, sdk.Reporter) error{d.Perform, d.Cleanup} {
				r := &recorder{}
				if err := call(t.Context(), []sdk.Challenge{one, two}, r); err != nil {
					t.Fatal(err)
				}
				for _, challenge := range []sdk.Challenge{one, two} {
					p := r.problem(t, challenge)
					if p == nil || !strings.Contains(strings.Replace(p.Error(), "remove", "add", 1), c.says) || p.Hint == "" {
						t.Errorf("the problem is %+v", p)
					}
				}
			}
		})
	}
}

// A cancelled call ends its script with all that it started.
func TestCancel(t *testing.T) {
	dir, log := scripted(t, `echo begun; sleep 600`, "")
	d := configured(t, settings{Dir: dir, Script: "x"}, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &listener{begun: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	go func() { ended <- d.Perform(ctx, []sdk.Challenge{one, two}, r) }()
	<-r.begun
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	cleaned(t, d, one, two)
	if got := calls(t, log); got != "add a.test 1\nrm a.test 1\nrm b.test 2" {
		t.Errorf("the script was called:\n%s", got)
	}
}

// listener waits for the first line.
type listener struct {
	recorder
	begun chan struct{}
}

func (l *listener) Progress(subject, message string) {
	l.recorder.Progress(subject, message)
	select {
	case l.begun <- struct{}{}:
	default:
	}
}

// A script may have the headers in a file of its own: the next call has ours again,
// and the script's stays as it is.
func TestHeadersInAFileOfTheScript(t *testing.T) {
	for _, shell := range shells {
		dir, _ := scripted(t, `if [ "$2" = 1 ]; then HTTP_HEADER=$LE_WORKING_DIR/mine; echo kept >"$HTTP_HEADER"; else echo "$HTTP_HEADER" >"$LE_WORKING_DIR/next"; fi`, "")
		d := configured(t, settings{Dir: dir, Script: "x", Shell: shell}, t.TempDir())
		performed(t, d, one, two)
		for name, want := range map[string]string{"mine": "kept", "next": "headers"} {
			text, err := os.ReadFile(filepath.Join(d.instance.StateDir, name))
			if got := filepath.Base(strings.TrimSpace(string(text))); err != nil || got != want {
				t.Errorf("%s: %s has %q, want %q (%v)", shell, name, got, want, err)
			}
		}
	}
}

// A removal that finds nothing is none that failed; any other is.
func TestWhatIsGoneAlready(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		bad  []string // values of a.test that could not be removed
	}{
		"not found":               {`_err "Record not found"; return 1`, nil},
		"does not exist":          {`_info "the record does not exist"; return 1`, nil},
		"all gone with the first": {`[ "$2" = 1 ] || { _err "Can not get record id"; return 1; }`, nil},
		"the first fails":         {`[ "$2" != 1 ] || { _err "Can not get record id"; return 1; }`, []string{"1"}},
		"the second fails":        {`[ "$2" = 1 ] || { _err "connection refused"; return 1; }`, []string{"2"}},
		"invalid credentials":     {`_err "invalid domain or token"; return 1`, []string{"1", "2"}},
		"a zone's record":         {`_err "TXT record of _acme-challenge.zone.host.test not found"; return 1`, nil},
		"no such entry":           {`_err "TXT entry not found"; return 1`, nil},

		// Not found is something else, and the record is still there.
		"no login":           {`_err "OpenStack username or password not found."; return 1`, []string{"1", "2"}},
		"no zone":            {`_err "Can't find a matching zone. Check your OpenStack credentials"; return 1`, []string{"1", "2"}},
		"no program":         {`_err "Could not find 'devil' command."; return 1`, []string{"1", "2"}},
		"no host":            {`_err "Host not found on your account"; return 1`, []string{"1", "2"}},
		"no credentials":     {`_err "Credentials not found"; return 1`, []string{"1", "2"}},
		"no nsupdate":        {`echo "run.sh: 12: nsupdate: not found" >&2; return 1`, []string{"1", "2"}},
		"no program of txt":  {`echo "/txt/run.sh: 12: nsupdate: not found" >&2; return 1`, []string{"1", "2"}},
		"no domain":          {`_err "Domain not found in your account for TXT record removal"; return 1`, []string{"1", "2"}},
		"no zone of it":      {`_err "SOA record not found for zone a.test"; return 1`, []string{"1", "2"}},
		"left to people":     {`_err "No record deleted, the DNS record needs to be removed manually."; return 1`, []string{"1", "2"}},
		"a lost command":     {`_err "Record not found"; no_such_command`, []string{"1", "2"}},
		"not executable":     {`_err "Record not found"; /`, []string{"1", "2"}},
		"the second's login": {`[ "$2" = 1 ] || { _err "Credentials not found"; return 1; }`, []string{"2"}},
		"the second's tool":  {`[ "$2" = 1 ] || no_such_command`, []string{"2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := scripted(t, "", c.body)
			d := configured(t, settings{Dir: dir, Script: "dns_x.sh"}, t.TempDir())
			r := &recorder{}
			first, second := challenge("a.test", "1"), challenge("a.test", "2")
			if err := d.Cleanup(t.Context(), []sdk.Challenge{first, second}, r); err != nil {
				t.Fatal(err)
			}
			for _, challenge := range []sdk.Challenge{first, second} {
				if p := r.problem(t, challenge); (p != nil) != slices.Contains(c.bad, challenge.DNS.Value) {
					t.Errorf("value %s: %v", challenge.DNS.Value, p)
				}
			}
		})
	}
}
