package pluginhost

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/certwright/certwright/host/internal/redact"
	"github.com/certwright/certwright/sdk"
)

// TestProcess looks at a plugin's process from outside.
func TestProcess(t *testing.T) {
	r := newRig(t, "good")
	i := r.start(t, Spec{Name: "web", Plugin: "good"})
	p, _ := i.connection.runner.process()
	pid := p.cmd.Process.Pid
	proc := filepath.Join("/proc", itoa(pid))

	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d, %v", group, err)
	}
	binary := filepath.Join(r.dir, "certwright-plugin-good")
	cmdline, err := os.ReadFile(proc + "/cmdline")
	if err != nil || string(cmdline) != binary+"\x00" {
		t.Errorf("arguments %q, %v", cmdline, err)
	}
	limits, err := os.ReadFile(proc + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.TrimLeft(strings.Fields(rest)[1], "01") != "" {
			t.Errorf("core files: %s", rest)
		}
	}
	open, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		target, _ := os.Readlink(proc + "/fd/" + fd.Name())
		if target == binary || strings.Contains(target, "policy") {
			t.Errorf("descriptor %s, %s, was not closed", fd.Name(), target)
		}
	}
	state := filepath.Join(r.opts.StateDir, "web")
	if fi, err := os.Stat(state); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("state directory %v, %v", fi, err)
	}
	if got, err := os.ReadFile(state + "/was-here"); err != nil || string(got) != "web" {
		t.Errorf("the plugin wrote %q there, %v", got, err)
	}
	socketDir := i.connection.sockets.path
	if fi, err := os.Stat(socketDir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("socket directory %v, %v", fi, err)
	}
	if problems, running, err := i.Health(t.Context(), true); len(problems) != 0 || running != 0 || err != nil {
		t.Errorf("health %v %d %v", problems, running, err)
	}
	if err := i.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(socketDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket directory is left: %v", err)
	}
}

// TestEnvironmentOfPlugin: what a plugin declares is all it gets.
func TestEnvironmentOfPlugin(t *testing.T) {
	t.Setenv("CERTWRIGHT_SECRET", "s3cr3t")
	t.Setenv("MISBEHAVE_WANTED", "yes")
	t.Setenv("MISBEHAVE_UNWANTED", "no")
	r := newRig(t, "good")
	i := r.start(t, Spec{Name: "web", Plugin: "good"})
	reporter := &silent{}
	if err := perform(t.Context(), i, "environment", reporter); err != nil {
		t.Fatal(err)
	}
	var names []string
	for entry := range strings.SplitSeq(reporter.progress[0], "\n") {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	for _, n := range names {
		if !slices.Contains(append(passedOn, "MISBEHAVE_WANTED"), n) && !strings.HasPrefix(n, "LC_") {
			t.Errorf("%s was passed on", n)
		}
	}
	for _, n := range []string{"PATH", "MISBEHAVE_WANTED"} {
		if !slices.Contains(names, n) {
			t.Errorf("%s was not passed on", n)
		}
	}
}

func TestEnvironment(t *testing.T) {
	environ := []string{"HOME=/root", "LC_ALL=C", "CERTWRIGHT_X=1", "PLUGIN_MIN_PORT=1", "AWS_KEY=k", "odd", "TZ=UTC"}
	tests := []struct {
		name string
		d    sdk.Description
		want []string
	}{
		{"minimal", sdk.Description{}, []string{"LC_ALL=C", "TZ=UTC", "PATH=" + defaultPath}},
		{"declared", sdk.Description{Permissions: sdk.Permissions{Environment: []string{"AWS_KEY", "CERTWRIGHT_X"}}},
			[]string{"LC_ALL=C", "AWS_KEY=k", "TZ=UTC", "PATH=" + defaultPath}},
		{"user", sdk.Description{Env: sdk.UserEnv}, []string{"HOME=/root", "LC_ALL=C", "AWS_KEY=k", "TZ=UTC", "PATH=" + defaultPath}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, environment(test.d, environ)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWithheld: a variable that holds a secret is passed to nobody.
func TestWithheld(t *testing.T) {
	t.Setenv("MISBEHAVE_WANTED", "a secret")
	t.Setenv("MISBEHAVE_OTHER", "none")
	r := newRig(t, "good")
	r.Withhold("MISBEHAVE_WANTED")
	for _, d := range []sdk.Description{{Env: sdk.UserEnv}, {Permissions: sdk.Permissions{Environment: []string{"MISBEHAVE_WANTED"}}}} {
		if env := r.environment(d); slices.Contains(env, "MISBEHAVE_WANTED=a secret") || slices.Contains(env, "MISBEHAVE_OTHER=none") != (d.Env == sdk.UserEnv) {
			t.Errorf("%+v gets %v", d, env)
		}
	}
}

// TestPrivateKeyInLog: a key that is logged line by line is hidden, what comes
// after it is not.
func TestPrivateKeyInLog(t *testing.T) {
	log := &logBuffer{}
	p := newLogPump(hclog.New(&hclog.LoggerOptions{Output: log}), newMasker(nil))
	w := p.writer()
	fmt.Fprintln(w, "before -----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIOne\nAwEHoUQDQgAE==\n-----END EC PRIVATE KEY-----\nafter")
	fmt.Fprintln(w, "-----BEGIN PRIVATE KEY-----\nMHcCAQEETwo\nthis is no part of it")
	fmt.Fprintln(w, `{"@message": "-----BEGIN PRIVATE KEY-----\nMHcCAQEEThree\n-----END PRIVATE KEY-----\n", "k": "kept"}`)
	fmt.Fprintln(w, "MHcCAQEE is no key")
	p.close(time.Minute)
	text := log.String()
	for _, want := range []string{"before [private key]", "after\n", "this is no part of it", "k=kept", "MHcCAQEE is no key"} {
		if !strings.Contains(text, want) {
			t.Errorf("not logged: %q", want)
		}
	}
	for _, not := range []string{"IOne", "AwEHoUQDQgAE", "Two", "Three", "BEGIN", "END"} {
		if strings.Contains(text, not) {
			t.Errorf("logged: %q", not)
		}
	}
	t.Log(text)
}

// TestSecrets: no secret reaches the log or an error, whatever way it takes.
func TestSecrets(t *testing.T) {
	secrets := map[string][]byte{"token": []byte("hunter2-hunter2\nsecond line")}
	for _, printed := range []string{
		"my token is hunter2-hunter2",
		`{"@message": "token hunter2-hunter2", "@level": "info", "second line": ["second line"]}`,
		`{"@message": "token hunter2\u002dhunter2", "@level": "info"}`,
		"my token is\nhunter2-hunter2\n  second line  \nand so on",
		"panic: bad token hunter2-hunter2\n\ngoroutine 1 [running]:",
		"GET https://api.test/?token=" + url.QueryEscape("hunter2-hunter2\nsecond line"),
		"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("me:hunter2-hunter2\nsecond line")),
		strings.Repeat("x", maxLogLine-10) + "hunter2-hunter2", // cut in the middle
	} {
		r := newRig(t, "good")
		i := r.start(t, Spec{Name: "web", Plugin: "good", Secrets: secrets, Settings: map[string]any{"print": printed}})
		eventually(t, "the line is masked", func() bool { return strings.Contains(r.log.String(), redact.Mark) })
		err := perform(t.Context(), i, "die", &silent{})
		mention(t, err, "about to die")
		for _, text := range []string{r.log.String(), err.Error()} {
			if strings.Contains(text, "hunter2") || strings.Contains(text, "second line") || strings.Contains(text, "aHVudGVyMi1odW50ZXIy") {
				t.Errorf("the secret is in %s", text)
			}
		}
	}
	r := newRig(t, "good")
	_, err := r.Start(t.Context(), Spec{Name: "web", Plugin: "good", Secrets: secrets, Settings: map[string]any{"mode": "bad"}})
	mention(t, err, "the token "+redact.Mark, "is bad", "web")
	var wrong *SettingsError
	if !errors.As(err, &wrong) || len(wrong.Problems) != 1 || wrong.Problems[0].Subject != "token" {
		t.Errorf("problems %+v", wrong)
	}
}

// TestSyncedOutput: what a Go plugin prints while it serves comes by the
// connection and is logged too.
func TestSyncedOutput(t *testing.T) {
	r := newRig(t, "good")
	i := r.start(t, Spec{Name: "web", Plugin: "good"})
	if err := perform(t.Context(), i, "print", &silent{}); err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"web: printed while serving", "web: complained while serving"} {
		eventually(t, "the log holds "+w, func() bool { return strings.Contains(r.log.String(), w) })
	}
}

// TestStartAll: all or none, and every failure is told.
func TestStartAll(t *testing.T) {
	r := newRig(t, "good", "exits", "v99")
	specs := []Spec{
		{Name: "one", Plugin: "good"}, {Name: "two", Plugin: "good"},
		{Name: "three", Plugin: "exits"}, {Name: "four", Plugin: "v99"}, {Name: "five", Plugin: "missing"},
	}
	running, err := r.StartAll(t.Context(), specs)
	if running != nil || err == nil {
		t.Fatalf("%v, %v", running, err)
	}
	for _, w := range []string{"instance three", "instance four", "instance five", "plugin missing was not found"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not mention %q: %v", w, err)
		}
	}
	r.noneLeft(t)

	running, err = r.StartAll(t.Context(), specs[:2])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if i := running[name]; i == nil || i.Name() != name || i.Description().Version != "1.2.3" {
			t.Errorf("%s: %+v", name, i)
		}
	}
	_, err = r.Start(t.Context(), specs[0])
	mention(t, err, "instance one", "running already")
	_, err = r.Start(t.Context(), Spec{Name: "../x", Plugin: "good"})
	mention(t, err, "cannot be the name of an instance")
}

// TestDescribeOnce: the binary is run once for many who ask.
func TestDescribeOnce(t *testing.T) {
	r := newRig(t, "good")
	answers := make(chan error)
	for range 8 {
		go func() {
			d, err := r.Describe(t.Context(), "good")
			if err == nil && (d.Name != "good" || len(d.Settings) != 4) {
				err = errors.New("it described something else")
			}
			answers <- err
		}()
	}
	for range 8 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if n := len(r.pids(t)); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// TestScript: a script is executed by its descriptor, too, and knows its name.
func TestScript(t *testing.T) {
	r := newRig(t)
	script := `#!/bin/sh
if [ "$1" = describe ]; then
	echo '{"name": "script", "protocol": [1], "version": "1", "roles": ["hook"], "permissions": {}, "env": "user"}'
	exit 0
fi
echo "HOME is $HOME" >&2
read line || echo "the lifeline is cut" >&2
exit 6
`
	path := filepath.Join(r.dir, "certwright-plugin-script")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", "/home/somebody")
	r.limits.start = 2 * time.Second
	_, err := r.Start(t.Context(), Spec{Name: "script", Plugin: "script"})
	mention(t, err, "HOME is /home/somebody", "no handshake within")

	missing := filepath.Join(r.dir, "certwright-plugin-nointerpreter")
	if err := os.WriteFile(missing, []byte("#!/no/such/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = r.Describe(t.Context(), "nointerpreter")
	mention(t, err, missing, "install the interpreter")

	foreign := filepath.Join(r.dir, "certwright-plugin-foreign")
	if err := os.WriteFile(foreign, []byte("MZ this is for another system"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = r.Describe(t.Context(), "foreign")
	mention(t, err, foreign, "no program for this machine")
}
