// Command misbehave is every plugin that a host must survive. What it does
// wrong is decided by the name of its binary, certwright-plugin-NAME. Each
// process writes its number to NAME.pids beside the binary.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

var self, _ = os.Executable()

func main() {
	name := strings.TrimPrefix(filepath.Base(self), "certwright-plugin-")
	recordPid(os.Getpid())
	if len(os.Args) == 2 && os.Args[1] == "describe" {
		describe(name)
	}
	if os.Getenv("CERTWRIGHT_PLUGIN_COOKIE") != "" {
		misbehave(name)
	}
	sdk.Serve(declaration(name))
}

type settings struct {
	Token sdk.Secret    `setting:"token" doc:"a secret"`
	Wait  time.Duration `setting:"wait" default:"2m" doc:"a duration"`
	Mode  string        `setting:"mode" choices:"fine,bad" doc:"what Configure says"`
	Print string        `setting:"print" doc:"what Configure prints to standard error"`
}

func declaration(name string) sdk.Plugin {
	s := &settings{}
	return sdk.Plugin{
		Name: name, Version: "1.2.3", Summary: "does it wrong", Settings: s,
		Authenticator: &authenticator{settings: s}, ChallengeTypes: []string{sdk.HTTP01},
		Permissions: sdk.Permissions{
			Environment: []string{"MISBEHAVE_WANTED", "CERTWRIGHT_SECRET"},
			// What a sandbox would prevent is to be survived without one, too.
			Unconfined: true, Reason: "misbehaves",
		},
	}
}

// describe answers wrongly, or returns.
func describe(name string) {
	out := os.NewFile(1, "stdout")
	switch name {
	case "describe-hangs":
		hang()
	case "describe-garbage":
		fmt.Fprintln(out, "hello, I am a plugin")
		os.Exit(0)
	case "describe-floods":
		w := bufio.NewWriter(out)
		for {
			fmt.Fprintln(w, `{"name": "describe-floods"}`)
		}
	case "describe-trails":
		fmt.Fprintln(out, `{"name": "describe-trails", "protocol": [1], "roles": ["hook"]} and more`)
		os.Exit(0)
	case "describe-otherwise":
		fmt.Fprintln(out, `{"name": "somebody-else", "protocol": [1], "roles": ["hook"]}`)
		os.Exit(0)
	case "describe-v9":
		fmt.Fprintln(out, `{"name": "describe-v9", "protocol": [9], "roles": ["hook"]}`)
		os.Exit(0)
	case "describe-fails":
		fmt.Fprintln(os.Stderr, "cannot load libfoo")
		os.Exit(7)
	}
}

// misbehave does what is wrong before serving, and mostly never returns.
func misbehave(name string) {
	out := os.NewFile(1, "stdout")
	switch name {
	case "prints":
		fmt.Fprintln(out, "welcome to my plugin")
		fmt.Fprintln(out, "1|2|three|four")
	case "prints-long":
		fmt.Fprint(out, strings.Repeat("x", 1<<20)+"\n")
	case "logs-number":
		fmt.Fprintln(os.Stderr, `{"@message": 5, "@level": ["warn"], "@timestamp": 12, "key": {"a": 1}}`)
		fmt.Fprintln(os.Stderr, `{"@message": "as it should be", "@level": "error", "key": "value"}`)
	case "grandchild":
		spawn(&syscall.SysProcAttr{})
	case "escapee":
		spawn(&syscall.SysProcAttr{Setsid: true})
	case "exits":
		fmt.Fprintln(os.Stderr, "the licence has expired")
		os.Exit(3)
	case "panics-early":
		panic("nobody told me")
	case "grandchild-exits":
		spawn(&syscall.SysProcAttr{Setsid: true})
		os.Exit(4)
	case "hangs":
		fmt.Fprintln(os.Stderr, "waiting for the moon")
		hang()
	case "closes":
		_ = out.Close()
		_ = os.Stdout.Close()
		hang()
	case "v99":
		pretend(out, "1|99|unix|%s|grpc|%s")
	case "core2":
		pretend(out, "2|1|unix|%s|grpc|%s")
	case "netrpc":
		pretend(out, "1|1|unix|%s|netrpc|%s")
	case "no-certificate":
		pretend(out, "1|1|unix|%s|grpc|%.0s")
	case "elsewhere":
		pretend(out, "1|1|tcp|192.0.2.1:80%.0s|grpc|%s")
	case "deaf":
		pretend(out, "1|1|unix|%s|grpc|%s")
	case "leaves":
		listen()
		fmt.Fprintf(out, "1|1|unix|%s|grpc|%s\n", socket(), certificate())
		os.Exit(5)
	case "floods":
		go func() {
			for n := 0; ; n++ {
				fmt.Fprintf(os.Stderr, "line %d of very many\n", n)
			}
		}()
	case "floods-stdout":
		go func() {
			for {
				fmt.Fprintln(out, strings.Repeat("y", 1000) /* short enough to be written whole */)
			}
		}()
	}
}

func socket() string { return filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s") }

func listen() {
	if _, err := net.Listen("unix", socket()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// certificate makes one that nobody holds a key of any more.
func certificate() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
		var der []byte
		if der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err == nil {
			return base64.RawStdEncoding.EncodeToString(der)
		}
	}
	panic(err)
}

// pretend prints a handshake, listens, and answers nobody.
func pretend(out *os.File, line string) {
	listen()
	fmt.Fprintf(out, line+"\n", socket(), certificate())
	hang()
}

// hang waits for what never comes: the host has to end this process.
func hang() {
	never, open, err := os.Pipe()
	if err == nil {
		_, err = never.Read(make([]byte, 1))
		_ = open.Close()
	}
	fmt.Fprintln(os.Stderr, "nothing to wait for:", err)
	os.Exit(1)
}

// spawn starts a child that outlives its parent and holds its output.
func spawn(attr *syscall.SysProcAttr) {
	cmd := exec.Command("sleep", "600")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.NewFile(1, "stdout"), os.Stderr, attr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	recordPid(cmd.Process.Pid)
}

func recordPid(pid int) {
	f, err := os.OpenFile(self+".pids", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintln(f, pid)
		err = f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type authenticator struct{ settings *settings }

func (a *authenticator) Configure(_ context.Context, in sdk.Instance) error {
	if a.settings.Print != "" {
		fmt.Fprintln(os.Stderr, a.settings.Print)
	}
	if a.settings.Mode == "bad" {
		return sdk.Subject(sdk.Problemf(sdk.InvalidConfig, "the token %s is bad", string(a.settings.Token)), "token")
	}
	if in.ValidateOnly {
		return nil
	}
	return os.WriteFile(filepath.Join(in.StateDir, "was-here"), []byte(in.Name), 0o600)
}

// Perform does what the token of the first challenge says.
func (a *authenticator) Perform(ctx context.Context, cs []sdk.Challenge, r sdk.Reporter) error {
	switch cs[0].Token {
	case "die":
		fmt.Fprintln(os.Stderr, "about to die")
		os.Exit(9)
	case "segv":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "panic":
		go func() { panic("out of luck") }()
		select {}
	case "hang":
		r.Progress("", "hanging")
		select {}
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {}
	case "environment":
		r.Progress("", strings.Join(os.Environ(), "\n"))
	case "print":
		fmt.Println("printed while serving")
		fmt.Fprintln(os.Stderr, "complained while serving")
	}
	for _, c := range cs {
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

func (a *authenticator) Cleanup(context.Context, []sdk.Challenge, sdk.Reporter) error { return nil }
