package sdk

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk/internal/wire"
)

// stdout is the real one: it carries the handshake or the description, and
// nothing else may be written to it.
var stdout = os.Stdout

// stderr is the real one, which the host reads.
var stderr = os.Stderr

// underHost is remembered, because dropHandshake removes what tells it.
var underHost = hosted()

// A package that imports sdk is initialised after it, so from here on a stray
// print goes to stderr, where the host logs it.
func init() {
	if underHost || describing(os.Args) {
		os.Stdout = os.Stderr
	}
}

// replaced are go-plugin's pipes, held so that they are not closed as garbage.
var replaced []*os.File

// keepStreams undoes what go-plugin does to the two streams after the
// handshake: it sends them by a call of its own, which ends with the connection
// and loses the last words of a plugin that dies. Author code runs after this.
func keepStreams() {
	if underHost && len(replaced) == 0 {
		replaced = []*os.File{os.Stdout, os.Stderr}
		os.Stdout, os.Stderr = stderr, stderr
	}
}

func hosted() bool { return os.Getenv(wire.CookieKey) == wire.CookieValue }

func describing(args []string) bool { return len(args) == 2 && args[1] == "describe" }

// dropHandshake removes what the host and go-plugin put into the environment,
// so that no child of the plugin takes itself for a plugin.
func dropHandshake() {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if name == wire.CookieKey || name == wire.LifelineKey || strings.HasPrefix(name, "PLUGIN_") {
			_ = os.Unsetenv(name)
		}
	}
}

// ignoreTermination keeps the plugin alive when a service manager signals the
// whole group: the host decides when a plugin ends. Notify, not Ignore, so that
// children do not inherit it.
func ignoreTermination() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
}

// followHost ends the process when the host is gone, whatever the reason.
func followHost(lifeline bool) {
	if lifeline {
		buf := make([]byte, 64)
		for {
			if _, err := os.Stdin.Read(buf); err != nil {
				os.Exit(1)
			}
		}
	}
	parent := os.Getppid()
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			os.Exit(1)
		}
	}
}
