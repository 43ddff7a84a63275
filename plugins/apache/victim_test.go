package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/certwright/certwright/sdk"
)

// The test binary, under the name of the plugin, is the plugin: with a file
// beside it that says at which step somebody is to be killed.
const pluginName = "certwright-plugin-apache"

const (
	killFile  = "kill"  // "plugin 17" or "host 17"
	traceFile = "trace" // steps are written here if it exists
)

func serveVictim() {
	dir := filepath.Dir(os.Args[0])
	a := &apache{}
	var mu sync.Mutex
	steps := 0
	a.step = func(what string) {
		mu.Lock()
		defer mu.Unlock()
		steps++
		if trace, err := os.OpenFile(filepath.Join(dir, traceFile), os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, _ = fmt.Fprintln(trace, what)
			_ = trace.Close()
		}
		data, err := os.ReadFile(filepath.Join(dir, killFile))
		if err != nil {
			return
		}
		who, number, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
		if n, err := strconv.Atoi(number); err != nil || n != steps {
			return
		}
		// Once: the processes that come after this one are to live.
		_ = os.Remove(filepath.Join(dir, killFile))
		pid := os.Getpid()
		if who == "host" {
			pid = os.Getppid()
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		select {} // the signal, or the end of the parent, is on its way
	}
	sdk.Serve(declaration(a))
}
