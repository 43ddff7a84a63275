package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// world is the built program with a CA, and a place for proofs: files below web,
// records by hooks that ask control.
type world struct {
	bin, dir, web string
	ca            *testca.CA
	control       string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{bin: build(t), dir: t.TempDir(), web: t.TempDir()}
	plugintest.Left(t, w.dir)
	files := httptest.NewServer(http.FileServer(http.Dir(w.web)))
	t.Cleanup(files.Close)
	addr, _ := files.Listener.Addr().(*net.TCPAddr)
	var err error
	w.ca, err = testca.Start(t.Context(), testca.Options{HTTPPort: addr.Port, NonceReject: 5})
	must(t, err)
	t.Cleanup(func() { must(t, w.ca.Close()) })
	control := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		change := w.ca.DNS().AddTXT
		if r.URL.Path == "/delete" {
			change = func(name, value string) { w.ca.DNS().DeleteTXT(name, value) }
		}
		change(r.FormValue("name"), r.FormValue("value"))
	}))
	t.Cleanup(control.Close)
	w.control = control.URL
	must(t, os.WriteFile(filepath.Join(w.dir, "ca.pem"), w.ca.TLSRoots(), 0o600))
	must(t, os.Mkdir(filepath.Join(w.dir, "etc"), 0o755))
	return w
}

// built is the program, once it is; TestMain removes it.
var built string

// build gives the program in its installed layout, with the plugin.
func build(t *testing.T) string {
	t.Helper()
	if built != "" {
		return built
	}
	// Plugins that others may write to are not run. The mask is that of the whole
	// process, and no test of this package runs beside this one.
	defer syscall.Umask(syscall.Umask(0o022))
	prefix, err := os.MkdirTemp(os.TempDir(), "certwright-external-") //nolint:usetesting // it is for all tests
	must(t, err)
	for out, from := range map[string]string{
		"bin/certwright": "../../cmd/certwright", "libexec/certwright/plugins/certwright-plugin-external": ".",
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(prefix, out), ".")
		cmd.Dir = from
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build in %s: %v\n%s", from, err, text)
		}
	}
	built = filepath.Join(prefix, "bin", "certwright")
	return built
}

// command is certwright with a state of its own; PATH leads to nothing else.
func (w *world) command(t *testing.T, verb string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, w.bin, append([]string{
		verb, "--agree-tos", "--server", w.ca.DirectoryURL(), "--ca-bundle", filepath.Join(w.dir, "ca.pem"),
		"--config-dir", filepath.Join(w.dir, "etc"), "--state-dir", filepath.Join(w.dir, "state"),
	}, args...)...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "WEB="+w.web, "CONTROL="+w.control)
	return cmd
}

// drive plays the calling program: it reads objects, does what perform_challenge
// asks for, and answers with a line. It gives all that was on stdout.
func (w *world) drive(t *testing.T, cmd *exec.Cmd, do func(object map[string]string)) (stdout, stderr string, err error) {
	t.Helper()
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	var told bytes.Buffer
	cmd.Stderr = &told
	must(t, cmd.Start())
	var all strings.Builder
	for reader := bufio.NewReader(out); ; {
		line, err := reader.ReadString('\n')
		all.WriteString(line)
		if err == io.EOF {
			break
		}
		must(t, err)
		if object := parse(line); object["cmd"] == "perform_challenge" && do != nil {
			do(object)
			_, err := fmt.Fprintln(in)
			must(t, err)
		}
	}
	err = cmd.Wait()
	return plugintest.Printed(t, []byte(all.String())), plugintest.Printed(t, told.Bytes()), err
}

var pair = regexp.MustCompile(`"([a-z_]+)": "([^"]*)"`)

func parse(line string) map[string]string {
	out := map[string]string{}
	for _, found := range pair.FindAllStringSubmatch(line, -1) {
		out[found[1]] = found[2]
	}
	return out
}

// plainValues maps what is different in every run.
func plainValues(stdout, live string) string {
	for _, change := range []struct{ pattern, with string }{
		{`"token": "[A-Za-z0-9_-]{20,}"`, `"token": "TOKEN"`},
		{`[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{43}`, `KEYAUTH`},
		{`"validation": "[A-Za-z0-9_-]{43}"`, `"validation": "DIGEST"`},
		{`acme-challenge/[A-Za-z0-9_-]{20,}"`, `acme-challenge/TOKEN"`},
		{`"command": "mkdir -p (\\.|[^"\\])*"`, `"command": "COMMAND"`},
		{regexp.QuoteMeta(live), `LIVE`},
		{`"timestamp": [0-9]{10}, "cert_timestamp": [0-9]{10}\.[0-9]+`, `"timestamp": INT, "cert_timestamp": FLOAT`},
		{`"lines": \["Congratulations! [^"]*(\\"[^"]*)*"\]`, `"lines": ["LINE"]`},
	} {
		stdout = regexp.MustCompile(change.pattern).ReplaceAllString(stdout, change.with)
	}
	return stdout
}

var names = []string{"--configurator", "external", "-d", "bristol3.test", "-d", "bs3.test", "--preferred-challenges"}

// The sample sessions of certbot-external-auth's documentation, driven by a
// program: objects, their order and their keys are the same.
func TestSampleSessions(t *testing.T) {
	t.Run("DNS installer", func(t *testing.T) {
		w := newWorld(t)
		out, story, err := w.drive(t, w.command(t, "run", append(names, "dns")...), func(o map[string]string) {
			w.ca.DNS().AddTXT(o["txt_domain"], o["validation"])
		})
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, story)
		}
		got := plainValues(out, filepath.Join(w.dir, "state", "live", "bristol3.test"))
		if diff := cmp.Diff(read(t, "testdata/dns-run.jsonl"), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("HTTP", func(t *testing.T) {
		w := newWorld(t)
		out, story, err := w.drive(t, w.command(t, "certonly", append(names, "http")...), func(o map[string]string) {
			file := filepath.Join(w.web, strings.TrimPrefix(o["uri"], "http://"+o["domain"]))
			must(t, os.MkdirAll(filepath.Dir(file), 0o755))
			must(t, os.WriteFile(file, []byte(o["validation"]), 0o600))
		})
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, story)
		}
		if diff := cmp.Diff(read(t, "testdata/http-certonly.jsonl"), plainValues(out, "none")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		// Results are not for a program that reads objects.
		if !strings.Contains(story, "bristol3.test: version 1") {
			t.Errorf("no result in\n%s", story)
		}
	})
	t.Run("handler", func(t *testing.T) {
		w := newWorld(t)
		w.script(t, "handler.sh", `{ echo "-----BEGIN $1-----"; echo "$type $domain"; echo "-----END $1-----"; } | tr a-z A-Z >&2
case $1 in
perform) curl -fsS -G "$CONTROL/add" -d "name=$txt_domain" -d "value=$cbot_validation";;
cleanup) curl -fsS -G "$CONTROL/delete" -d "name=_acme-challenge.$domain" -d "value=$validation";;
pre-*|post-*|deploy_cert) ;;
*) echo NotImplemented; exit 1;;
esac`)
		out, story, err := w.drive(t, w.command(t, "run", append(names, "dns", "-n", "--set", "external.mode=handler",
			"--set", "external.handler=./handler.sh", "--set", "external.self_check=false")...), nil)
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, story)
		}
		got := plainValues(out, filepath.Join(w.dir, "state", "live", "bristol3.test"))
		if diff := cmp.Diff(read(t, "testdata/dns-run.jsonl"), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		stages := regexp.MustCompile(`(?m)^(Handler output \(.*\):|-----(?:BEGIN|END) .*-----|DNS-01 \S+)$`).FindAllString(story, -1)
		if diff := cmp.Diff(strings.Split(strings.TrimSpace(read(t, "testdata/handler-dns.story")), "\n"), stages); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if left := w.ca.DNS().TXT("_acme-challenge.bs3.test"); len(left) > 0 {
			t.Errorf("left %q", left)
		}
	})
}

func (w *world) script(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(w.dir, name), []byte("#!/bin/sh -e\n"+text+"\n"), 0o700))
}

// The input ends, or the CA is not satisfied: what was asked for is taken away,
// and one report says what went wrong.
func TestSessionsThatFail(t *testing.T) {
	t.Run("end of input", func(t *testing.T) {
		w := newWorld(t)
		cmd := w.command(t, "certonly", append(names, "dns")...)
		var told bytes.Buffer
		cmd.Stderr = &told
		out, err := cmd.Output()
		if err == nil || !strings.Contains(told.String(), "standard input ended") ||
			!strings.Contains(told.String(), "hint: keep it open and write one line for each perform_challenge") {
			t.Errorf("%v\n%s", err, told.String())
		}
		reported(t, string(out), "perform_challenge cleanup cleanup report")
	})
	t.Run("a proof that is not there", func(t *testing.T) {
		w := newWorld(t)
		out, story, err := w.drive(t, w.command(t, "certonly", append(names, "dns")...), func(o map[string]string) {
			if o["domain"] == "bs3.test" {
				w.ca.DNS().AddTXT(o["txt_domain"], o["validation"])
			}
		})
		if err == nil {
			t.Fatalf("no error\n%s\n%s", out, story)
		}
		reported(t, out, "perform_challenge perform_challenge cleanup cleanup report")
		if !strings.Contains(out, `"messages": [{"priority": 0, "on_crash": true, "lines": ["`) {
			t.Errorf("the report\n%s", out)
		}
		if _, report, _ := strings.Cut(out, `"cmd": "report"`); !strings.Contains(report, "bristol3.test") || strings.Contains(report, "bs3.test") {
			t.Errorf("the report is %s", report)
		}
	})
	t.Run("--json beside it", func(t *testing.T) {
		w := newWorld(t)
		cmd := w.command(t, "certonly", append(names, "dns", "--json")...)
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "speaks on stdout itself") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func reported(t *testing.T, out, want string) {
	t.Helper()
	if got := strings.Join(cmds(out), " "); got != want {
		t.Errorf("objects %s, want %s", got, want)
	}
}

// The real binary, as it is released.
func TestConformance(t *testing.T) {
	binary := filepath.Join(filepath.Dir(build(t)), "../libexec/certwright/plugins/certwright-plugin-external")
	root := t.TempDir()
	handler := filepath.Join(root, "handler")
	must(t, os.WriteFile(handler, []byte(`#!/bin/sh -e
case "$1 $type" in
"perform http-01") mkdir -p $WEB/.well-known/acme-challenge; printf %s $validation > $WEB/.well-known/acme-challenge/$token;;
"cleanup http-01") rm -f $WEB/.well-known/acme-challenge/$token;;
esac
`), 0o700))
	plugintest.Run(t, plugintest.Suite{
		Binary: binary, WebrootPath: root, Env: []string{"WEB=" + root},
		Settings: map[string]any{"mode": "handler", "handler": handler, "self_check": false},
	})
}
