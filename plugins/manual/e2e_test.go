package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	web "net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// world is the built program with a CA, and a place for proofs: files below web,
// records by hooks that ask control.
type world struct {
	bin, dir, web string
	ca            *testca.CA
	control       string
	orders        atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{bin: build(t), dir: t.TempDir(), web: t.TempDir()}
	plugintest.Left(t, w.dir)
	files := httptest.NewServer(web.FileServer(web.Dir(w.web)))
	t.Cleanup(files.Close)
	addr, _ := files.Listener.Addr().(*net.TCPAddr)
	var err error
	w.ca, err = testca.Start(t.Context(), testca.Options{HTTPPort: addr.Port, NonceReject: 5, OnRequest: func(_, path string) {
		if strings.Contains(path, "order-plz") {
			w.orders.Add(1)
		}
	}})
	must(t, err)
	t.Cleanup(func() { must(t, w.ca.Close()) })
	control := httptest.NewServer(web.HandlerFunc(func(_ web.ResponseWriter, r *web.Request) {
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
	prefix, err := os.MkdirTemp(os.TempDir(), "certwright-manual-") //nolint:usetesting // it is for all tests
	must(t, err)
	for out, from := range map[string]string{
		"bin/certwright": "../../cmd/certwright", "libexec/certwright/plugins/certwright-plugin-manual": ".",
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

// command is certonly with these arguments; nobody else's state is touched.
func (w *world) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, w.bin, append([]string{
		"certonly", "--agree-tos", "--server", w.ca.DirectoryURL(), "--ca-bundle", filepath.Join(w.dir, "ca.pem"),
		"--config-dir", filepath.Join(w.dir, "etc"), "--state-dir", filepath.Join(w.dir, "state"),
	}, args...)...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "WEB="+w.web, "CONTROL="+w.control)
	return cmd
}

func (w *world) obtained(t *testing.T, lineage string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(w.dir, "state", "live", lineage, "fullchain.pem")); err != nil {
		t.Error(err)
	}
}

func (w *world) script(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(w.dir, name), []byte("#!/bin/sh -e\n"+text), 0o700))
}

const (
	authHTTP = `mkdir -p "$WEB/.well-known/acme-challenge"
printf %s "$CERTBOT_VALIDATION" > "$WEB/.well-known/acme-challenge/$CERTBOT_TOKEN"
echo "put $CERTBOT_DOMAIN"
`
	cleanHTTP = `rm "$WEB/.well-known/acme-challenge/$CERTBOT_TOKEN"
echo "$CERTBOT_AUTH_OUTPUT, gone" >> cleaned
`
	authDNS = `curl -fsS -G "$CONTROL/add" -d "name=_acme-challenge.$CERTBOT_DOMAIN" -d "value=$CERTBOT_VALIDATION"
echo "$CERTBOT_REMAINING_CHALLENGES of $CERTBOT_ALL_DOMAINS"
`
	cleanDNS = `curl -fsS -G "$CONTROL/delete" -d "name=_acme-challenge.$CERTBOT_DOMAIN" -d "value=$CERTBOT_VALIDATION"
echo "$CERTBOT_AUTH_OUTPUT" >> cleaned
`
)

// certbot's own flags, with hooks beside the user.
func TestHooksOfCertbotsUsers(t *testing.T) {
	w := newWorld(t)
	w.script(t, "auth.sh", authHTTP)
	w.script(t, "clean.sh", cleanHTTP)
	out, err := w.command(t, "-n", "--manual", "--manual-auth-hook", "./auth.sh", "--manual-cleanup-hook", "./clean.sh",
		"--preferred-challenges", "http", "-d", "a.test", "-d", "b.test").CombinedOutput()
	plugintest.Printed(t, out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.obtained(t, "a.test")
	got := strings.Split(strings.TrimSpace(read(t, w.dir+"/cleaned")), "\n")
	if len(got) != 2 || !strings.HasSuffix(got[0], ".test, gone") || got[0] == got[1] {
		t.Errorf("cleaned %q", got)
	}
	left, err := os.ReadDir(w.web + "/.well-known/acme-challenge")
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Both values of one name are there before the first is looked at.
func TestWildcardAndBaseNameByHooks(t *testing.T) {
	w := newWorld(t)
	w.script(t, "auth.sh", authDNS)
	w.script(t, "clean.sh", cleanDNS)
	out, err := w.command(t, "-n", "-a", "manual", "--set", "manual.auth_hook=./auth.sh", "--set", "manual.cleanup_hook=./clean.sh",
		"--set", "manual.strict=true", "--preferred-challenges", "dns", "-d", "example.test", "-d", "*.example.test").CombinedOutput()
	plugintest.Printed(t, out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.obtained(t, "example.test")
	if got := read(t, w.dir+"/cleaned"); got != "1 of example.test,example.test\n0 of example.test,example.test\n" {
		t.Errorf("cleaned %q", got)
	}
	if left := w.ca.DNS().TXT("_acme-challenge.example.test"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// A hook that hangs has its limit, the certificate fails with its name, and what
// it may have put in place is taken away.
func TestAHookThatHangs(t *testing.T) {
	w := newWorld(t)
	w.script(t, "auth.sh", authHTTP+"exec sleep 1000\n")
	w.script(t, "clean.sh", cleanHTTP)
	out, err := w.command(t, "-n", "--manual", "--manual-auth-hook", "./auth.sh", "--manual-cleanup-hook", "./clean.sh",
		"--set", "manual.hook_timeout=5s", "-d", "a.test").CombinedOutput()
	plugintest.Printed(t, out)
	if err == nil || !strings.Contains(string(out), "the auth_hook for a.test did not end within 5s and was stopped: it printed: put a.test") ||
		!strings.Contains(string(out), "hint: run it by hand and see what it waits for, or raise the setting hook_timeout") {
		t.Errorf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(w.web + "/.well-known/acme-challenge"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestRefusedBeforeThereIsAnOrder(t *testing.T) {
	w := newWorld(t)
	w.script(t, "auth.sh", authHTTP)
	must(t, os.Chmod(w.dir+"/auth.sh", 0o600))
	for args, want := range map[string]string{
		"":                             "hint: give a command that puts the proofs in place: --manual-auth-hook, or the setting auth_hook of the instance manual",
		"--manual-auth-hook=./auth.sh": "hint: run chmod +x ./auth.sh",
	} {
		out, err := w.command(t, append(strings.Fields(args), "-n", "--manual", "-d", "a.test")...).CombinedOutput()
		plugintest.Printed(t, out)
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v\n%s", err, out)
		}
	}
	if n := w.orders.Load(); n != 0 {
		t.Errorf("%d orders were made", n)
	}
}

// A person reads what to do, does it, and presses Enter.
func TestByHand(t *testing.T) {
	w := newWorld(t)
	cmd := w.command(t, "-a", "manual", "--preferred-challenges", "dns", "-d", "example.test", "-d", "*.example.test")
	in, err := cmd.StdinPipe()
	must(t, err)
	story, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	record := regexp.MustCompile(`\n {4}(\S+)\.\n\nand the value\n\n {4}(\S+)\n`)
	var told strings.Builder
	var writing sync.WaitGroup
	questions := 0
	for reader := bufio.NewReader(story); ; {
		text, err := reader.ReadString(':')
		told.WriteString(text)
		if strings.HasSuffix(text, "Press Enter to continue:") {
			questions++
			found := record.FindAllStringSubmatch(told.String(), -1)
			if len(found) != questions {
				t.Fatalf("%d questions, records %q in\n%s", questions, found, told.String())
			}
			w.ca.DNS().AddTXT(found[questions-1][1], found[questions-1][2])
			writing.Go(func() { _, _ = fmt.Fprintln(in) })
		}
		if err == io.EOF {
			break
		}
		must(t, err)
	}
	writing.Wait()
	if err := cmd.Wait(); err != nil || questions != 2 {
		t.Fatalf("%v, %d questions\n%s", err, questions, told.String())
	}
	w.obtained(t, "example.test")
	for _, want := range []string{"in addition to the previous ones", "dig +short TXT _acme-challenge.example.test.", "can be deleted now"} {
		if strings.Count(told.String(), want) == 0 {
			t.Errorf("no %q in\n%s", want, told.String())
		}
	}
}

// The real binary, as it is released.
func TestConformance(t *testing.T) {
	binary := filepath.Join(filepath.Dir(build(t)), "../libexec/certwright/plugins/certwright-plugin-manual")
	root := t.TempDir()
	plugintest.Run(t, plugintest.Suite{
		Binary: binary, WebrootPath: root,
		Settings: map[string]any{
			"auth_hook":    "mkdir -p $WEB/.well-known/acme-challenge; [ -z \"$CERTBOT_TOKEN\" ] || printf %s $CERTBOT_VALIDATION > $WEB/.well-known/acme-challenge/$CERTBOT_TOKEN",
			"cleanup_hook": "[ -z \"$CERTBOT_TOKEN\" ] || rm -f $WEB/.well-known/acme-challenge/$CERTBOT_TOKEN",
		},
		Env: []string{"WEB=" + root},
	})
}
