package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

// One shell for a batch: what a script remembers in a variable is there for the next
// record of the batch, and nothing of its requests is; with isolate nothing at all.
func TestOneShellForABatch(t *testing.T) {
	const body = `[ "$token" ] || { token=$$; echo login; }
echo "header '$_H1$_H2$_H3$_H4$_H5' insecure '$HTTPS_INSECURE' redirects '$ACME_HTTP_NO_REDIRECTS' response '$response' $(pwd | sed 's/.*run-[0-9]*/run/')"
export _H1=1 _H2=2 _H3=3 _H4=4 _H5=5 HTTPS_INSECURE=1; ACME_HTTP_NO_REDIRECTS=1; response=x; cd /; set -u`
	const clean = "header '' insecure '' redirects '' response '' run"
	for _, shell := range shells {
		dir, _ := scripted(t, body, body)
		with := settings{Dir: dir, Script: "x", Shell: shell}
		d := configured(t, with, t.TempDir())
		want := strings.Join([]string{"login", clean, clean, clean}, "\n")
		if diff := cmp.Diff(want, performed(t, d, one, two, three).story()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", shell, diff)
		}
		if diff := cmp.Diff(want, cleaned(t, d, one, two, three).story()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", shell, diff)
		}
		with.Isolate = true
		want = strings.Join([]string{"login", clean, "login", clean}, "\n")
		if diff := cmp.Diff(want, performed(t, configured(t, with, t.TempDir()), one, two).story()); diff != "" {
			t.Errorf("%s, isolated (-want +got):\n%s", shell, diff)
		}
	}
}

// The script's variables are in its environment, no matter what they hold, and those of
// the shell that could change what it does are not.
func TestEnvironmentOfTheScript(t *testing.T) {
	t.Setenv("ENV", "/no/such/file")
	t.Setenv("BASH_ENV", "/no/such/file")
	t.Setenv("_H1", "from outside")
	t.Setenv("X_USERS", "exported")
	value := "it's \"two\"\nlines $HOME `id` \\"
	dir, _ := scripted(t, `env | grep -c '^X_TOKEN=it' ; printf '%s' "$X_TOKEN" | od -A n -t x1 | tr -d ' \n'; echo
echo "$X_USERS ${ENV-unset} ${BASH_ENV-unset} ${_H1-unset} $LE_CONFIG_HOME"; tr '\000' '\n' </proc/$$/cmdline 2>/dev/null | grep -c X_TOKEN`+"\n:", "")
	state := t.TempDir()
	d := configured(t, settings{Dir: dir, Script: "x", Shell: "bash", Env: of("X_TOKEN", value)}, state)
	story := performed(t, d, one).story()
	hex := ""
	for _, b := range []byte(value) {
		hex += string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15])
	}
	if want := "1\n" + hex + "\nexported unset unset unset " + state + "\n0"; story != want {
		t.Errorf("the script says %q, want %q", story, want)
	}
}

// What a script says is shown, but for secrets: those given, and those kept under a
// name that speaks of one.
func TestMask(t *testing.T) {
	dir, _ := scripted(t, `_saveaccountconf_mutable X_Password "p4ssw0rd"; _saveaccountconf_mutable X_Zone zone.test
echo "$X_TOKEN p4ssw0rd zone.test"; _err "$X_TOKEN p4ssw0rd"; return 1`, "")
	state := t.TempDir()
	for i := range 2 {
		r := &recorder{}
		d := configured(t, settings{Dir: dir, Script: "x", Env: of("X_TOKEN", "t0k3n")}, state)
		if err := d.Perform(t.Context(), []sdk.Challenge{one}, r); err != nil {
			t.Fatal(err)
		}
		said := r.story() + r.problem(t, one).Error()
		if strings.Contains(said, "t0k3n") || !strings.Contains(said, "zone.test") {
			t.Error(said)
		}
		if i > 0 && strings.Contains(said, "p4ssw0rd") { // from now on it is known
			t.Error(said)
		}
	}
}

// The files of a batch, the settings that are kept, and the directory are this
// user's alone; nothing of a batch is left, not even by one that was killed.
func TestFiles(t *testing.T) {
	state := t.TempDir()
	if err := os.MkdirAll(filepath.Join(state, "run-killed", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir, _ := scripted(t, `_savedomainconf D 1; f=$(_mktemp); echo "$f"; ls -ld "$f" . ./* "$ACCOUNT_CONF_PATH" "$DOMAIN_CONF" | cut -c 1-10 | sort | uniq`, "")
	literal := sdk.SecretMap{"X_TOKEN": {Secret: "t0k3n", Literal: true}}
	r := performed(t, configured(t, settings{Dir: dir, Script: "x", Env: literal}, state), one)
	if modes := strings.Split(r.story(), "\n")[1:]; !cmp.Equal(modes, []string{"-rw-------", "drwx------"}) {
		t.Errorf("modes: %v", modes)
	}
	left, err := filepath.Glob(filepath.Join(state, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if err != nil || !cmp.Equal(left, []string{"account.conf", "domains", "lock"}) {
		t.Errorf("in the state directory is %v", left)
	}
	if _, err := os.Stat(filepath.Join(state, "domains", "of-cert.conf")); err != nil {
		t.Error(err)
	}
}

// Another process that uses the files is waited for, as long as the call may take.
func TestTwoProcesses(t *testing.T) {
	dir, log := scripted(t, "", "")
	state := t.TempDir()
	d := configured(t, settings{Dir: dir, Script: "x"}, state)
	lock, err := lockFile(t.Context(), filepath.Join(state, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := d.Perform(ctx, []sdk.Challenge{one}, &recorder{}); err == nil {
		t.Error("it does not wait")
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("the script was run")
	}
	_ = lock.Close()
	performed(t, d, one)
}

// The CA is asked when Perform returns: after the wait, if there was anything to add.
func TestWait(t *testing.T) {
	dir, _ := scripted(t, `[ "$1" != b.test ]`, "")
	d := configured(t, settings{Dir: dir, Script: "x", Wait: time.Hour}, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &waiting{end: cancel}
	if err := d.Perform(ctx, []sdk.Challenge{one}, r); err == nil || !strings.Contains(r.story(), "waiting 1h0m0s") {
		t.Errorf("it does not wait: %v, %s", err, r.story())
	}
	if p := r.problem(t, one); p != nil {
		t.Error(p)
	}
	// Nothing was added, or all is there: there is nothing to wait for.
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, c := range []sdk.Challenge{one, two} {
		if err := d.Perform(ctx, []sdk.Challenge{c}, &recorder{}); err != nil {
			t.Error(err)
		}
	}
}

// waiting ends the call when it says that it waits.
type waiting struct {
	recorder
	end func()
}

func (w *waiting) Progress(subject, message string) {
	w.recorder.Progress(subject, message)
	if strings.HasPrefix(message, "waiting") {
		w.end()
	}
}
