package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// prefix is where the program under test is installed, as a user would have it:
// in a directory that nobody else can write to.
var prefix string

func TestMain(m *testing.M) {
	os.Exit(installed(m.Run))
}

func installed(run func() int) int {
	syscall.Umask(0o022)
	dir, err := os.MkdirTemp("", "certwright-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	install := exec.Command("make", "--no-print-directory", "-C", "../..", "install", "DESTDIR="+dir, "PREFIX=")
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS") {
			install.Env = append(install.Env, entry)
		}
	}
	if out, err := install.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "make install: %v\n%s", err, out)
		return 1
	}
	prefix = dir
	code := run()
	if err := goleak.Find(goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScript runs the stories under testdata/script. Each has a state directory
// and a configuration directory of its own, and the commands below.
func TestScript(t *testing.T) {
	testscript.RunT(storyT{t}, testscript.Params{
		Dir: "testdata/script", Setup: setup, RequireExplicitExec: true, RequireUniqueNames: true, Cmds: commands(),
	})
}

func setup(env *testscript.Env) error {
	for _, dir := range []string{"etc", "web"} {
		if err := os.MkdirAll(filepath.Join(env.WorkDir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := checkMarked(env); err != nil {
		return err
	}
	env.Setenv("PREFIX", prefix)
	env.Setenv("PATH", filepath.Join(prefix, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Setenv("STATE", filepath.Join(env.WorkDir, "state"))
	env.Setenv("CERTWRIGHT_STATE_DIR", filepath.Join(env.WorkDir, "state"))
	env.Setenv("CERTWRIGHT_CONFIG_DIR", filepath.Join(env.WorkDir, "etc"))
	return nil
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"ca":          startCA,
		"freeport":    freePort,
		"mode":        checkMode,
		"waitfile":    waitFile,
		"signal":      signalJob,
		"gone":        checkGone,
		"noleftovers": noLeftovers,
		"expand":      expandFile,
		"revoked":     checkRevoked,
		"plugin":      usePlugin,
		"serve":       serveTLS,
		"shows":       checkShown,
		"stall":       stall,
		"window":      renewalWindow,
		"attachable":  attachable,
	}
}

// hmacKey is what a CA of the stories and pages binds accounts by.
var hmacKey = plugintest.Secret("external account binding")

// startCA is `ca [reject=N] [reuse=N] [eab] [profiles] [broken=NAME]`: a test CA
// that looks for challenges at $HTTP_PORT and $TLS_PORT. It sets $SERVER and
// $CA_BUNDLE.
func startCA(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! ca")
	}
	freePort(ts, false, []string{"HTTP_PORT"})
	freePort(ts, false, []string{"TLS_PORT"})
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		ts.Check(err)
		return n
	}
	o := testca.Options{HTTPPort: number(ts.Getenv("HTTP_PORT")), TLSPort: number(ts.Getenv("TLS_PORT")), NonceReject: 5}
	broken := ""
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "reject":
			o.NonceReject = number(value)
		case "reuse":
			o.AuthzReuse = number(value)
		case "eab":
			o.EABRequired, o.EABKeys = true, map[string]string{"kid-1": hmacKey}
		case "profiles":
			o.Profiles = map[string]testca.Profile{
				"default": {Description: "ninety days", Validity: 90 * 24 * time.Hour},
				"short":   {Description: "six days", Validity: 6 * 24 * time.Hour},
			}
		case "broken":
			broken = value
		default:
			ts.Fatalf("ca: unknown option %s", arg)
		}
	}
	ca, err := testca.Start(context.Background(), o)
	ts.Check(err)
	ts.Defer(func() { _ = ca.Close() })
	if broken != "" {
		ca.DNS().SetSERVFAIL(broken)
	}
	cas.Store(ts.Getenv("WORK"), ca)
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), ca.TLSRoots(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("issuer.pem"), ca.IssuerRoots(), 0o600))
	ts.Setenv("SERVER", ca.DirectoryURL())
	ts.Setenv("CA_BUNDLE", ts.MkAbs("ca.pem"))
}

// freePort is `freeport NAME...`: sets each to a port that nobody listens on, and
// that nobody is given until the story ends.
func freePort(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		port, release, err := plugintest.ReservePort()
		ts.Check(err)
		ts.Defer(release)
		ts.Setenv(name, strconv.Itoa(port))
	}
}

// checkMode is `mode FILE 0600`.
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: mode FILE OCTAL")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, not %s", args[0], got, args[1])
	}
}

// patience bounds every wait for an event on a busy machine.
const patience = time.Minute

func eventually(ts *testscript.TestScript, what string, done func() bool) {
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// waitFile is `waitfile GLOB`: until it matches something.
func waitFile(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, "no "+args[0], func() bool {
		matches, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		return len(matches) > 0
	})
}

// signalJob is `signal NAME [PROGRAM]`: sends it to every certwright, or other
// program of the installed tree, that works in this story.
func signalJob(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{
		"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP,
	}
	program := "certwright"
	if len(args) > 1 {
		program = args[1]
	}
	sent := 0
	for pid, exe := range processes(ts) {
		if filepath.Base(exe) == program {
			ts.Check(syscall.Kill(pid, signals[args[0]]))
			sent++
		}
	}
	if sent == 0 {
		ts.Fatalf("no %s is running", program)
	}
}

// processes gives those of the installed tree that work in this story.
func processes(ts *testscript.TestScript) map[int]string {
	out := map[int]string{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	ts.Check(err)
	for _, dir := range dirs {
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil || !strings.HasPrefix(exe, prefix) {
			continue
		}
		cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
		if err != nil || !strings.HasPrefix(cwd, ts.Getenv("WORK")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		ts.Check(err)
		out[pid] = exe
	}
	return out
}

// checkGone is `gone`: no process of this story is left, or soon none.
func checkGone(ts *testscript.TestScript, _ bool, _ []string) {
	eventually(ts, "a process is left", func() bool { return len(processes(ts)) == 0 })
}

// noLeftovers is `noleftovers`: no process, no listener of ours at
// $HTTP_PORT, and nothing unfinished in $STATE.
func noLeftovers(ts *testscript.TestScript, _ bool, _ []string) {
	checkGone(ts, false, nil)
	stalls.Lock()
	ours := stalls.stop[ts.Getenv("WORK")] != nil
	stalls.Unlock()
	if port := ts.Getenv("HTTP_PORT"); port != "" && !ours {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			_ = conn.Close()
			ts.Fatalf("something still listens on %s", port)
		}
	}
	for _, pattern := range []string{"archive/*/.order-*", "journal/*", "archive/*/.*", "live/.*", "lineages/.*"} {
		matches, err := filepath.Glob(filepath.Join(ts.Getenv("STATE"), pattern))
		ts.Check(err)
		if len(matches) > 0 {
			ts.Fatalf("left over: %v", matches)
		}
	}
}

// expandFile is `expand FILE...`: replaces $NAME by the story's variables.
func expandFile(ts *testscript.TestScript, _ bool, files []string) {
	for _, file := range files {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// stall is `stall` and `stall off`: something at $HTTP_PORT that lets the CA
// connect and says nothing, so that a validation takes as long as a story
// needs.
func stall(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 1 && args[0] == "off" {
		stalls.Lock()
		stop := stalls.stop[ts.Getenv("WORK")]
		delete(stalls.stop, ts.Getenv("WORK"))
		stalls.Unlock()
		stop()
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+ts.Getenv("HTTP_PORT"))
	ts.Check(err)
	var held []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			held = append(held, conn)
		}
	}()
	stop := sync.OnceFunc(func() {
		_ = l.Close()
		<-done
		for _, conn := range held {
			_ = conn.Close()
		}
	})
	ts.Defer(stop)
	stalls.Lock()
	defer stalls.Unlock()
	stalls.stop[ts.Getenv("WORK")] = stop
}

// stalls are the open ones, by story.
var stalls = struct {
	sync.Mutex
	stop map[string]func()
}{stop: map[string]func(){}}

// cas are the test CAs, by story.
var cas sync.Map

// renewalWindow is `window CERT.PEM -2h -1h`: what the CA says of that
// certificate's renewal (RFC 9773), from now.
func renewalWindow(ts *testscript.TestScript, _ bool, args []string) {
	ca, ok := cas.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("there is no ca")
	}
	block, _ := pem.Decode([]byte(ts.ReadFile(args[0])))
	leaf, err := x509.ParseCertificate(block.Bytes)
	ts.Check(err)
	var times []string
	for _, arg := range args[1:] {
		d, err := time.ParseDuration(arg)
		ts.Check(err)
		times = append(times, time.Now().Add(d).UTC().Format(time.RFC3339))
	}
	ts.Check(ca.(*testca.CA).SetRenewalInfo(leaf.SerialNumber, fmt.Sprintf(
		`{"suggestedWindow":{"start":%q,"end":%q},"explanationURL":"https://ca.test/incident"}`, times[0], times[1])))
}
