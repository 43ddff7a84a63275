package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

// The order of stages, of objects, and of what is told, as in the sample sessions
// of certbot-external-auth.
func TestHandlerStages(t *testing.T) {
	e := byHandler(t, nil, `echo "-----BEGIN $1-----" >&2; echo "-----END $1-----" >&2`)
	e.seen.txt = func(_ context.Context, name string) ([]string, error) {
		if name == "_acme-challenge.b.test." {
			return []string{"other", "digest-b.test"}, nil
		}
		return nil, os.ErrNotExist
	}
	r := &recorder{answers: -1}
	challenges := []sdk.Challenge{dns("a.test"), dns("b.test")}
	must(t, e.Perform(t.Context(), challenges, r))
	must(t, e.Cleanup(t.Context(), challenges, r))
	output := func(stage string) string {
		return "Handler output (" + stage + "):\n\n-----BEGIN " + stage + "-----\n-----END " + stage + "-----\n\n"
	}
	want := []string{
		output("pre-perform"),
		performObject(challenges[0]).text() + "\n", output("perform"), "Self-verify of challenge failed.\n",
		performObject(challenges[1]).text() + "\n", output("perform"),
		output("post-perform"),
		output("pre-cleanup"),
		cleanupObject(challenges[0]).text() + "\n", output("cleanup"),
		cleanupObject(challenges[1]).text() + "\n", output("cleanup"),
		output("post-cleanup"),
	}
	if diff := cmp.Diff(want, r.story); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(r.failures()) > 0 || len(r.results) != 4 {
		t.Errorf("%+v", r.results)
	}
}

// printing prints arguments and the variables that there may be, one call after
// the other.
const printing = `{ echo "[$*]"; env | grep -aE '^(cbot_)?(cmd|type|domain|token|validation|key_auth|uri|txt_domain|status|validated|error|command|z_domain|cert_path|key_path|chain_path|fullchain_path|port|timestamp|cert_timestamp|json)=' | LC_ALL=C sort; } >> "$LOG"`

func TestHandlerEnvironment(t *testing.T) {
	log, live := filepath.Join(t.TempDir(), "log"), t.TempDir()
	t.Setenv("LOG", log)
	e := byHandler(t, nil, printing)
	e.started = time.Unix(1477582237, 5)
	cert := filepath.Join(live, "cert.pem")
	must(t, os.WriteFile(cert, nil, 0o600))
	d := sdk.Deployment{Name: "a.test", Paths: sdk.Paths{Cert: cert, Privkey: "/live/privkey.pem", Chain: "/live/chain.pem", Fullchain: "/live/fullchain.pem"}}
	r := &recorder{answers: -1}
	challenges := []sdk.Challenge{dns("a.test"), http01("b.test")}
	must(t, e.Perform(t.Context(), challenges, r))
	t.Run("with variables of TLS-SNI", func(t *testing.T) {
		for _, name := range leftovers {
			t.Setenv(name, "stale")
		}
		must(t, e.perform(t.Context(), challenges[0], r))
	})
	must(t, e.Cleanup(t.Context(), challenges, r))
	must(t, os.Chtimes(cert, time.Time{}, time.Unix(1477582245, 993016700)))
	must(t, e.Deploy(t.Context(), d, r))
	must(t, os.Chtimes(cert, time.Time{}, time.Unix(1477582236, 0)))
	must(t, e.Deploy(t.Context(), d, r))

	both := func(pairs ...string) string {
		var plain, prefixed []string
		json := ""
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == "json" {
				json = "cbot_json=" + pairs[i+1] + "\n"
				continue
			}
			plain = append(plain, pairs[i]+"="+pairs[i+1]+"\n")
			prefixed = append(prefixed, "cbot_"+pairs[i]+"="+pairs[i+1]+"\n")
		}
		return strings.Join(slices.Sorted(slices.Values(slices.Concat(plain, prefixed, []string{json}))), "")
	}
	performDNS := "[perform]\n" + both("cmd", "perform_challenge", "type", "dns-01", "domain", "a.test", "token", "token-a.test",
		"validation", "digest-a.test", "txt_domain", "_acme-challenge.a.test", "key_auth", "token-a.test.thumb", "json", performObject(challenges[0]).text())
	want := "[pre-perform]\n" + performDNS +
		"[perform]\n" + both("cmd", "perform_challenge", "type", "http-01", "domain", "b.test", "token", "token-b.test", "validation", "token-b.test.thumb",
		"uri", "http://b.test/.well-known/acme-challenge/token-b.test", "key_auth", "token-b.test.thumb", "json", performObject(challenges[1]).text()) +
		"[post-perform]\n" + performDNS + "[pre-cleanup]\n"
	for _, c := range challenges {
		want += "[cleanup]\n" + both("cmd", "cleanup", "type", c.Type, "status", "pending", "domain", c.Identifier.Value, "token", c.Token,
			"validation", validation(c), "key_auth", c.KeyAuthorization, "validated", "None", "error", "None", "json", cleanupObject(c).text())
	}
	want += "[post-cleanup]\n"
	paths := `"cert_path": "` + cert + `", "key_path": "/live/privkey.pem", "chain_path": "/live/chain.pem", "fullchain_path": "/live/fullchain.pem", "timestamp": 1477582237, `
	deployed := func(stage, exact, rounded string) string {
		return "[" + stage + "]\n" + both("cmd", "deploy_cert", "domain", "a.test", "cert_path", cert, "key_path", "/live/privkey.pem", "chain_path", "/live/chain.pem",
			"fullchain_path", "/live/fullchain.pem", "timestamp", "1477582237", "cert_timestamp", rounded,
			"json", `{"cmd": "deploy_cert", "domain": "a.test", `+paths+`"cert_timestamp": `+exact+`}`)
	}
	want += deployed("deploy_cert", "1477582245.9930167", "1477582246") + deployed("unchanged_cert", "1477582236.0", "1477582236")
	if diff := cmp.Diff(want, read(t, log)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := r.results[len(r.results)-2:]; !got[0].Changed || got[1].Changed {
		t.Errorf("results of Deploy: %+v", got)
	}
}

func TestNotImplemented(t *testing.T) {
	stages := []string{"pre-perform", "perform", "post-perform", "pre-cleanup", "cleanup", "post-cleanup", "deploy_cert"}
	for _, variant := range []string{"out", "marcan"} {
		for _, stage := range stages {
			e := byHandler(t, func(s *settings) { s.Variant = variant }, `[ "$1" != `+stage+` ] || { echo " NotImplemented "; exit 1; }`)
			r := &recorder{answers: -1}
			challenges := []sdk.Challenge{dns("a.test")}
			err := e.Perform(t.Context(), challenges, r)
			if refused := variant == "marcan" && stage == "perform"; refused != (err != nil) {
				t.Errorf("%s %s: %v", variant, stage, err)
			}
			must(t, e.Cleanup(t.Context(), challenges, r))
			if variant == "out" {
				cert := filepath.Join(t.TempDir(), "cert.pem")
				must(t, os.WriteFile(cert, nil, 0o600))
				must(t, e.Deploy(t.Context(), sdk.Deployment{Name: "a.test", Paths: sdk.Paths{Cert: cert}}, r))
			}
			warned := strings.Contains(r.said[sdk.Stderr], "warning: the handler does not implement "+stage)
			if want := err == nil && (variant == "out" || stage != "deploy_cert"); warned != want || len(r.failures()) > 0 {
				t.Errorf("%s %s: warned %v, %v", variant, stage, warned, r.failures())
			}
		}
	}
	// Only if it is all that is printed on stdout.
	e := byHandler(t, nil, "echo NotImplemented, sorry; exit 1")
	if err := e.Perform(t.Context(), []sdk.Challenge{dns("a.test")}, &recorder{}); err == nil {
		t.Error("another text is taken for NotImplemented")
	}
}

func TestAStageThatFailsIsNamed(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("LOG", log)
	for stage, want := range map[string]string{
		"pre-perform": "pre-perform pre-cleanup cleanup:a.test cleanup:b.test post-cleanup", "perform": "pre-perform perform:a.test pre-cleanup cleanup:a.test cleanup:b.test post-cleanup",
		"post-perform": "pre-perform perform:a.test perform:b.test post-perform pre-cleanup cleanup:a.test cleanup:b.test post-cleanup",
		"pre-cleanup":  "pre-cleanup cleanup:a.test cleanup:b.test post-cleanup",
		"cleanup":      "pre-cleanup cleanup:a.test cleanup:b.test post-cleanup",
		"post-cleanup": "pre-cleanup cleanup:a.test cleanup:b.test post-cleanup",
	} {
		e := byHandler(t, nil, `echo "$1${domain:+:}$domain" >> $LOG; [ "$1" != `+stage+` ] || { echo why >&2; exit 4; }`)
		r := &recorder{answers: -1}
		challenges := []sdk.Challenge{dns("a.test"), dns("b.test")}
		err := e.Perform(t.Context(), challenges, r)
		cleanErr := e.Cleanup(t.Context(), challenges, r)
		if strings.Contains(stage, "cleanup") {
			must(t, err)
			_, cleaning, _ := strings.Cut(read(t, log), "pre-cleanup")
			must(t, os.WriteFile(log, []byte("pre-cleanup"+cleaning), 0o600))
			err = cleanErr
			if stage == "cleanup" {
				if len(r.failures()) != 2 {
					t.Errorf("%v", r.failures())
				}
				err = r.results[2].Err
			}
		} else if len(r.results) != 2 {
			t.Errorf("%s: something is said to be in place: %+v", stage, r.results)
		}
		if p := sdk.ProblemOf(err); p == nil || !strings.Contains(p.Error(), "the stage "+stage+" failed") || !strings.Contains(p.Error(), "exit status 4") || !strings.Contains(p.Error(), "why") || p.Hint == "" {
			t.Errorf("%s: %+v", stage, p)
		}
		if got := strings.Join(strings.Fields(read(t, log)), " "); got != want {
			t.Errorf("%s: called %s", stage, got)
		}
		must(t, os.Remove(log))
	}
}

// The handler is told from the user's mistakes, and not tried again: Cleanup says
// its objects all the same.
func TestAHandlerThatCannotBeRun(t *testing.T) {
	for what, change := range map[string]struct {
		make func(path string) error
		want string
		hint string
	}{
		"missing":     {os.Remove, "does not exist", "correct the path"},
		"a directory": {func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, "is a directory", "name a file"},
		"mode":        {func(p string) error { return os.Chmod(p, 0o600) }, "is not executable", "run chmod +x "},
		"interpreter": {func(p string) error { return os.WriteFile(p, []byte("#!/no/such\n"), 0o700) }, "the interpreter that the first line", "#!"},
	} {
		e := byHandler(t, nil, "exit 0")
		must(t, change.make(e.handler))
		r := &recorder{answers: -1}
		challenges := []sdk.Challenge{dns("a.test"), dns("b.test")}
		p := sdk.ProblemOf(e.Perform(t.Context(), challenges, r))
		if p == nil || !strings.Contains(p.Error(), "the stage pre-perform failed") || !strings.Contains(p.Error(), change.want) ||
			!strings.Contains(p.Hint, change.hint) || p.Retry != sdk.RetryNever || p.Subject != "handler" {
			t.Errorf("%s: %+v", what, p)
		}
		must(t, e.Cleanup(t.Context(), challenges, r))
		if got := cmds(r.said[sdk.Stdout]); cmp.Diff([]string{"cleanup", "cleanup"}, got) != "" || len(r.failures()) > 0 {
			t.Errorf("%s: %q, %v", what, got, r.failures())
		}
		// Another process cannot know that nothing was put in place.
		another := configured(t, e.settings, sdk.Instance{})
		r = &recorder{answers: -1}
		if err := another.Cleanup(t.Context(), challenges, r); err == nil || len(r.failures()) != 2 || len(cmds(r.said[sdk.Stdout])) != 2 {
			t.Errorf("%s: %v, %v", what, err, r.failures())
		}
	}
}

func TestAHandlerThatHangs(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "gate")
	must(t, syscall.Mkfifo(fifo, 0o600))
	e := byHandler(t, func(s *settings) { s.HandlerTimeout = time.Second }, `[ "$1" != pre-perform ] || cat `+fifo)
	r := &recorder{answers: -1}
	challenges := []sdk.Challenge{dns("a.test")}
	p := sdk.ProblemOf(e.Perform(t.Context(), challenges, r))
	if p == nil || p.Code != sdk.Timeout || !strings.Contains(p.Error(), "called for the stage pre-perform, did not end within 1s") || !strings.Contains(p.Hint, "handler_timeout") {
		t.Errorf("%+v", p)
	}
	e.settings.HandlerTimeout = time.Minute
	must(t, e.Cleanup(t.Context(), challenges, r))
	if strings.Count(r.said[sdk.Stderr], "Handler output (cleanup):") != 1 || len(r.failures()) > 0 {
		t.Errorf("%s%v", r.said[sdk.Stderr], r.failures())
	}
}

func TestAHandlerThatLeavesAProcess(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "gate")
	must(t, syscall.Mkfifo(fifo, 0o600))
	e := byHandler(t, nil, "cat "+fifo+" &")
	r := &recorder{}
	must(t, e.call(t.Context(), "pre-perform", nil, r))
	must(t, os.WriteFile(fifo, nil, 0o600)) // now it can end
	if said := r.said[sdk.Stderr]; !strings.Contains(said, "the stage pre-perform, ended, and left a process in the background") {
		t.Errorf("said %q", said)
	}
}

func TestDehydratedMode(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("LOG", log)
	e := byHandler(t, func(s *settings) { s.Mode = dehydratedMode }, `printf '%s|' "$@" >> $LOG; echo "$cmd $cbot_domain" >> $LOG`)
	e.started = time.Unix(1477582237, 0)
	r := &recorder{answers: -1}
	challenges := []sdk.Challenge{dns("a.test"), http01("b.test")}
	must(t, e.Perform(t.Context(), challenges, r))
	must(t, e.Cleanup(t.Context(), challenges, r))
	cert := filepath.Join(t.TempDir(), "cert.pem")
	must(t, os.WriteFile(cert, nil, 0o600))
	d := sdk.Deployment{Name: "a.test", Paths: sdk.Paths{Cert: cert, Privkey: "/k", Chain: "/ch", Fullchain: "/f"}}
	must(t, e.Deploy(t.Context(), d, r))
	must(t, os.Chtimes(cert, time.Time{}, time.Unix(1477582236, 0)))
	must(t, e.Deploy(t.Context(), d, r))
	want := "deploy_challenge|a.test|token-a.test|digest-a.test|perform_challenge a.test\n" +
		"deploy_challenge|b.test|token-b.test|token-b.test.thumb|perform_challenge b.test\n" +
		"clean_challenge|a.test|token-a.test|digest-a.test|cleanup a.test\n" +
		"clean_challenge|b.test|token-b.test|token-b.test.thumb|cleanup b.test\n" +
		"deploy_cert|a.test|/k|" + cert + "|/f|/ch|1477582237|deploy_cert a.test\n" +
		"unchanged_cert|a.test|/k|" + cert + "|/f|/ch|deploy_cert a.test\n"
	if diff := cmp.Diff(want, read(t, log)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := strings.Join(cmds(r.said[sdk.Stdout]), " "); got != "perform_challenge perform_challenge cleanup cleanup deploy_cert deploy_cert" {
		t.Errorf("objects %s", got)
	}
	for _, stage := range []string{"deploy_challenge", "clean_challenge", "deploy_cert", "unchanged_cert"} {
		if !strings.Contains(r.said[sdk.Stderr], "Handler output ("+stage+"):") {
			t.Errorf("no output of %s in\n%s", stage, r.said[sdk.Stderr])
		}
	}
}

// The older program: no objects, and less is said to cleanup.
func TestMarcan(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("LOG", log)
	e := byHandler(t, func(s *settings) { s.Variant = "marcan" }, printing)
	r := &recorder{answers: -1}
	challenges := []sdk.Challenge{dns("a.test")}
	must(t, e.Perform(t.Context(), challenges, r))
	must(t, e.Cleanup(t.Context(), challenges, r))
	got := read(t, log)
	if !strings.Contains(got, "[perform]\ncbot_cmd=perform_challenge\n") || !strings.Contains(got, "\nvalidation=digest-a.test\n") ||
		!strings.HasSuffix(got, "[pre-cleanup]\n[cleanup]\ndomain=a.test\n[post-cleanup]\n") || strings.Contains(got, "z_domain") {
		t.Errorf("called with\n%s", got)
	}
	_, err := e.Run(t.Context(), sdk.HookEvent{Event: sdk.EventFinish, Outcome: "ok"}, r)
	must(t, err)
	if r.said[sdk.Stdout] != "" {
		t.Errorf("said %q", r.said[sdk.Stdout])
	}
	err = e.Deploy(t.Context(), sdk.Deployment{Name: "a.test"}, r)
	if p := sdk.ProblemOf(err); p == nil || p.Code != sdk.Unsupported || p.Hint == "" {
		t.Errorf("%+v", p)
	}
}
